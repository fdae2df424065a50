"""Exact match, up to case, blanks and final punctuation: this repository's own scenes.

Texts are compared as they read, not by their bytes: ``normalise.as_typed``.

>>> [score(said, ["4", "four"]) for said in ("Four.", "４。", "5", "")]
[1.0, 1.0, 0.0, 0.0]

The authors never had these data: there is no upstream score.
"""

from collections.abc import Sequence

from vicrop.scoring.normalise import as_typed


def normalise(text: str) -> str:
    """One case, single blanks, no final full stop."""
    return " ".join(as_typed(text).casefold().split()).rstrip(".!。")


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction is one of the labels, else 0; an empty one is wrong."""
    said = normalise(prediction)
    return float(bool(said) and said in {normalise(label) for label in labels})
