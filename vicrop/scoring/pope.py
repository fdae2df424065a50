"""POPE: is the object in the image, yes or no.

The first sentence (up to a full stop), without commas, cut at blanks, is a "no" if one
of its words is ``No``, ``no`` or ``not``; everything else, an empty answer too, is a
"yes". So is "NO". Yes is the positive class of precision, recall and F1; ``yes_ratio``
is the share of predicted yes.

Source: Li et al. 2023 (arXiv:2305.10355), ``evaluate.py``. lmms-eval compares the whole
text with the label (``strict_score``), and its yes_ratio counts labels. The authors'
script (``upstream.pope``) takes whichever of yes and no looks more like the answer,
case and all: "None" and "unknown" become a "no". It reports accuracy only, and pools
the three files (random, popular, adversarial).

>>> score("No, there is no dog.", ["no"]), score("NO", ["no"]), score("", ["yes"])
(1.0, 0.0, 1.0)
>>> made = aggregate(["yes", "yes", "yes", "yes"], ["yes", "no", "yes", "no"])
>>> made["accuracy"], made["precision"], made["recall"], round(made["f1"], 3)
(0.5, 0.5, 1.0, 0.667)
"""

from collections.abc import Sequence

NO = {"No", "no", "not"}


def answer(prediction: str) -> str:
    """What the official script understands: yes or no."""
    words = prediction.split(".")[0].replace(",", "").split(" ")
    return "no" if NO & set(words) else "yes"


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if what the script understands is a label, else 0."""
    return float(answer(prediction) in labels)


def strict_score(prediction: str, labels: Sequence[str]) -> float:
    """lmms-eval's form: the whole text, up to case and blanks around it."""
    return float(prediction.lower().strip() in labels)


def aggregate(predictions: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """POPE's figures of many questions.

    Args:
        predictions: the model's answers.
        labels: ``yes`` or ``no`` for each.

    Returns:
        accuracy, precision, recall, f1, yes_ratio (all in [0, 1]), and the counts TP,
        FP, TN, FN. A figure that is 0 / 0 is 0.0; the official script stops there with
        a ZeroDivisionError (a model that always says no has no precision).

    Raises:
        ValueError: for no question, unequal numbers, or another label.
    """
    if not len(predictions) == len(labels) > 0:
        raise ValueError(
            f"{len(predictions)} predictions and {len(labels)} labels, expected as "
            "many of each and at least one; give both in the order of the questions"
        )
    if odd := [label for label in labels if label not in ("yes", "no")]:
        raise ValueError(f"label {odd[0]!r} is neither 'yes' nor 'no'")
    pairs = [
        (answer(said), label) for said, label in zip(predictions, labels, strict=True)
    ]
    tp, fp = pairs.count(("yes", "yes")), pairs.count(("yes", "no"))
    tn, fn = pairs.count(("no", "no")), pairs.count(("no", "yes"))
    return _figures(tp, fp, tn, fn) | {"TP": tp, "FP": fp, "TN": tn, "FN": fn}


def _figures(tp: int, fp: int, tn: int, fn: int) -> dict[str, float]:
    """The shares of a confusion matrix."""
    return {
        "accuracy": _share(tp + tn, tp + fp + tn + fn),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
        "f1": _share(2 * tp, 2 * tp + fp + fn),
        "yes_ratio": _share(tp + fp, tp + fp + tn + fn),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
