"""The paper's tables with ours beside them: whose number is whose."""

import json

import pytest

from analysis import paper
from analysis.claims import ledger, side_by_side
from analysis.claims.readings import Answers, Evidence
from vicrop.methods import PAPER
from vicrop.run.records import Record, RunConfig
from vicrop.run.results import RunFolder
from vicrop.run.stats import Estimate

SEVEN_B = "llava-1.5-7b"


@pytest.fixture
def write_run(results_folder):
    """Writes a finished run of made-up answers: (plain score, score, S), or None."""

    def write(model, method, dataset, answers):
        config = RunConfig(model=model, method=method, dataset=dataset)
        run = RunFolder.of(config)
        run.folder.mkdir(parents=True)
        lines = []
        for number, one in enumerate(answers):
            asked = {"id": str(number), "question": "q", "labels": ("a",)}
            if one is None:
                lines.append(Record(**asked, error="ValueError: x").line())
                continue
            said = dict(zip(("plain_score", "score", "size"), one, strict=True))
            lines.append(Record(**asked, plain="p", answer="a", **said).line())
        run.records_file.write_text("".join(lines))
        run.write_meta({"config": json.loads(config.model_dump_json()), "finished": 1})

    return write


def row_of(table, **named):
    chosen = (table[list(named)] == list(named.values())).all(axis=1)
    (found,) = table[chosen].to_dict("records")
    return found


def here(table, data):
    return row_of(table, whose=side_by_side.HERE, model="LLaVA-1.5", data=data)


def test_without_records_the_table_is_the_papers_and_says_so(results_folder):
    table = side_by_side.seven(Evidence())
    assert table["whose"].value_counts().to_dict() == {
        side_by_side.PAPERS: 14,
        side_by_side.HERE: 2,
    }
    cells = here(table, "all seven")
    assert [cells[method] for method in PAPER] == [side_by_side.NONE] * 3
    assert side_by_side.missing(Evidence()) == "make run SIZE=table2"


@pytest.mark.parametrize("model", ledger.MODELS)
@pytest.mark.parametrize("name", paper.SEVEN)
def test_papers_rows_are_its_table(results_folder, model, name):
    named = {
        "whose": side_by_side.PAPERS,
        "model": side_by_side.short(model),
        "data": name,
    }
    cells = row_of(side_by_side.seven(Evidence()), **named)
    plain = paper.TABLE_2.value(model, "no-crop", name)
    assert cells["no crop, %"] == f"{plain:.2f}"
    for method in PAPER:
        gain = float(cells[method].replace("−", "-"))
        there = paper.TABLE_2.value(model, method, name)
        assert plain + gain == pytest.approx(there, abs=1e-6)


def test_own_runs_of_the_papers_models_stand_below_its_rows(write_run):
    half = [(0, 1, None)] * 5 + [(1, 1, None)] * 5
    write_run(SEVEN_B, "no-crop", "textvqa", [(0, 0, None)] * 5 + [(1, 1, None)] * 5)
    write_run(SEVEN_B, "rel-att", "textvqa", half)
    write_run(SEVEN_B, "grad-att", "textvqa", [None, *half[1:]])
    write_run(SEVEN_B, "rel-att", "vstar", half)  # without tiles: not the paper's
    table = side_by_side.seven(Evidence())
    cells = here(table, "textvqa")
    assert (cells["n"], cells["failed"]) == ("10", "1")
    assert cells["no crop, %"].startswith("50.0 [")
    assert cells["rel-att"].startswith("+50.0 [")
    assert cells["grad-att"].startswith("+44.4 [")
    assert cells["grad-att"].endswith("n = 9")
    assert cells["pure-grad"] == side_by_side.NONE
    rest = here(table, ", ".join(paper.SEVEN[1:]))
    assert rest["rel-att"] == side_by_side.NONE
    place = table["whose"].tolist().index(side_by_side.HERE)
    assert table["whose"].tolist()[:place] == [side_by_side.PAPERS] * 7


def test_gains_on_other_questions_than_the_plain_answers_say_so(write_run):
    write_run(SEVEN_B, "rel-att", "textvqa", [(0, 1, None)] * 4)
    alone = here(side_by_side.seven(Evidence()), "textvqa")
    assert (alone["n"], alone["no crop, %"]) == ("–", side_by_side.NONE)
    assert alone["rel-att"].endswith("n = 4, other questions")
    write_run(SEVEN_B, "no-crop", "textvqa", [None, *[(0, 0, None)] * 4])
    cells = here(side_by_side.seven(Evidence()), "textvqa")
    assert cells["n"] == "4"  # as many, but of other ids
    assert cells["rel-att"].endswith("n = 4, other questions")


