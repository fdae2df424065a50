"""POPE: is the object there, yes or no?

An answer is read from its first sentence: ``no`` if one of its words is ``No``, ``no``
or ``not``, else ``yes`` (an empty answer too). One question scores 1 or 0; over a whole
file ``aggregate`` gives accuracy, precision, recall and F1 of "yes", and the share of
predicted "yes".

>>> [score(said, ["no"]) for said in ("No, there is none.", "NO", "None", "")]
[1.0, 0.0, 0.0, 0.0]
>>> aggregate(["yes"] * 4, ["yes", "no", "yes", "no"])["f1"]
0.6666666666666666

``lmms_eval`` is the strict reading: the answer in lower case must be the label.

The authors' script takes the more similar of "yes" and "no" (difflib, case-sensitive, a
tie is "yes"), so that ``None`` and ``unknown`` are "no"; it reports accuracy only, over
all three files at once.

Source: Li et al. 2023, evaluate.py (AoiDragon/POPE), the same as LLaVA's eval_pope.py.
"""

from collections.abc import Sequence

NO_WORDS = frozenset({"No", "no", "not"})


def read(prediction: str) -> str:
    """``yes`` or ``no``, whichever an answer says.

    >>> read("There is not a dog."), read("Yes. No dog though."), read("")
    ('no', 'yes', 'yes')
    """
    words = prediction.split(".")[0].replace(",", "").split(" ")
    return "yes" if NO_WORDS.isdisjoint(words) else "no"


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the answer says what the label says, else 0."""
    return float(read(prediction) in labels)


def lmms_eval(prediction: str, labels: Sequence[str]) -> float:
    """1 if the answer, in lower case and stripped, is the label, else 0."""
    return float(prediction.lower().strip() in labels)


def aggregate(predictions: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """The numbers of a whole file, with "yes" as the positive class.

    Args:
        predictions: the model's answers.
        labels: ``yes`` or ``no``, one for each.

    Returns:
        TP, FP, TN, FN (counts), accuracy, precision, recall, f1, yes_ratio (of the
        predictions), each in [0, 1]. Precision, recall and F1 are 0 where they are
        0 / 0 (no "yes" was said, or none is true); the official script divides by zero
        there.

    Raises:
        ValueError: if there is nothing to score, the lengths differ, or a label is
            neither ``yes`` nor ``no``.
    """
    _check(predictions, labels)
    pairs = list(zip(map(read, predictions), labels, strict=True))
    tp, fp = pairs.count(("yes", "yes")), pairs.count(("yes", "no"))
    tn, fn = pairs.count(("no", "no")), pairs.count(("no", "yes"))
    return {
        "TP": tp,
        "FP": fp,
        "TN": tn,
        "FN": fn,
        "accuracy": (tp + tn) / len(pairs),
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "f1": share(2 * tp, 2 * tp + fp + fn),
        "yes_ratio": (tp + fp) / len(pairs),
    }


def share(part: int, whole: int) -> float:
    """A part of a whole, 0 where there is no whole."""
    return part / whole if whole else 0.0


def _check(predictions: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse what cannot be counted."""
    if len(predictions) != len(labels) or not labels:
        raise ValueError(
            f"{len(predictions)} predictions do not go with {len(labels)} labels; give"
            " one label for each prediction, and at least one"
        )
    for row, label in enumerate(labels):
        if label not in ("yes", "no"):
            raise ValueError(f"label {label!r} of row {row} must be 'yes' or 'no'")
