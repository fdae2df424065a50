r"""Multiple choice with lettered options: HR-Bench, TreeBench, ZoomBench.

The options are read from the question (``(A) red`` or ``A. red``, one a line). An
answer is right if it names the label's option, and no other, by its letter or by its
whole text; a question without options (ZoomBench has some) is scored by exact match.

>>> question = "What colour?\n(A) red\n(B) dark blue\nAnswer with the letter."
>>> answers = ("B", "b.", "(B) blue", "Dark blue", "blue", "(B) or (A)")
>>> [score(said, ["B"], question) for said in answers]
[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
>>> score("Seven.", ["seven"], "How many birds are there?")
1.0

HR-Bench asks each question four times with the options rotated; ``vicrop score`` has
the stricter share of questions that are right in all of them beside the mean, which a
model that likes one letter cannot reach by luck.

The authors never had these data: there is no upstream score.

Source: Wang et al. 2024 (HR-Bench): accuracy per cycle_category, then the mean of the
cycles. How a text becomes a letter is our rule: no language model is asked.
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from vicrop.scoring import exact

OPTION = re.compile(r"^\s*(?:\(([A-Z])\)\s*|([A-Z])[.):]\s+)(\S.*?)\s*$", re.MULTILINE)
ALONE = re.compile(r"[\W_]*([A-Za-z])[\W_]*")
# What follows must close the letter: "the answer is a dog" names none.
NAMED = re.compile(
    r"\b(?:answer|option|choice)(?:\s+is)?[\s:*]*\(?([A-Z])\s*(?=[).,:;*]|$)", re.I
)
MARKED = re.compile(r"\(([A-Z])\)|(?<![\w.(])([A-Z])[.):](?!\w)")


def options(question: str) -> dict[str, str]:
    r"""Letter -> text of a question's options; empty unless they run A, B, ….

    >>> options("Which?\n(A) red\n(B) dark blue\nAnswer with the letter.")
    {'A': 'red', 'B': 'dark blue'}
    """
    made = {
        bracketed or plain: text for bracketed, plain, text in OPTION.findall(question)
    }
    run = "".join(made) == ascii_uppercase[: len(made)]
    return made if run and len(made) > 1 else {}


def letter(prediction: str, known: dict[str, str]) -> str | None:
    """The letter that an answer names, None if it names none of the known.

    A letter on its own, in either case; the text of an option; the one after "answer",
    "option" or "choice"; the one set apart, as ``(B)`` or ``B.``. In this order.

    Args:
        prediction: the answer.
        known: letter -> text, of the options.
    """
    said = exact.as_typed(prediction)
    texts = {exact.normalise(text): key for key, text in known.items()}
    named = {one.upper() for one in NAMED.findall(said)}
    marked = {one or other for one, other in MARKED.findall(said)} & known.keys()
    alone = ALONE.fullmatch(said)
    found = (
        alone and alone[1].upper(),
        texts.get(exact.normalise(said)),
        *(only.pop() for only in (named, marked) if len(only) == 1),
    )
    return next((one for one in found if one in known), None)


def score(prediction: str, labels: Sequence[str], question: str | None = None) -> float:
    """1 if the answer names the label's option, else 0.

    Args:
        prediction: a letter, an option's text, or both.
        labels: the right option's letter; a text for a question without options.
        question: with its options, one a line.
    """
    known = options(exact.as_typed(question or ""))
    if not known:
        return exact.score(prediction, labels)
    right = {letter(label, known) for label in labels} - {None}
    return float(letter(prediction, known) in right)