def test_our_rows_are_of_their_size_group(write_run):
    write_run("tiny-llava", "no-crop", "plates", [(0, 0, 0.001), (1, 1, 0.2)])
    write_run("tiny-llava", "rel-att", "plates", [(0, 1, 0.001), (1, 1, 0.2)])
    parts = [Answers("plates", "no-crop", group=group) for group in ("small", "large")]
    table = side_by_side.drawn(Evidence(), ["tiny-llava", "tiny-qwen2.5-vl"], parts)
    assert table["model (ours)"].unique().tolist() == ["tiny-llava"]
    small = row_of(table, data="plates, small")
    assert (small["n"], small["rel-att"]) == ("1", "+100.0 (n = 1, no interval)")
    assert small["grad-att"] == side_by_side.NONE
    large = row_of(table, data="plates, large")
    assert large["rel-att"] == "+0.0 (n = 1, no interval)"


def test_table_1_has_the_papers_gains_and_ours(write_run):
    answers = [(0, 1, 0.001), (1, 1, 0.001), (1, 1, 0.2)]
    write_run("tiny-llava", "human-crop", "plates", answers)
    models = ["tiny-llava"]
    table = side_by_side.by_size(Evidence(), models, "plates")
    assert (table["whose"] == side_by_side.PAPERS).sum() == 20
    theirs = table[table["model"] == "BLIP-2"]["small"].tolist()
    assert theirs == ["773", "12.13", "55.76", "+43.63"]
    ours = table[table["whose"] == side_by_side.OURS]
    assert ours["small"].tolist()[3].startswith("+50.0 [")
    assert ours["small"].tolist()[0] == "2"
    assert ours["medium"].tolist() == ["–"] * 4
    assert ours["of"].tolist()[2] == "human-crop, %"
    write_run("tiny-llava", "human-crop-tight", "plates", answers)
    both = side_by_side.by_size(Evidence(), models, "plates")
    both = both[both["whose"] == side_by_side.OURS]
    assert both["of"].tolist()[2::4] == ["human-crop, %", "smallest square, %"]
    other = side_by_side.by_size(Evidence(), models, "plates-hd")
    assert side_by_side.OURS not in set(other["whose"])  # none of other data's
    assert not (table["whose"] == side_by_side.HERE).any()


def test_table_1_has_the_readers_own_run_of_a_paper_model(write_run):
    write_run(SEVEN_B, "human-crop-tight", "textvqa", [(0, 1, 0.001)])
    table = side_by_side.by_size(Evidence(), [], "plates")
    here = table[table["whose"] == side_by_side.HERE]
    assert here["model"].tolist() == ["LLaVA-1.5"] * 4
    assert here["small"].tolist()[3].startswith("+100.0")


def test_table_3_is_told_as_differences(write_run):
    for method, right in (("rel-att", 0), ("rel-att-high", 1)):
        answers = [(0, right, 0.001)] * 2
        write_run("tiny-llava", method, "plates-hd", answers)
    means = {"tiny-llava": Estimate(-3.9, -8.6, 0.6, 154)}
    table = side_by_side.choices(Evidence(), means)
    mean, tiles = table.columns[3:]
    theirs = row_of(table, model="LLaVA-1.5", map="rel-att")
    assert (theirs[mean], theirs[tiles]) == ("+0.28", "+14.66")
    assert row_of(table, model="LLaVA-1.5", map="pure-grad")[mean] == "–"
    ours = row_of(table, model="tiny-llava", map="rel-att")
    assert ours[mean] == "−3.9 [−8.6, +0.6]" and ours[tiles].startswith("+100.0")
    assert row_of(table, model="tiny-llava", map="grad-att")[tiles] == side_by_side.NONE


def test_a_table_of_the_paper_is_real_once_a_model_of_its_own_was_run(write_run):
    before = side_by_side.shown(Evidence()).set_index("in the paper")["here"]
    assert before["Table 2"] == side_by_side.TOY
    assert side_by_side.REAL not in set(before)
    write_run(SEVEN_B, "rel-att", "textvqa", [(0, 1, None)])
    after = side_by_side.shown(Evidence()).set_index("in the paper")["here"]
    assert (
        after["Table 2"] == side_by_side.REAL and after["Table 1"] != after["Table 2"]
    )
