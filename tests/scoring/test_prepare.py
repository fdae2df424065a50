"""What is done to an answer before an official script sees it."""

import pytest

from vicrop import scoring


@pytest.mark.parametrize("dataset", ["gqa", "vqav2", "aokvqa"])
def test_a_capital_and_a_full_stop_do_not_make_an_answer_wrong(dataset):
    labels = ["yes"] * (1 if dataset == "gqa" else 10)
    assert scoring.score(dataset, "Yes.", labels) == 0
    prepared = scoring.prepared(dataset, "Yes.")
    assert scoring.score(dataset, prepared, labels) == 1


@pytest.mark.parametrize("dataset", ["textvqa", "docvqa", "pope", "vstar", "plates"])
def test_scripts_that_normalise_themselves_get_the_answer_as_it_was_said(dataset):
    assert scoring.prepared(dataset, "Yes, the CAT.") == "Yes, the CAT."


def test_preparing_twice_changes_nothing_more():
    for dataset in ("gqa", "vqav2", "aokvqa"):
        once = scoring.prepared(dataset, "It's 5,000 Dogs..")
        assert scoring.prepared(dataset, once) == once
