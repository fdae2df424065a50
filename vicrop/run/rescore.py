"""Scores of answers in records, computed anew, and what is usual beside them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from vicrop import scoring
from vicrop.run import stats
from vicrop.run.stats import Estimate

NAMES = {
    "textvqa": "VQA accuracy",
    "vqav2": "VQA accuracy",
    "docvqa": "ANLS",
    "infographicvqa": "ANLS",
}
"""Of the official metric; ``accuracy`` where it is not here."""


def metric_name(dataset: str, variant: str = "official") -> str:
    """What a data set's score is called."""
    return NAMES.get(dataset, "accuracy") if variant == "official" else "accuracy"


def rescored(rows: pd.DataFrame, column: str, dataset: str, variant: str) -> np.ndarray:
    """Scores of the texts in a column, for the labels and questions beside them.

    Args:
        rows: with ``labels`` and ``question``.
        column: ``plain`` or ``answer``.
        dataset: key.
        variant: ``official`` (of prepared answers), ``upstream``, or ``as said``: the
            official score of unprepared ones.
    """
    official = variant != "upstream"
    return np.array(
        [
            scoring.score(
                dataset,
                scoring.prepared(dataset, text) if variant == "official" else text,
                labels if official else scoring.as_upstream(dataset, labels),
                question,
                "official" if official else variant,
            )
            for text, labels, question in zip(
                rows[column], rows["labels"], rows["question"], strict=True
            )
        ],
        float,
    )


def as_said(
    dataset: str, rows: pd.DataFrame, before: np.ndarray, after: np.ndarray
) -> list[dict[str, Any]]:
    """The official score of answers that nobody prepared (``scoring.prepare``)."""
    was, now = (rescored(rows, c, dataset, "as said") for c in ("plain", "answer"))
    return [
        {
            "metric": f"{metric_name(dataset)}, as said",
            "plain": stats.accuracy(was),
            "answer": stats.accuracy(now),
            "gain": stats.gain(was, now),
        }
    ]


def yes_or_no(
    dataset: str, rows: pd.DataFrame, before: np.ndarray, after: np.ndarray
) -> list[dict[str, Any]]:
    """POPE's precision, recall, F1 and share of yes, each with its interval."""
    right = np.array([labels[0] == "yes" for labels in rows["labels"]])
    plain, answer = (np.where(scores == 1, right, ~right) for scores in (before, after))
    # One number a question, so that a resample takes both answers and the label.
    codes = 4 * right + 2 * answer + plain

    def estimate(rate: Rate, *bits: int) -> Estimate:
        def statistic(levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
            made = [_rate(rate, levels, counts, bit) for bit in bits]
            return made[0] - made[1] if len(made) > 1 else made[0]

        return stats.bootstrap_counts(codes, statistic)

    return [
        {
            "metric": name,
            "plain": estimate(rate, 1),
            "answer": estimate(rate, 2),
            "gain": estimate(rate, 2, 1),
        }
        for name, rate in RATES.items()
    ]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """0 where the whole is none (see ``scoring.pope.aggregate``)."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0)


def _rate(rate: "Rate", levels: np.ndarray, counts: np.ndarray, bit: int) -> np.ndarray:
    """A rate of the answers that a bit of the codes tells."""
    said, yes = (levels & bit) > 0, (levels & 4) > 0
    both, said, yes = (counts[..., m].sum(-1) for m in (said & yes, said, yes))
    return rate(both, said, yes, counts.sum(-1))


Rate = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""How often: said and is yes, said yes, is yes, of how many -> a rate."""

RATES: dict[str, Rate] = {
    "precision": lambda both, said, yes, n: _share(both, said),
    "recall": lambda both, said, yes, n: _share(both, yes),
    "F1": lambda both, said, yes, n: _share(2 * both, said + yes),
    "yes ratio": lambda both, said, yes, n: _share(said, n),
}


ROTATIONS = 4
"""In which HR-Bench asks each question."""


def every_rotation(
    dataset: str, rows: pd.DataFrame, before: np.ndarray, after: np.ndarray
) -> list[dict[str, Any]]:
    """HR-Bench's questions that are right whichever way their options are rotated.

    Of those that were answered in every rotation: a subset draws rows, not questions.
    """
    base = rows["meta"].map(lambda meta: meta["question_id"]).to_numpy()
    scores = pd.DataFrame({"base": base, "before": before, "after": after})
    whole = scores.groupby("base").filter(lambda asked: len(asked) == ROTATIONS)
    if whole.empty:
        return []
    worst = whole.groupby("base").min()
    was, now = worst["before"].to_numpy(), worst["after"].to_numpy()
    return [
        {
            "metric": "right in every rotation",
            "n": len(worst),
            "plain": stats.accuracy(was),
            "answer": stats.accuracy(now),
            "gain": stats.gain(was, now),
        }
    ]


FURTHER: Mapping[str, Callable] = {
    "gqa": as_said,
    "vqav2": as_said,
    "aokvqa": as_said,
    "pope": yes_or_no,
    "hr-bench-4k": every_rotation,
    "hr-bench-8k": every_rotation,
}
"""What is usual beside the metric: data set, rows and scores -> fields of lines."""
