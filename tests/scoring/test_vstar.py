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
        ("Dark, or (C)", "C"),
        ("not D. The answer is C", "C"),
        ("it is D. or (C)", None),
        ("surely D and no other", None),
        ("It is on the left, B.", "B"),
        ("Based on it, red", None),
        ("orange", None),
        ("standing", None),
        ("Blue", None),
        ("E", None),
        ("", None),
    ],
)
def test_answer_must_name_one_letter(said, letter):
    found = [one for one in "ABCDE" if vstar.score(said, [one])]
    assert found == ([letter] if letter else [])


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
