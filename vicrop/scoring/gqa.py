"""GQA accuracy: the prediction is the one answer, letter by letter.

``score`` is the official eval.py: plain equality, with no normalisation, so that a
model's ``Yes`` is wrong. ``llava`` is what LLaVA's conversion makes of the answer
before eval.py sees it: lower case, final stops dropped.

>>> [score(said, ["yes"]) for said in ("yes", "Yes.", "Yes, it is")]
[1.0, 0.0, 0.0]
>>> [llava(said, ["yes"]) for said in ("yes", "Yes.", "Yes, it is")]
[1.0, 1.0, 0.0]

The authors' script asks whether the normalised label is a *part of* the normalised
prediction: ``nothing`` is right for ``no`` and ``woman`` for ``man``, and a label given
as a bare string is read letter by letter (``yes`` can score 3).

Source: Hudson & Manning 2019, eval.py; LLaVA, convert_gqa_for_eval.py.
"""

from collections.abc import Sequence


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction equals a label, else 0."""
    return float(prediction in labels)


def llava(prediction: str, labels: Sequence[str]) -> float:
    """1 if the prediction, in lower case and without final stops, equals a label."""
    return float(prediction.rstrip(".").lower() in labels)
