"""GQA accuracy: the prediction is the one answer, letter by letter.

The official eval.py has plain equality, with no normalisation, so that a model's
``Yes`` is wrong; LLaVA prepares its answers first.

>>> [score(said, ["yes"]) for said in ("yes", "Yes.", prepared("Yes."))]
[1.0, 0.0, 1.0]

The authors' script asks whether the normalised label is a *part of* the normalised
prediction: ``nothing`` is right for ``no`` and ``woman`` for ``man``, and a label given
as a bare string is read letter by letter (``yes`` can score 3).

Source: Hudson & Manning 2019, eval.py; LLaVA, convert_gqa_for_eval.py.
"""

from collections.abc import Sequence


def prepared(prediction: str) -> str:
    """In lower case, without final stops and blanks around it."""
    return prediction.strip().rstrip(".").lower()


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction equals a label, else 0."""
    return float(prediction in labels)
