import pytest

from analysis import paper
from analysis.claims import planned
from data_prep import overview
from vicrop.run.records import RunConfig

PUBLISHED = {"textvqa": (5000, 8.0), "vstar": (191, 0.3)}


def config(method="rel-att", dataset="textvqa", model="llava-1.5-7b", limit=0):
    return RunConfig(model=model, method=method, dataset=dataset, limit=limit)


def test_rel_att_takes_the_seconds_that_the_paper_timed():
    """1.16 s and four answer tokens of 0.17 s; its Table 7 has 1.88 s a question."""
    assert planned.seconds(config()) == pytest.approx(1.84)
    assert planned.seconds(config("no-crop")) == pytest.approx(0.68)


def test_tiles_are_paid_for_one_by_one():
    high = planned.seconds(config("rel-att-high", "vstar"))
    assert high == pytest.approx(0.68 + 4 * 1.16)


def test_what_was_not_timed_counts_as_what_was():
    assert planned.seconds(config(model="qwen2.5-vl-3b")) == planned.seconds(config())
    assert planned.seconds(config("word-att")) == planned.seconds(config())


def test_a_crop_that_is_told_the_place_asks_of_what_has_a_box():
    boxes = sum(paper.GROUP_COUNTS.values())
    assert planned.questions(config("human-crop"), PUBLISHED) == boxes
    assert planned.questions(config(limit=1000), PUBLISHED) == 1000
    assert planned.questions(config(limit=1000, dataset="vstar"), PUBLISHED) == 191


def test_a_size_is_told_with_its_claims_and_answers():
    (row,) = planned.table(["table1"], overview.published()).to_dict("records")
    assert row["answers"] == "27,480"  # as the matrix says
    assert "C2" in row["claims"] and "C12" not in row["claims"]
    assert row["command"] == "make run SIZE=table1"
