"""`vicrop.scoring.score` and its registry: the reference vectors, bounds, errors."""

import doctest
import importlib
import json
import pkgutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop import scoring
from vicrop.run import datasets

GOLDEN = Path(__file__).parent.parent / "golden"
VECTORS = json.loads((GOLDEN / "metric_vectors.json").read_text())
MODULES = ["vicrop.scoring"] + [
    f"vicrop.scoring.{module.name}" for module in pkgutil.iter_modules(scoring.__path__)
]
WITH_UPSTREAM = [key for key in scoring.METRICS if scoring.has_upstream(key)]

words = st.sampled_from("yes no No a the B (B) B. left 2 two red,white joe's".split())
texts = st.one_of(words, st.text(max_size=12))
ten = st.lists(texts, min_size=10, max_size=10)


def lettered(options):
    """A question as V* asks it."""
    lines = [
        f"({letter}) {text}" for letter, text in zip("ABCD", options, strict=False)
    ]
    return "\n".join(["Which is it?", *lines, "Answer with the option's letter."])


def name_of(case):
    return f"{case['dataset']}-{case['note']}"


def test_there_are_all_reference_vectors():
    assert len(VECTORS) == 105


@pytest.mark.parametrize("case", VECTORS, ids=name_of)
def test_official_score_is_the_reference_scorers(case):
    row = (case["dataset"], case["prediction"], case["labels"], case.get("question"))
    if case["official_score"] is None:
        with pytest.raises(ValueError, match="needs exactly ten labels"):
            scoring.score(*row)
    else:
        assert 100 * scoring.score(*row) == pytest.approx(case["official_score"])


@pytest.mark.parametrize("case", VECTORS, ids=name_of)
def test_upstream_score_is_the_authors(case):
    got = scoring.score(
        case["dataset"],
        case["prediction"],
        case["labels"],
        case.get("question"),
        variant="upstream",
    )
    assert 100 * got == pytest.approx(case["upstream_score"])


@given(
    dataset=st.sampled_from([*scoring.METRICS, "/some/folder"]),
    prediction=texts,
    labels=ten,
    options=st.lists(texts, max_size=4),
)
def test_official_score_lies_between_zero_and_one(dataset, prediction, labels, options):
    score = scoring.score(dataset, prediction, labels, lettered(options))
    assert 0 <= score <= 1


@given(
    dataset=st.sampled_from(WITH_UPSTREAM),
    prediction=texts,
    labels=ten,
    options=st.lists(texts, min_size=2, max_size=4),
)
def test_authors_score_of_their_own_label_shape_lies_between_zero_and_one(
    dataset, prediction, labels, options
):
    one = dataset in ("pope", "vstar")
    shaped = scoring.as_upstream(dataset, labels[:1] if one else labels)
    score = scoring.score(dataset, prediction, shaped, lettered(options), "upstream")
    assert 0 <= score <= 1


def test_authors_give_three_to_a_bare_yes_on_gqa():
    assert scoring.score("gqa", "yes", "yes", variant="upstream") == 3


@pytest.mark.parametrize("dataset", WITH_UPSTREAM)
def test_right_answer_gets_full_marks_both_ways_in_the_authors_shape(dataset):
    labels, question = (
        ["D"] * 10,
        lettered(["walking", "running", "sitting", "standing"]),
    )
    if dataset == "pope":
        labels = ["yes"]
    shaped = scoring.as_upstream(dataset, labels)
    assert scoring.score(dataset, labels[0], labels, question) == 1
    assert scoring.score(dataset, labels[0], shaped, question, "upstream") == 1


def test_as_upstream_leaves_other_labels_as_they_are():
    assert scoring.as_upstream("docvqa", ("a", "b")) == ["a", "b"]
    assert scoring.as_upstream("gqa", ["yes"]) == ["yes"]


@pytest.mark.parametrize("dataset", ["pope", "vstar"])
def test_as_upstream_refuses_two_labels_where_there_is_one(dataset):
    with pytest.raises(ValueError, match="differ, expected one label"):
        scoring.as_upstream(dataset, ["A", "B"])


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


def test_every_dataset_with_a_maker_has_a_metric():
    assert set(datasets.MAKERS) <= set(scoring.METRICS)


def test_authors_have_scores_for_their_seven_data_sets():
    seven = set("aokvqa docvqa gqa pope textvqa vqav2 vstar".split())
    assert set(WITH_UPSTREAM) == seven


def test_folder_of_own_data_is_scored_by_exact_match():
    assert scoring.score("/some/folder", "Yes", ["yes"]) == 1


def test_one_string_is_one_label():
    assert scoring.score("plates", "45", "45") == 1
    assert scoring.score("plates", "4", "45") == 0


@pytest.mark.parametrize(
    "dataset", ["plates", "treebench", "aokvqa-mc", "/some/folder"]
)
def test_data_that_the_authors_never_scored_are_named(dataset):
    with pytest.raises(ValueError, match=f"authors have no score for '{dataset}'"):
        scoring.score(dataset, "4", ["4"], variant="upstream")


@pytest.mark.parametrize("dataset", scoring.METRICS)
def test_question_without_labels_is_refused(dataset):
    with pytest.raises(ValueError, match=f"'{dataset}' question has no labels"):
        scoring.score(dataset, "4", [])


def test_prediction_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="prediction None for 'plates' is no text"):
        scoring.score("plates", None, ["4"])


def test_unknown_variant_is_named():
    known = "unknown variant 'lenient'; known: official, upstream"
    with pytest.raises(ValueError, match=known):
        scoring.score("plates", "4", ["4"], variant="lenient")


@pytest.mark.parametrize("name", MODULES)
def test_worked_examples_of_a_metric_are_what_it_gives(name):
    ran = doctest.testmod(importlib.import_module(name))
    assert ran.attempted > 0
    assert ran.failed == 0
