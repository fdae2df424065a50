import pytest

from vicrop import scoring
from vicrop.scoring import mcq

QUESTION = "What colour is it?\n(A) red\n(B) dark blue\n(C) blue\n(D) a D\nAnswer it."
KEYS = ["hr-bench-4k", "hr-bench-8k", "treebench", "zoombench"]


@pytest.mark.parametrize(
    "question",
    [
        "What?\n(A) red\n(B) dark blue\nAnswer with the letter.",
        "What?\nA. red\nB. dark blue\nAnswer with the letter.",
        "What?\n A) red \n B: dark blue",
    ],
)
def test_options_are_read_in_each_way_of_lettering(question):
    assert mcq.options(question) == {"A": "red", "B": "dark blue"}


def test_question_without_options_has_none():
    assert mcq.options("What does plan B. say? A lot") == {}


@pytest.mark.parametrize("lines", ["A. only one", "B. left\nC. right", "A. x\nC. y"])
def test_lines_that_do_not_run_from_a_on_are_no_options(lines):
    assert mcq.options(f"Which?\n{lines}\nAnswer.") == {}


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(b)", "B"),
        ("**B**", "B"),
        ("B.", "B"),
        ("B. dark blue", "B"),
        ("(B) red", "B"),
        ("Dark blue.", "B"),
        ("a d", "D"),
        ("The answer is B", "B"),
        ("the correct option is (c).", "C"),
        ("It is (C), I think", "C"),
        ("A dark one", None),
        ("The answer is a dark one", None),
        ("The answer is **B**", "B"),
        ("E", None),
        ("It is dark blue", None),
        ("B.C. was long ago", None),
        ("", None),
    ],
)
def test_letter_is_read_where_an_answer_names_one(said, letter):
    assert mcq.letter(said, mcq.options(QUESTION)) == letter


@pytest.mark.parametrize("dataset", KEYS)
def test_label_may_be_a_letter_or_an_options_text(dataset):
    for label in ("B", "dark blue"):
        assert scoring.score(dataset, "B", [label], QUESTION) == 1
        assert scoring.score(dataset, "Dark blue", [label], QUESTION) == 1
        assert scoring.score(dataset, "blue", [label], QUESTION) == 0


def test_answer_without_a_letter_is_wrong_even_where_the_label_has_none():
    assert mcq.score("violet", ["violet"], QUESTION) == 0


def test_open_question_is_scored_by_exact_match():
    assert mcq.score("Seven.", ["seven"], "How many birds?") == 1
    assert mcq.score("six", ["seven"]) == 0
