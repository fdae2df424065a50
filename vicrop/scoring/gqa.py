"""GQA accuracy: the prediction is the one answer, letter by letter.

The official eval.py has plain equality, with no normalisation, so that a model's
``Yes`` is wrong: see ``prepare`` for what is done to it before.

>>> [score(said, ["yes"]) for said in ("yes", "Yes.", "Yes, it is")]
[1.0, 0.0, 0.0]

The authors' script asks whether the normalised label is a *part of* the normalised
prediction: ``nothing`` is right for ``no`` and ``woman`` for ``man``, and a label given
as a bare string is read letter by letter (``yes`` can score 3).

Source: Hudson & Manning 2019, eval.py.
"""

from collections.abc import Sequence


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction equals a label, else 0."""
    return float(prediction in labels)
