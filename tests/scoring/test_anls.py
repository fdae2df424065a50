import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop.scoring import anls

# Letters whose upper and lower case are one letter each: ß and the like are not.
text = st.text(alphabet="abcABCéÉ $1,  ", max_size=8)
labels = st.lists(text, min_size=1, max_size=3)


def slow_distance(a, b):
    """Edit distance by the textbook's table, row by row."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row = row, [i]
        for j, right in enumerate(b, 1):
            change = before[j - 1] + (left != right)
            row.append(min(change, before[j] + 1, row[-1] + 1))
    return row[-1]


@given(said=text, labels=labels)
def test_anls_is_the_portals_by_a_plain_table(said, labels):
    best = 0
    for label in labels:
        tidy = [" ".join(side.strip().lower().split()) for side in (said, label)]
        length = max(len(said), len(label))
        best = max(best, 1 - slow_distance(*tidy) / length if length else 1)
    assert anls.score(said, labels) == pytest.approx(best if best >= 0.5 else 0)


@given(said=text, labels=labels)
def test_case_never_matters(said, labels):
    swapped = [label.swapcase() for label in labels]
    assert anls.score(said.swapcase(), labels) == anls.score(said, labels)
    assert anls.score(said, swapped) == anls.score(said, labels)


@given(said=text, label=text)
def test_prediction_and_label_can_change_places(said, label):
    assert anls.score(said, [label]) == anls.score(label, [said])


@given(said=text, labels=labels)
def test_which_blank_it_is_never_matters(said, labels):
    other = said.replace(" ", "\n")
    assert anls.score(other, labels) == anls.score(said, labels)


@given(words=st.lists(st.text("abC1", min_size=1), max_size=4), pad=st.integers(1, 3))
def test_answer_that_is_right_up_to_case_and_blanks_gets_full_marks(words, pad):
    blank = " " * pad
    said = blank + blank.join(words).upper() + blank
    assert anls.score(said, [" ".join(words)]) == 1


@given(said=text, labels=labels, pad=st.integers(1, 5))
def test_blanks_around_an_answer_never_lower_its_score(said, labels, pad):
    assert anls.score(said + " " * pad, labels) >= anls.score(said, labels)


def test_blanks_around_a_wrong_answer_can_raise_its_score():
    # The portal divides by the raw length: 1 of 2 letters wrong becomes 1 of 4.
    assert anls.score("ab", ["ac"]) == 0.5
    assert anls.score("ab  ", ["ac"]) == 0.75


def test_length_is_measured_in_capitals_as_the_portal_does():
    assert anls.score("ß", ["a"]) == 0.5


def test_two_empty_texts_are_the_same():
    assert anls.score("", [""]) == 1


def test_half_is_kept():
    assert anls.score("abcd", ["abef"]) == 0.5
