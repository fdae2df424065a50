"""V*Bench: the letter that the prediction names.

Source: lmms-eval, ``tasks/vstar_bench/utils.py``; there is no official rule for texts
(the benchmark's own script compares the losses of the options, arXiv:2312.14135). In
capitals, the first of these that is found: a text that begins with A to D; "answer",
"choice" or "option" and then a letter; a letter in brackets; a letter before a full
stop or bracket; a letter that stands alone; the only A, B, C or D in the text. It is a
letter rule and no more: "Blue" is read as B, and "standing" (with an A and a D) as
nothing.

The authors' script (``upstream.vstar``) takes the option line that looks most like the
answer, by difflib. So option texts count as well, an empty answer is an A, and "(B)" is
lost if another option's line is short. It needs four or more copies of the label.

>>> score("(D) standing", ["D"]), score("The answer is D.", ["D"])
(1.0, 1.0)
>>> score("standing", ["D"]), score("", ["A"])
(0.0, 0.0)
"""

import re
from collections.abc import Sequence

LETTER_RULES = [
    re.compile(rule)
    for rule in (
        r"^([A-D])",
        r"(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])",
        r"\(([A-D])\)",
        r"([A-D])\s*[.)\]]",
        r"(?:^|\s)([A-D])(?:\s|$)",
    )
]


def letter(prediction: str) -> str | None:
    """The letter that a text names, A to D; None if it names none."""
    text = prediction.strip().upper()
    for rule in LETTER_RULES:
        if found := rule.search(text):
            return found[1]
    letters = re.findall("[A-D]", text)
    return letters[0] if len(letters) == 1 else None


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction names a label's letter, else 0."""
    return float(letter(prediction) in {label.strip().upper() for label in labels})
