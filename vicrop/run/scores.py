"""What runs score, computed anew: officially and the authors' way, group by group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vicrop import scoring
from vicrop.run import results, stats
from vicrop.run.folder import RECORDS, RunFolder
from vicrop.scoring import pope
from vicrop.types import markdown

LEFT_OUT = {"aokvqa": "difficult_direct_answer"}
"""Questions that the official mean leaves out, by data set: those with this in meta."""

NAMES = {
    "textvqa": "VQA accuracy",
    "vqav2": "VQA accuracy",
    "docvqa": "ANLS",
    "infographicvqa": "ANLS",
}
"""Of the official metric; ``accuracy`` where it is not here."""


Metrics = list[dict[str, Any]]
"""Rows of a ``card``, or what of them is the metric's."""


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

    def score(text: str, labels: Sequence[str], question: str) -> float:
        if variant == "upstream":
            shaped = scoring.as_upstream(dataset, labels)
            return scoring.score(dataset, text, shaped, question, variant)
        said = scoring.prepared(dataset, text) if variant == "official" else text
        return scoring.score(dataset, said, labels, question)

    return np.array(
        [*map(score, rows[column], rows["labels"], rows["question"])], float
    )


def card(run: RunFolder) -> pd.DataFrame:
    """All scores of a run, computed anew from its answers; fractions of 1.

    Args:
        run: a run with records; its data set need not be there.

    Returns:
        A row for each metric of each group. ``run``, ``model``, ``method`` and
        ``dataset`` are the run's, ``missing`` its samples that have no record yet.
        ``group`` is ``all``, ``category …`` or ``size …``, ``variant`` ``official`` or
        ``upstream``, ``n`` the answers that count; ``errors`` (samples that failed) and
        ``unscored`` (without labels) are in no mean. ``plain``, ``answer`` and ``gain``
        are Estimates: without a crop, the method's, paired difference of the two.
        ``fixed``, ``broken``, ``p`` are those of ``stats.changes``, if there are any.

    Raises:
        FileNotFoundError: if the folder has no records.
        ValueError: if it has no parameters, or records that cannot be read.
    """
    if not run.records_file.exists():
        raise FileNotFoundError(
            f"no {RECORDS} in {run.folder}; give the folder of a run, as "
            "`vicrop run` prints it"
        )
    config, found, table = run.config(), [], results.table(run)
    named = config.model_dump(include={"model", "method", "dataset"})
    missing = run.meta().get("asked", len(table)) - len(table)
    named = {"run": run.folder.name, **named, "missing": missing}
    variants = scoring.VARIANTS[: 1 + scoring.has_upstream(config.dataset)]
    for group, rows in groups(table).items():
        for variant in variants:
            official = variant == "official"
            kept = counted(rows, config.dataset) if official else rows
            found += _scores(named | {"group": group, "variant": variant}, kept)
    return pd.DataFrame(found).astype({"fixed": "Int64", "broken": "Int64"})


