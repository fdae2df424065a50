"""GQA: the prediction is the one gold answer, letter by letter.

Source: GQA's ``eval.py``, which compares the texts as they are; its "accuracy" is the
mean over the balanced questions. Models say "Yes." where the data say "yes": LLaVA
lower-cases and drops the final full stop before it calls that script (``llava_score``,
which its published 62.0 is), so raw accuracy of a model that writes capitals is far
below what its paper says.

The authors' script (``upstream.gqa``) asks whether the normalised label is somewhere in
the normalised prediction: "woman" is right for "man", "nothing" for "no". Only up.

>>> score("Yes.", ["yes"]), llava_score("Yes.", ["yes"]), score("yes", ["yes"])
(0.0, 1.0, 1.0)
"""

from collections.abc import Sequence


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction equals a label, else 0."""
    return float(prediction in labels)


def llava_score(prediction: str, labels: Sequence[str]) -> float:
    """The same after LLaVA's conversion: no final full stops, lower case."""
    return score(prediction.rstrip(".").lower(), labels)
