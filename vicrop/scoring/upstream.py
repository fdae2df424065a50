r"""The authors' scores (get_score.py), defects included.

Kept so that a reader sees how much of a gain is the scorer. Written from what the
script does; every function takes the labels in the shape the script expects, and does
with another shape what the script does with it:

* ``vqa`` (TextVQA, A-OKVQA, VQAv2): min(1, 0.3 n) over however many labels there are;
* ``docvqa``: right if the prediction lies in a label or a label in the prediction; a
  bare string is a list of letters;
* ``gqa``: right if the normalised label lies in the normalised prediction; a bare
  string counts once for each of its letters, so that ``yes`` scores 3: the one score
  here that leaves [0, 1];
* ``pope``: the more similar of "yes" and "no"; the label must be a bare string, a list
  is never equal;
* ``vstar``: the letter of the most similar option line, scored as ``vqa``: without four
  copies of the label a right answer gets less than 1.

>>> vqa("cab", ["cab"] * 2 + ["taxi"] * 8), docvqa("", ["Edward Shannon"])
(0.6, 1.0)
>>> gqa("nothing", ["no"]), gqa("yes", "yes"), pope("None", "no"), pope("no", ["no"])
(1.0, 3.0, 1.0, 0.0)
>>> question = "Where is it?\n(A) right\n(B) left\nAnswer with the letter."
>>> vstar("left side", ["B"] * 10, question), vstar("left side", ["B"], question)
(1.0, 0.3)

Source: saccharomycetes/mllms_know (a64c5d5), get_score.py.
"""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from vicrop.scoring import normalise


def closest(prediction: str, choices: Sequence[str]) -> str:
    """The choice most similar to the prediction, the first of those that tie.

    >>> closest("Nope", ["yes", "no"]), closest("", ["yes", "no"])
    ('no', 'yes')
    """
    return max(
        choices, key=lambda choice: SequenceMatcher(None, prediction, choice).ratio()
    )


def vqa(prediction: str, labels: Sequence[str]) -> float:
    """min(1, 0.3 n), n being how many normalised labels equal the prediction."""
    said = normalise.visualqa(prediction)
    matches = sum(said == normalise.visualqa(label) for label in labels)
    return min(1.0, 3 * matches / 10)


def docvqa(prediction: str, labels: Sequence[str]) -> float:
    """1 if prediction or label lies within the other, case and all."""
    return float(any(prediction in label or label in prediction for label in labels))


def gqa(prediction: str, labels: Sequence[str]) -> float:
    """How many labels, or letters of a bare string, lie in the prediction.

    A list counts at most once: the data have one label, so that the script's sum over a
    longer list says nothing about a published number.
    """
    said = normalise.visualqa(prediction)
    hits = sum(normalise.visualqa(label) in said for label in labels)
    return float(hits if isinstance(labels, str) else min(1, hits))


def pope(prediction: str, labels: str | Sequence[str]) -> float:
    """1 if the more similar of "yes" and "no" is the label."""
    return float(closest(prediction, ["yes", "no"]) == labels)


def vstar(
    prediction: str, labels: str | Sequence[str], question: str | None = None
) -> float:
    """VQA accuracy of the most similar option's letter.

    The options are taken to be all lines but the first and the last: without a closing
    line the last option is lost.

    Raises:
        ValueError: unless those lines are options, ``(A) …``.
    """
    lines = (question or "").split("\n")[1:-1]
    if not lines or not all(re.match(r"\([A-Z]\)", line) for line in lines):
        raise ValueError(
            f"question {question!r:.200} has other lines than '(A) …' between its first"
            " and its last, or none; give V*'s whole text with the closing instruction"
        )
    return vqa(closest(prediction, lines)[1], labels)
