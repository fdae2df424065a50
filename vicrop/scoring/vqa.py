"""VQA accuracy: how many of ten people gave the predicted answer.

Leave each of the N labels out in turn, count how many of the others equal the
prediction, and take the mean of min(1, count / 3). With ten labels of which n match
that is min(1, 0.3 n) exactly: 0, 30, 60, 90, 100 %.

* ``textvqa``: M4C's normalisation; needs exactly ten labels.
* ``visualqa``: visualqa.org's evaluator, any number of labels. Its quirk: where all
  labels are the same text, nothing is normalised, the prediction neither.

>>> nokia = ["nokia"] * 3 + ["samsung"] * 7
>>> textvqa("Nokia.", nokia), visualqa("Nokia.", nokia)
(0.9, 0.9)
>>> textvqa("Nokia", ["nokia"] * 10), visualqa("Nokia", ["nokia"] * 10)
(1.0, 0.0)
>>> textvqa("red,white", ["red white"] * 9 + ["red"])
0.0

The authors' script gives min(1, 0.3 n) to whatever number of labels, after
visualqa.org's normalisation. For ten labels that are not all the same it *is*
visualqa.org's score; for ten that are, it forgives case and punctuation where the
official one does not, so that VQAv2 numbers come out higher than the server's.

Source: Antol et al. 2015; GT-Vision-Lab/VQA, vqaEval.py; LLaVA, m4c_evaluator.py.
"""

from collections.abc import Sequence

from vicrop.scoring import normalise

TEN = 10


def leave_one_out(matches: int, labels: int) -> float:
    """Mean over the left-out label of min(1, matches among the others / 3).

    Args:
        matches: how many labels equal the prediction.
        labels: how many labels there are, at least one.

    >>> [leave_one_out(n, 10) for n in range(5)]
    [0.0, 0.3, 0.6, 0.9, 1.0]
    >>> leave_one_out(1, 1)
    0.0
    """
    when_left_out = matches * min(3, matches - 1)
    when_kept = (labels - matches) * min(3, matches)
    return (when_left_out + when_kept) / (3 * labels)


def textvqa(prediction: str, labels: Sequence[str]) -> float:
    """VQA accuracy as TextVQA is scored in practice.

    Raises:
        ValueError: if there are not exactly ten labels.
    """
    if len(labels) != TEN:
        raise ValueError(
            f"textvqa needs exactly ten labels, got {len(labels)}; keep all ten answers"
            " of the original file"
        )
    said = normalise.m4c(prediction)
    return leave_one_out([normalise.m4c(label) for label in labels].count(said), TEN)


def visualqa(prediction: str, labels: Sequence[str]) -> float:
    """VQA accuracy as visualqa.org's evaluator counts it."""
    said = normalise.one_line(prediction)
    truth = [normalise.one_line(label) for label in labels]
    if len(set(truth)) > 1:
        said = normalise.visualqa(said)
        truth = [normalise.visualqa(label) for label in truth]
    return leave_one_out(truth.count(said), len(truth))
