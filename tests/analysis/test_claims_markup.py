"""The ledger as HTML: well formed, escaped, and every number where it belongs."""

from xml.etree import ElementTree

import pytest

from analysis.claims import ledger, markup
from analysis.claims.claims import CLAIMS
from analysis.claims.readings import (
    EMBEDDED,
    GPU,
    NOT_SEEN,
    SEEN,
    Evidence,
    Reading,
    above,
    gain,
    same,
)
from vicrop.run.stats import Estimate

LLAVA, BLIP, UNMASKED = "tiny-llava", "tiny-instructblip", "tiny-llava-unmasked"
GAIN = Reading("x <y>", (), gain, rule=above(), why="because <b>")
ONE = CLAIMS[1]


def verdict(model, low=1.0, high=3.0, word=SEEN, reading=GAIN):
    found = Estimate((low + high) / 2, low, high, 50)
    return ledger.Verdict(ONE, reading, model, found, word)


def tree(text):
    """Also a test: every tag is closed, all else escaped."""
    return ElementTree.fromstring(f"<div>{text}</div>")


def words(element):
    return "".join(element.itertext())


@pytest.fixture
def board(results_folder):
    judged = [verdict(LLAVA), verdict(UNMASKED, -1, 2, NOT_SEEN)]
    return tree(markup.board(Evidence(), judged).data)


def test_there_is_a_square_and_a_row_a_claim_of_each_size(board):
    for size in (EMBEDDED, GPU):
        (part,) = board.findall(f".//section[@class='{size}']")
        links = [one.get("href") for one in part.findall("ul[@class='squares']//a")]
        rows = [one.get("id") for one in part.findall(".//ol/li")]
        assert links == [f"#{size}-{claim.key}" for claim in CLAIMS]
        assert sorted(rows) == sorted(link[1:] for link in links)
    ids = [one.get("id") for one in board.iter() if one.get("id")]
    assert len(set(ids)) == len(ids) == 2 * len(CLAIMS)


def test_a_row_begins_with_its_verdict_as_sign_and_word(board):
    row = board.find(".//li[@id='toy-C2']")
    assert words(row[0]) == "◐ partly"
    assert row.get("class") == "partly core"
    said = row.find(".//p[@class='why']").text
    assert said == "shown in tiny-llava; not shown in tiny-llava-unmasked"
    page = row.find("p[@class='page']/a").get("href")
    assert page == "small_details.html#fig-size"


def test_what_readings_say_is_no_markup(board):
    row = board.find(".//li[@id='toy-C2']")
    told = words(row.find("details"))
    assert "x <y>; shown if above 0. Chosen because: because <b>." in told
    assert "+2.0 [+1.0, +3.0] points" in told
    assert row.find(".//y") is None


def test_real_models_without_records_have_a_command_each(board):
    row = board.find(".//li[@id='real-C8']")
    assert words(row).startswith("– not run yet")
    assert row.find(".//code").text == "make run SIZE=table2"


def test_what_no_record_can_tell_is_folded(board):
    fold = board.findall(".//section[@class='toy']/details/ol/li")
    folded = [one.get("id") for one in fold]
    assert "toy-C13" in folded and "toy-C18" in folded and "toy-C2" not in folded


def test_squares_are_counted_and_lead_to_another_page():
    text = markup.squares(ledger.standings([verdict(LLAVA)]), "claims.html")
    made = tree(text)
    links = made.findall(".//a")
    assert links[1].get("href") == "claims.html#toy-C2"
    assert [one.get("class") for one in links].count("shown") == 1
    assert "✓ 1 shown" in words(made)


def test_a_strip_has_each_models_line_and_hollow_is_the_unmasked_one():
    models = [LLAVA, UNMASKED, BLIP]
    judged = [verdict(LLAVA), verdict(UNMASKED, -4, -2), verdict(BLIP)]
    made = tree(markup.strip(judged, models, [5.0]))
    dots = made.findall(".//circle")
    assert [one.get("class") for one in dots] == [None, "hollow", None]
    assert [float(one.get("cy")) for one in dots] == [5, 15, 25]
    null = float(made.find(".//path[@class='null']").get("d")[1:].split()[0])
    places = [float(one.get("cx")) for one in dots]
    assert places[1] < null < places[0] == places[2]
    assert all(0 <= place <= markup.WIDE for place in places)
    assert "tiny-llava +2.0 [+1.0, +3.0]" in made.find("svg").get("aria-label")


def test_a_margin_is_shaded_on_both_sides_of_no_effect():
    reading = Reading("x", (), gain, rule=same(5), why="y")
    made = tree(markup.strip([verdict(LLAVA, -8, 9, reading=reading)], [LLAVA]))
    (side,) = made.findall(".//rect")
    left, wide = float(side.get("x")), float(side.get("width"))
    assert left > 0 and left + wide < markup.WIDE


def test_nothing_is_drawn_of_a_number_that_is_not_judged():
    shown = Reading("x", (), gain, rule=None, why="y")
    assert markup.strip([verdict(LLAVA, reading=shown)], [LLAVA]) == ""
    assert markup.strip([], [LLAVA]) == ""
