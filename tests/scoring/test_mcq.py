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


def test_cyclic_is_the_mean_over_rotations_and_the_share_right_in_all():
    scores = [1, 1, 1, 1, 1, 0, 0, 0]
    cycles = [0, 1, 2, 3, 0, 1, 2, 3]
    questions = ["q"] * 4 + ["r"] * 4
    assert mcq.cyclic(scores, cycles, questions) == (0.625, 0.5)


def test_model_that_likes_one_letter_is_right_in_no_question_of_all_rotations():
    scores = [1, 0, 0, 0] * 5
    cycles = [0, 1, 2, 3] * 5
    questions = [row // 4 for row in range(20)]
    assert mcq.cyclic(scores, cycles, questions) == (0.25, 0)


def test_cycles_weigh_the_same_however_many_rows_they_have():
    got = mcq.cyclic([1, 1, 1, 0], [0, 0, 0, 1], ["q", "r", "s", "q"])
    assert got == (0.5, 0)


def test_question_that_misses_a_rotation_is_not_counted_as_right_in_all():
    assert mcq.cyclic([1, 1], [0, 1], ["q", "r"]).every is None


@pytest.mark.parametrize("lengths", [(0, 0, 0), (2, 1, 2), (1, 1, 2)])
def test_cyclic_wants_as_many_of_each(lengths):
    scores, cycles, questions = ([1] * length for length in lengths)
    with pytest.raises(ValueError, match="must be as many, and at least one"):
        mcq.cyclic(scores, cycles, questions)
