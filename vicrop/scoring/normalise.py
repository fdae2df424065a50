"""The text normalisation of VQA accuracy, in visualqa.org's and in M4C's form.

Both replace line breaks and tabs, treat punctuation, lower the case, write zero to ten
as digits, drop the articles and give contractions their apostrophe. M4C's (the one that
TextVQA is scored with) does three things more before that: it lowers the case, deletes
every ``,`` and ``?``, and splits ``'s`` off.

>>> visualqa("The red,white T-shirt."), m4c("The red,white T-shirt.")
('red white t shirt', 'redwhite t shirt')
>>> visualqa("couldnt've 1,000 , two!"), m4c("mcdonald's")
("couldn't've 1000 2", "mcdonald 's")

Source: GT-Vision-Lab/VQA, vqaEval.py (a013f00); mmf, EvalAIAnswerProcessor. The
authors' script normalises as visualqa.org does.
"""

import re
from functools import lru_cache

from vicrop.scoring import contractions

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
"""Marks that are deleted or become a blank; ``:``, ``$``, ``%``, ``&``, ``'`` stay."""

ARTICLES = frozenset({"a", "an", "the"})

DIGITS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten".split()
    )
} | {"none": "0"}

# re.UNICODE is passed where `count` belongs, so that at most 32 stops are dropped.
MOST_STOPS = int(re.UNICODE)


def one_line(text: str) -> str:
    """Line breaks and tabs as blanks, none at either end."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def without_punctuation(text: str) -> str:
    """Marks deleted if they touch a blank anywhere in the text, else made blanks.

    A comma between digits anywhere makes every mark one that is deleted.
    """
    thousands = re.search(r"\d,\d", text) is not None
    made = text
    for mark in PUNCTUATION:
        touches = f"{mark} " in text or f" {mark}" in text
        made = made.replace(mark, "" if touches or thousands else " ")
    return re.sub(r"\.(?!\d)", "", made, count=MOST_STOPS)


def plain_words(text: str) -> str:
    """Lower case, digits for number words, no articles, apostrophes put back."""
    words = [DIGITS.get(word, word) for word in text.lower().split()]
    kept = [word for word in words if word not in ARTICLES]
    return " ".join(contractions.TABLE.get(word, word) for word in kept)


@lru_cache(1 << 16)  # the same answers come again and again
def visualqa(text: str) -> str:
    """A text in visualqa.org's normal form, which is the authors' too."""
    return plain_words(without_punctuation(one_line(text)))


def m4c(text: str) -> str:
    """A text in the normal form of TextVQA's scorer."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return visualqa(text)
