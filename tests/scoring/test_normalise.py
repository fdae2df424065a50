import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vicrop.scoring import contractions, normalise

NUMBERS = "zero one two three four five six seven eight nine ten".split()
pieces = st.sampled_from(
    [*normalise.PUNCTUATION, *NUMBERS, "none", "a", "an", "The", "Im", "dont", "1", "2"]
    + ["couldnt've", "somebody'd", "'s", ".", ":", "$", " ", "  ", "\n", "\t", "1,000"]
)
messy = st.lists(pieces, max_size=14).map("".join)


def beside_a_blank(text, at):
    return text[at - 1 : at] == " " or text[at + 1 : at + 2] == " "


def slow_normalise(text):
    """visualqa.org's form letter by letter, as its description says."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    deleted = {text[at] for at in range(len(text)) if beside_a_blank(text, at)}
    for at in range(1, len(text) - 1):
        around = text[at - 1] + text[at + 1]
        if text[at] == "," and around.isdecimal():
            deleted = set(normalise.PUNCTUATION)
    made = ""
    for mark in text:
        if mark not in normalise.PUNCTUATION:
            made += mark
        elif mark not in deleted:
            made += " "
    kept, stops = "", 0
    for at, mark in enumerate(made):
        drop = mark == "." and not made[at + 1 : at + 2].isdecimal() and stops < 32
        stops += drop
        kept += "" if drop else mark
    words = []
    for word in kept.lower().split():
        word = "0" if word == "none" else word
        word = str(NUMBERS.index(word)) if word in NUMBERS else word
        if word not in ("a", "an", "the"):
            words.append(contractions.TABLE.get(word, word))
    return " ".join(words)


@given(text=messy)
@example(text="." * 40)
@example(text="coca - cola")
def test_normal_form_is_the_one_made_letter_by_letter(text):
    assert normalise.visualqa(text) == slow_normalise(text)


@given(text=messy)
def test_m4c_form_is_visualqas_of_a_text_without_commas_and_question_marks(text):
    without = "".join(mark for mark in text.lower() if mark not in ",?")
    assert normalise.m4c(text) == slow_normalise(without.replace("'s", " 's"))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Nokia.", "nokia"),
        ("3.14.", "3.14"),
        ("coca-cola", "coca cola"),
        ("coca - cola", "coca cola"),
        ("$12.50", "$12.50"),
        ("10:10", "10:10"),
        ("1,000", "1000"),
        ("the apple, a day", "apple day"),
        ("ten eleven none", "10 eleven 0"),
        ("a", ""),
    ],
)
def test_punctuation_numbers_and_articles(text, normal):
    assert normalise.visualqa(text) == normal


@pytest.mark.parametrize(
    ("short", "word"),
    [
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("y'alld've", "y'all'd've"),
        ("ow's'at", "'ow's'at"),
        ("twas", "'twas"),
        ("Im", "im"),
        ("somebody'd", "somebodyd"),
        ("couldntve", "couldntve"),
    ],
)
def test_contractions_get_the_one_apostrophe_they_lack(short, word):
    assert normalise.visualqa(short) == word


def test_contraction_table_has_the_official_entries_that_can_match():
    # 120, less four in capitals and two that change nothing.
    assert len(contractions.TABLE) == 114
    assert all(short == short.lower() for short in contractions.TABLE)
    assert all(short != word for short, word in contractions.TABLE.items())


def test_at_most_32_stops_are_dropped():
    assert normalise.visualqa("." * 40) == "." * 8
