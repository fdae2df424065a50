"""Answers made up to show what scores do: officially and the authors' way."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vicrop import scoring

SHOWN = 44
"""Characters of an option list or label that a table shows."""


def examples(file: Path) -> pd.DataFrame:
    """Made-up answers, scored anew.

    Args:
        file: JSON list of ``dataset``, ``prediction``, ``labels``, ``note``, where
            needed ``question``, and the scores that official and authors' code gave
            (``official_score``, ``upstream_score``, percent).

    Returns:
        A row for each: what was said, what is right, both scores in percent (NaN where
        the metric is not defined for such labels), and whether they are as in the file.
    """
    rows = json.loads(file.read_text(encoding="utf-8"))
    return pd.DataFrame([_example(row) for row in rows])


def _example(row: dict[str, Any]) -> dict[str, Any]:
    official, upstream = (_percent(row, name) for name in scoring.VARIANTS)
    stored = (row["official_score"], row["upstream_score"])
    same = all(_same(a, b) for a, b in zip((official, upstream), stored, strict=True))
    return {
        "dataset": row["dataset"],
        "answer": row["prediction"] or "(empty)",
        "labels": shown_labels(row["labels"]),
        "official, %": official,
        "authors', %": upstream,
        "why": row["note"],
        "as stored": same,
    }


def _percent(row: dict[str, Any], variant: str) -> float:
    try:
        score = scoring.score(
            row["dataset"],
            row["prediction"],
            row["labels"],
            row.get("question"),
            variant,
        )
    except ValueError:  # TextVQA's accuracy is only defined for ten labels
        return float("nan")
    return 100 * score


def _same(score: float, stored: float | None) -> bool:
    return score != score if stored is None else abs(score - stored) < 1e-4


def shown_labels(labels: Sequence[str] | str) -> str:
    """Labels for a table, repeated ones counted.

    >>> shown_labels(["cab"] * 8 + ["taxi"] * 2), shown_labels("yes")
    ('cab ×8, taxi ×2', 'yes (no list)')
    """
    if isinstance(labels, str):
        return f"{labels} (no list)"
    counts = {label: labels.count(label) for label in labels}
    parts = [f"{label} ×{n}" if n > 1 else label for label, n in counts.items()]
    text = ", ".join(parts)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def readable(examples: pd.DataFrame) -> pd.DataFrame:
    """The examples of a data set as a table to read; the largest differences first."""
    apart = (examples["authors', %"] - examples["official, %"]).abs().fillna(0)
    rows = examples.loc[apart.sort_values(ascending=False, kind="stable").index].copy()
    for name in ("official, %", "authors', %"):
        rows[name] = [f"{value:.1f}" if value == value else "–" for value in rows[name]]
    return rows[["answer", "labels", "official, %", "authors', %", "why"]]


def agreement(examples: pd.DataFrame) -> pd.DataFrame:
    """How often the authors' score is higher, the same or lower, by data set."""
    apart = examples["authors', %"] - examples["official, %"]
    side = pd.cut(
        apart,
        [-float("inf"), -1e-6, 1e-6, float("inf")],
        labels=["authors' lower", "the same", "authors' higher"],
    )
    kept = apart.notna()
    return pd.crosstab(examples.loc[kept, "dataset"], side[kept])
