import json
import tracemalloc

import pytest

from data_prep import zoombench
from data_prep.originals.search import Originals
from data_prep.unified.build import build
from tests.data_prep.originals import FOLDER
from tests.fixtures.makers import draw
from tests.fixtures.makers.zoombench import QUESTIONS, picture, row
from vicrop import scoring


def items_of(folder):
    return zoombench.DATASET.items(Originals([folder]))


@pytest.fixture(scope="module")
def items():
    return items_of(FOLDER / "zoombench")


def test_box_is_where_the_crop_was_cut_unless_it_was_scaled(items):
    for item, (*_, region, made) in zip(items, QUESTIONS, strict=True):
        assert list(item.boxes) == ([] if made == "scaled" else [region])


def test_query_is_kept_without_the_place_of_the_image(items):
    for item, (query, response, *_) in zip(items, QUESTIONS, strict=True):
        assert item.question == query.removeprefix("<image>\n")
        assert item.labels == [response]


def test_options_are_read_from_the_query(items):
    assert [list(item.options) for item in items] == [
        ["Red", "Blue", "White", "Green"],
        [],
        ["open", "sale"],
        [],
    ]
    assert [item.short_question for item in items] == [
        "What is the colour of the lid?",
        None,
        "Which word is on the tag?",
        None,
    ]
    assert [item.meta["category"] for item in items] == ["multiple choice", "open"] * 2


def test_letters_and_open_answers_score(items):
    said = ("C. White", "four", "sale", "café 21.")
    scores = [
        scoring.score("zoombench", words, item.labels, item.question)
        for words, item in zip(said, items, strict=True)
    ]
    assert scores == [1, 0, 1, 1]


def test_pictures_are_the_whole_images(tmp_path):
    originals = Originals([FOLDER / "zoombench"])
    made = build(zoombench.DATASET, originals, tmp_path).folder
    for number, found in enumerate(json.loads((made / "data.json").read_text())):
        path = made / "images" / found["image_path"]
        assert path.read_bytes() == picture(number)


def test_several_files_are_read_in_order(tmp_path):
    rows = [row(number) for number in range(4)]
    draw.write_parquet(tmp_path / "test-00000-of-00002.parquet", rows[:1])
    draw.write_parquet(tmp_path / "test-00001-of-00002.parquet", rows[1:])
    found = items_of(tmp_path)
    assert [item.key for item in found] == ["100", "101", "102", "103"]
    assert found[1].boxes == [QUESTIONS[1][3]]
    assert found[3].picture.bytes() == picture(3)


def spoilt(tmp_path, **fields):
    draw.write_parquet(tmp_path / "test.parquet", [row(0), row(1) | fields])
    return items_of(tmp_path)


TORN = {"bytes": picture(1)[:-200], "path": None}


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"query": "Which?\nA. red\nB. blue"}, "response: '4' names no option of its"),
        ({"query": ""}, "row 1 field query: .*at least 1"),
        ({"response": None}, "row 1 field response: "),
        ({"id": 100}, "row 1: question '100' is also .* row 0"),
        ({"image": TORN}, "row 1 field image: does not decode"),
        ({"crop_image": TORN}, "row 1 field crop_image: does not decode"),
        ({"crop_image": {"bytes": b"?", "path": None}}, "crop_image: is no picture"),
        ({"crop_image": None}, "row 1 field crop_image: no picture"),
    ],
)
def test_row_that_is_wrong_is_named(tmp_path, fields, told):
    with pytest.raises(ValueError, match=told) as e:
        spoilt(tmp_path, **fields)
    assert "test.parquet row 1" in str(e.value)
    assert "\n" not in str(e.value)


def test_missing_column_is_named(tmp_path):
    rows = [{k: v for k, v in row(0).items() if k != "crop_image"}]
    draw.write_parquet(tmp_path / "test.parquet", rows)
    with pytest.raises(ValueError, match="has no column crop_image; it has id"):
        items_of(tmp_path)


def test_query_of_several_lines_has_them_in_its_stem():
    asked = "Look closely.\nWhich one?\nChoices:\n(A) red\n(B) blue\nOne letter."
    assert zoombench.stem(asked) == "Look closely.\nWhich one?"
    assert zoombench.stem("A. red\nB. blue") == "A. red\nB. blue"


def test_pictures_are_not_all_in_memory_at_once(tmp_path):
    def peak(count):
        rows = [row(1) | {"id": number} for number in range(count)]
        draw.write_parquet(tmp_path / "test.parquet", rows)
        tracemalloc.start()
        items_of(tmp_path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)  # what is loaded once
    one = 240 * 320 * 3
    assert peak(60) - peak(20) < 10 * one
