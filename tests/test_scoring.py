import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop import datasets, scoring
from vicrop.scoring import exact


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        ("4", 1),
        (" 4. ", 1),
        ("Four", 1),
        ("FOUR !", 0),
        ("four!", 1),
        ("5", 0),
        ("4 5", 0),
        ("", 0),
        (" . ", 0),
    ],
)
def test_exact_match_forgives_case_blanks_and_the_final_stop(prediction, score):
    assert scoring.score("plates", prediction, ["4", "four"]) == score


def test_empty_prediction_is_wrong_even_against_an_empty_label():
    assert exact.score("", [""]) == 0


@given(prediction=st.text(), labels=st.lists(st.text(), min_size=1))
def test_score_lies_between_zero_and_one(prediction, labels):
    assert scoring.score("plates", prediction, labels) in (0, 1)


@given(label=st.text())
def test_a_label_is_right_unless_it_says_nothing(label):
    assert scoring.score("plates", label, [label]) == bool(exact.normalise(label))


def test_letters_of_either_case_are_the_same_answer():
    assert scoring.score("plates", "k", ["K"]) == 1


def test_every_dataset_with_a_maker_has_a_metric():
    assert set(datasets.MAKERS) <= set(scoring.METRICS)


def test_folder_of_own_data_is_scored_by_exact_match():
    assert scoring.score("/some/folder", "Yes", ["yes"]) == 1


def test_unknown_variant_is_named():
    wanted = "unknown variant 'lenient'; known: official, upstream"
    with pytest.raises(ValueError, match=wanted):
        scoring.score("plates", "4", ["4"], variant="lenient")


def test_a_bare_text_is_one_label():
    assert scoring.score("plates", "45", "45") == 1
    assert scoring.score("plates", "4", "45") == 0


@pytest.mark.parametrize("dataset", scoring.METRICS)
def test_no_labels_are_refused(dataset):
    with pytest.raises(ValueError, match="no labels, expected at least one"):
        scoring.score(dataset, "4", [])


def test_a_prediction_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="prediction None is no text"):
        scoring.score("plates", None, ["4"])
