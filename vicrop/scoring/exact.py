"""Exact match, up to case, blanks and final punctuation: this book's own data.

1 if the normalised prediction is one of the normalised labels, else 0. Ours; neither a
benchmark nor the authors' script has it.

>>> score("Four!", ["4", "four"]), score("4 5", ["4"]), score("", [""])
(1.0, 0.0, 0.0)
"""

from collections.abc import Sequence


def normalise(text: str) -> str:
    """Lower case, single blanks, no final full stop."""
    return " ".join(text.lower().split()).rstrip(".!")


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction is one of the labels, else 0; an empty one is wrong."""
    said = normalise(prediction)
    return float(bool(said) and said in {normalise(label) for label in labels})
