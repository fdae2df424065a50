"""V*: the letter of the right option.

There is no official rule for a text: the benchmark's own script compares the language
model's losses over the option texts. ``score`` reads a letter A to D from the answer as
lmms-eval does: the first that holds of (1) the answer's first letter, (2) one after
"answer", "option" or "choice", (3) one in brackets, (4) one before ``.``, ``)`` or
``]``, (5) one between blanks, (6) the only such letter in the answer.

>>> answers = ("D", "(D) standing", "the answer is D", "standing")
>>> [score(said, ["D"]) for said in answers]
[1.0, 1.0, 1.0, 0.0]

Rule 1 is generous: ``Blue`` reads as B.

The authors' script takes the option line that difflib finds most similar to the
answer: ``standing`` is then right, an empty answer is the first option, and ``(B)`` can
lose to a shorter line. It counts matches as VQA accuracy, so that a label needs copies.

Source: Wu & Xie 2023; lmms-eval, tasks/vstar_bench/utils.py (75571cf).
"""

import re
from collections.abc import Sequence

RULES = (
    r"^([A-D])",
    r"(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])",
    r"\(([A-D])\)",
    r"([A-D])\s*[.)\]]",
    r"(?:^|\s)([A-D])(?:\s|$)",
    r"^[^A-D]*([A-D])[^A-D]*$",
)


def letter(prediction: str) -> str | None:
    """The option's letter that an answer names, None if it names none.

    >>> letter("It is on the left, B."), letter("None of them"), letter("standing")
    ('B', None, None)
    """
    said = prediction.strip().upper()
    found = (re.search(rule, said) for rule in RULES)
    return next((match[1] for match in found if match), None)


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the answer's letter is the label, however many copies of it there are."""
    return float(letter(prediction) in {label.strip().upper() for label in labels})
