import pytest

from vicrop.scoring import upstream


@pytest.mark.parametrize(
    ("said", "label", "score"),
    [
        ("", "Edward Shannon", 1),
        ("E", "Edward Shannon", 1),
        ("The signature is Edward Shannon", "Edward Shannon", 1),
        ("edward shannon", "Edward Shannon", 0),
        ("1000", "1,000", 0),
    ],
)
def test_docvqa_is_a_substring_either_way_case_and_all(said, label, score):
    assert upstream.docvqa(said, [label]) == score


def test_docvqa_reads_a_bare_string_letter_by_letter():
    assert upstream.docvqa("zebra", "Edward") == 1
    assert upstream.docvqa("zebra", ["Edward"]) == 0


@pytest.mark.parametrize(
    ("said", "label", "score"),
    [
        ("Yes, it is", "yes", 1),
        ("nothing", "no", 1),
        ("woman", "man", 1),
        ("man", "woman", 0),
        ("", "yes", 0),
    ],
)
def test_gqa_is_a_label_within_the_prediction(said, label, score):
    assert upstream.gqa(said, [label]) == score


def test_gqa_counts_the_letters_of_a_bare_string_but_a_list_once():
    assert upstream.gqa("yes", "yes") == 3
    assert upstream.gqa("yes", ["yes", "ye"]) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [("yes", "yes"), ("Nope", "no"), ("unknown", "no"), ("", "yes"), ("NO", "yes")],
)
def test_pope_takes_the_more_similar_word_and_yes_where_they_tie(said, meant):
    assert upstream.closest(said, ["yes", "no"]) == meant


def test_pope_never_equals_a_list():
    assert upstream.pope("no", "no") == 1
    assert upstream.pope("no", ["no"]) == upstream.pope("no", ("no",)) == 0


@pytest.mark.parametrize("labels", [1, 3, 10, 20])
def test_vqa_gives_three_tenths_a_match_however_many_labels(labels):
    assert upstream.vqa("Nokia.", ["nokia"] * labels) == min(1, 3 * labels / 10)


@pytest.mark.parametrize(
    "question",
    [
        None,
        "",
        "Where is it?",
        "Where?\n(A) left",
        "Where?\nA. left\nB. right\nAnswer.",
    ],
)
def test_vstar_needs_its_option_lines(question):
    with pytest.raises(ValueError, match="has other lines than '.A. …' between"):
        upstream.vstar("A", ["A"], question)
