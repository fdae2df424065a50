"""Exact match, up to case, blanks and final punctuation: this repository's own scenes.

>>> [score(said, ["4", "four"]) for said in ("Four.", "４。", "5", "")]
[1.0, 1.0, 0.0, 0.0]

The authors never had these data: there is no upstream score.
"""

import unicodedata
from collections.abc import Sequence

TYPED = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | str.maketrans(
    "‘’‚‛′“”„‟″‐‑‒–—―−｡", "'" * 5 + '"' * 5 + "-" * 7 + "。", "\xad\u200b\u2060\ufeff"
)
"""Full-width letters, quotes, dashes, stops as keyboards have them."""


def as_typed(text: str) -> str:
    """A text with accents composed, and in a keyboard's letters."""
    return unicodedata.normalize("NFC", text).translate(TYPED)


def normalise(text: str) -> str:
    """One case, single blanks, no final full stop."""
    return " ".join(as_typed(text).casefold().split()).rstrip(".!。")


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction is one of the labels, else 0; an empty one is wrong."""
    said = normalise(prediction)
    return float(bool(said) and said in {normalise(label) for label in labels})
