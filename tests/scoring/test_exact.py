import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop import scoring
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


@given(label=st.text())
def test_a_label_is_right_unless_it_says_nothing(label):
    assert exact.score(label, [label]) == bool(exact.normalise(label))


def test_letters_of_either_case_are_the_same_answer():
    assert exact.score("k", ["K"]) == 1
