import pytest

from vicrop.scoring import upstream, vstar


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("D", "D"),
        ("d", "D"),
        ("(D) standing", "D"),
        ("D.", "D"),
        ("The answer is C", "C"),
        ("option: B", "B"),
        ("Dark, or (C)", "D"),
        ("not D. The answer is C", "C"),
        ("it is D. or (C)", "C"),
        ("surely not a but D.", "D"),
        ("surely D and no other", "D"),
        ("squint", None),
        ("orange", "A"),
        ("standing", None),
        ("Blue", "B"),
        ("E", None),
        ("", None),
    ],
)
def test_letter_is_read_as_lmms_eval_reads_it(said, letter):
    assert vstar.letter(said) == letter


@pytest.mark.parametrize("labels", [["B"], ["B"] * 10, ["b "]])
def test_copies_of_the_label_do_not_matter(labels):
    assert vstar.score("(B)", labels) == 1
    assert vstar.score("(A)", labels) == 0


QUESTION = "Where is it?\n(A) right\n(B) left\nAnswer with the letter."


@pytest.mark.parametrize(
    ("copies", "score"), [(1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)]
)
def test_authors_need_four_copies_of_the_label(copies, score):
    assert upstream.vstar("B", ["B"] * copies, QUESTION) == score


def test_authors_lose_the_last_option_without_a_closing_line():
    question = QUESTION.removesuffix("\nAnswer with the letter.")
    assert upstream.vstar("B", ["B"] * 10, QUESTION) == 1
    assert upstream.vstar("B", ["B"] * 10, question) == 0