def groups(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """All rows, then by category and by size group, where there is more than one."""
    categories = frame["meta"].map(lambda meta: meta.get("category"))
    sizes = results.by_group(frame).items()
    parts = {f"category {name}": rows for name, rows in frame.groupby(categories)}
    parts |= {f"size {name}": rows for name, rows in sizes}
    return {"all": frame} | {
        k: rows for k, rows in parts.items() if len(rows) < len(frame)
    }


def counted(rows: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows of a run's table that the official mean is over."""
    flag = LEFT_OUT.get(dataset)
    if flag is None:
        return rows
    return rows[~rows["meta"].map(lambda meta: bool(meta.get(flag)))]


def _scores(named: dict[str, Any], rows: pd.DataFrame) -> Metrics:
    """The metric itself, then what else is usual for the data set."""
    kept = rows[rows["error"].isna() & rows["labels"].astype(bool)]
    dataset, variant = named["dataset"], named["variant"]
    before = rescored(kept, "plain", dataset, variant)
    after = rescored(kept, "answer", dataset, variant)
    errors = int(rows["error"].notna().sum())
    counts = {"errors": errors, "unscored": len(rows) - errors - len(kept)}
    common: dict[str, Any] = named | {"n": len(kept)} | counts
    images = kept["image"].to_numpy()
    first = _paired(metric_name(dataset, variant), before, after, images)
    made = [first | asdict(stats.changes(before, after, images))]
    if variant == "official" and dataset in FURTHER and len(kept):
        made += FURTHER[dataset](dataset, kept, before, after)
    return [common | one for one in made]


def _paired(
    metric: str, before: ArrayLike, after: ArrayLike, images: ArrayLike
) -> dict[str, Any]:
    """A metric of answers without and with the crop, as ``card`` has it."""
    return {
        "metric": metric,
        "plain": stats.accuracy(before, images),
        "answer": stats.accuracy(after, images),
        "gain": stats.gain(before, after, images),
    }


def as_said(
    dataset: str, rows: pd.DataFrame, before: np.ndarray, after: np.ndarray
) -> Metrics:
    """The official score of answers that nobody prepared (``scoring.prepared``)."""
    was, now = (rescored(rows, c, dataset, "as said") for c in ("plain", "answer"))
    return [_paired(f"{metric_name(dataset)}, as said", was, now, rows["image"])]


PLAIN, ANSWER, TRUE = 1, 2, 4
"""Bits of a question's code: whether the answers say yes, and whether it is so."""


def yes_or_no(
    dataset: str, rows: pd.DataFrame, before: np.ndarray, after: np.ndarray
) -> Metrics:
    """POPE's precision, recall, F1 and share of yes, each with its interval."""
    true = np.array([labels[0] == "yes" for labels in rows["labels"]])
    plain, answer = (np.where(scores == 1, true, ~true) for scores in (before, after))
    # One number a question, so that a resample takes both answers and the label.
    codes = TRUE * true + ANSWER * answer + PLAIN * plain
    kinds, each = np.arange(8), np.eye(8)[codes]
    every = np.vstack([each.sum(0), stats.sums(each, rows["image"])])
    was, now = (pope.rates(kinds & b, kinds & TRUE, every) for b in (PLAIN, ANSWER))

    def estimates(name: str) -> dict[str, Any]:
        of = {"plain": was[name], "answer": now[name], "gain": now[name] - was[name]}
        return {k: stats.interval(one[0], one[1:], len(rows)) for k, one in of.items()}

    return [{"metric": name} | estimates(name) for name in pope.RATES]


ROTATIONS = 4
"""In which HR-Bench asks each question."""


def every_rotation(
    dataset: str, rows: pd.DataFrame, before: np.ndarray, after: np.ndarray
) -> Metrics:
    """HR-Bench's questions that are right whichever way their options are rotated.

    Of those that were answered in every rotation: a subset draws rows, not questions.
    """
    base = rows["meta"].map(lambda meta: meta["question_id"]).to_numpy()
    given = {"before": before, "after": after, "image": rows["image"].to_numpy()}
    asked = pd.DataFrame(given).groupby(base)
    worst = asked.agg({"before": "min", "after": "min", "image": "first"})
    worst = worst[asked.size() == ROTATIONS]
    made = _paired("right in every rotation", *(worst[name] for name in given))
    return [made | {"n": len(worst)}] if len(worst) else []


FURTHER: Mapping[str, Callable] = {
    "gqa": as_said,
    "vqav2": as_said,
    "aokvqa": as_said,
    "pope": yes_or_no,
    "hr-bench-4k": every_rotation,
    "hr-bench-8k": every_rotation,
}
"""What is usual beside the metric: data set, rows and scores -> rows of a card."""


def flat(cards: pd.DataFrame) -> pd.DataFrame:
    """One row a score, one column a number: for CSV."""
    made = cards.reset_index(drop=True)  # of several cards, rows would share numbers
    for name in ("plain", "answer", "gain"):
        numbers = pd.DataFrame([asdict(one) for one in made.pop(name)], made.index)
        parts = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
        made = made.join(numbers[[*parts]].rename(columns=parts))
    return made


def readable(cards: pd.DataFrame) -> pd.DataFrame:
    """A table to read: percentages with 95 % intervals, gains in points."""
    cells: dict[str, Callable] = {
        "no crop, %": lambda one: one.plain.format(1, scale=100),
        "answer, %": lambda one: one.answer.format(1, scale=100),
        "gain, points": lambda one: one.gain.format(1, sign=True, scale=100),
        "fixed": lambda one: "" if pd.isna(one.fixed) else str(one.fixed),
        "broken": lambda one: "" if pd.isna(one.broken) else str(one.broken),
        "p": lambda one: "" if pd.isna(one.p) else f"{one.p:.1g}" if one.n else "–",
    }
    plain = "run group variant metric n errors unscored missing".split()
    made = {name: [*map(cell, cards.itertuples())] for name, cell in cells.items()}
    table = cards[plain].assign(**made).rename(columns={"variant": "scored"})
    rare = ("unscored", "missing")  # told where there are
    return table.drop(columns=[name for name in rare if not table[name].any()])


def notes(card: pd.DataFrame) -> list[str]:
    """What the numbers of one run lack, a sentence each."""
    first = card.iloc[0]
    said = {
        "failed": card["errors"].max(),
        "have no record yet: it is not finished": first["missing"],
        "have no labels: they are not scored": first["unscored"],
    }
    return [f"{first['run']}: {n} samples {what}" for what, n in said.items() if n]


def compared(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Answers of runs against the first's, to be read; runs on other data left out."""
    data = runs[0].config().dataset
    same = [run for run in runs if run.config().dataset == data]
    first, *others = [counted(results.table(run), data) for run in same]
    rows = []
    for run, table in zip(same[1:], others, strict=True):
        both = first.merge(table, on=["id", "question"])
        both = both.dropna(subset=["score_x", "score_y"])
        pair = both["score_x"], both["score_y"], both["image_x"]
        points, found = stats.gain(*pair), asdict(stats.changes(*pair))
        row = {"run": run.name, "n": len(both), "points": points.format(1, True, 100)}
        rows.append(row | found | {"p": f"{found['p']:.1g}"})
    return pd.DataFrame(rows)


def write(cards: pd.DataFrame, folder: Path) -> list[Path]:
    """``scores.csv``, ``scores.json`` and ``scores.md`` in a folder.

    Args:
        cards: of any runs, one below the other.
        folder: made if need be.

    Returns:
        The three files.
    """
    table, shown = flat(cards), readable(cards)
    named = {name: shown[name].map(markdown) for name in ("run", "group")}
    made = {
        "csv": table.to_csv(index=False),
        "json": table.to_json(orient="records", indent=1, double_precision=15),
        "md": shown.assign(**named).to_markdown(index=False, disable_numparse=True)
        + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"scores.{kind}": text for kind, text in made.items()}
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)
