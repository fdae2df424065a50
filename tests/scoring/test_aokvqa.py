import pytest

from vicrop import scoring
from vicrop.scoring import aokvqa

QUESTION = "What is it?\n(A) Cab\n(B) school bus\n(C) van\nAnswer with the letter."


@pytest.mark.parametrize(
    ("count", "official", "authors"),
    [(0, 0, 0), (1, 1 / 3, 0.3), (2, 2 / 3, 0.6), (3, 1, 0.9), (4, 1, 1), (10, 1, 1)],
)
def test_direct_answer_needs_three_that_agree_and_the_authors_four(
    count, official, authors
):
    labels = ["cab"] * count + ["taxi"] * (10 - count)
    assert scoring.score("aokvqa", "cab", labels) == pytest.approx(official)
    assert scoring.score("aokvqa", "cab", labels, variant="upstream") == authors


@pytest.mark.parametrize("said", ["Cab", "a cab", "cab."])
def test_direct_answer_is_not_normalised_and_the_authors_is(said):
    assert scoring.score("aokvqa", said, ["cab"] * 10) == 0
    assert scoring.score("aokvqa", said, ["cab"] * 10, variant="upstream") == 1


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("school bus", 1),
        ("School bus.", 1),
        ("B", 1),
        ("(B) school bus", 1),
        ("bus", 0),
        ("A", 0),
        ("D", 0),
        ("", 0),
    ],
)
def test_choice_is_right_by_text_or_by_letter(said, score):
    assert scoring.score("aokvqa-mc", said, ["school bus"], QUESTION) == score


def test_choice_without_lettered_options_is_a_text():
    assert aokvqa.choice("van", ["van"]) == 1
    assert aokvqa.choice("C", ["van"], "What is it?") == 0


def test_choice_that_is_itself_a_letter_is_taken_as_a_text_first():
    question = "Which letter?\n(A) B\n(B) A\nAnswer with the letter."
    assert aokvqa.choice("A", ["A"], question) == 1
