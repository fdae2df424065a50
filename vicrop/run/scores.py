"""What runs score, computed anew: officially and the authors' way, group by group."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vicrop import scoring
from vicrop.run import results, stats
from vicrop.run.folder import META, RECORDS, RunFolder
from vicrop.run.stats import Estimate
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


@dataclass(frozen=True)
class Score:
    """One metric of one group of a run's answers; fractions of 1.

    Attributes:
        run: name of the run's folder.
        model: key.
        method: key.
        dataset: key.
        group: ``all``, ``category …`` or ``size …``.
        variant: ``official`` or ``upstream``.
        metric: its name.
        n: answers that count.
        errors: samples of the group that failed, and are in no mean.
        missing: samples of the run that have no record yet.
        plain: of the answers without a crop.
        answer: of the method's answers.
        gain: paired difference of the two.
        fixed: answers that became right (a score counts as right from 0.5 on).
        broken: answers that became wrong.
        p: of these two, see ``stats.flips``.
        unscored: samples without labels, of the group; they are in no mean.
    """

    run: str
    model: str
    method: str
    dataset: str
    group: str
    variant: str
    metric: str
    n: int
    errors: int
    missing: int
    plain: Estimate
    answer: Estimate
    gain: Estimate
    fixed: int | None = None
    broken: int | None = None
    p: float | None = None
    unscored: int = 0


def card(run: RunFolder) -> list[Score]:
    """All scores of a run, computed anew from its answers.

    Args:
        run: a run with records; its data set need not be there.

    Raises:
        FileNotFoundError: if the folder has no records.
        ValueError: if it has no parameters, or records that cannot be read.
    """
    _check(run)
    config, found, table = run.config(), [], results.table(run)
    named = config.model_dump(include={"model", "method", "dataset"})
    missing = run.meta().get("asked", len(table)) - len(table)
    named |= {"run": run.folder.name, "missing": missing}
    variants = scoring.VARIANTS[: 1 + scoring.has_upstream(config.dataset)]
    for group, rows in groups(table).items():
        for variant in variants:
            official = variant == "official"
            kept = counted(rows, config.dataset) if official else rows
            found += _scores(named | {"group": group, "variant": variant}, kept)
    return found


def _check(run: RunFolder) -> None:
    """Refuse a folder that cannot be scored."""
    if not run.records_file.exists():
        raise FileNotFoundError(
            f"no {RECORDS} in {run.folder}; give the folder of a run, as "
            "`vicrop run` prints it"
        )
    if "config" not in run.meta():
        raise ValueError(
            f"{run.folder / META} has no parameters of the run; let `vicrop "
            "run` finish it"
        )


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


def _scores(named: dict[str, Any], rows: pd.DataFrame) -> list[Score]:
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
    return [Score(**common | one) for one in made]


def _paired(
    metric: str, before: ArrayLike, after: ArrayLike, images: ArrayLike
) -> dict[str, Any]:
    """A metric's fields of a Score, of answers without and with the crop."""
    return {
        "metric": metric,
        "plain": stats.accuracy(before, images),
        "answer": stats.accuracy(after, images),
        "gain": stats.gain(before, after, images),
    }


Metrics = list[dict[str, Any]]
"""Fields of Scores, a dict each."""


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
"""What is usual beside the metric: data set, rows and scores -> fields of Scores."""


def flat(scores: Iterable[Score]) -> pd.DataFrame:
    """One row a score, one column a number: for CSV."""
    table = pd.json_normalize([asdict(one) for one in scores], sep="_")
    once = [f"{name}_n" for name in ("plain", "answer", "gain")]
    table = table.drop(columns=once, errors="ignore")
    return table.rename(columns=lambda name: name.removesuffix("_value"))


def readable(scores: Iterable[Score]) -> pd.DataFrame:
    """A table to read: percentages with 95 % intervals, gains in points."""

    def of_first(value: float | None, spec: str) -> str:
        return "" if value is None else format(value, spec)

    table = pd.DataFrame(
        {
            "run": one.run,
            "group": one.group,
            "scored": one.variant,
            "metric": one.metric,
            "n": one.n,
            "errors": one.errors,
            "unscored": one.unscored,
            "missing": one.missing,
            "no crop, %": one.plain.format(1, scale=100),
            "answer, %": one.answer.format(1, scale=100),
            "gain, points": one.gain.format(1, sign=True, scale=100),
            "fixed": of_first(one.fixed, "d"),
            "broken": of_first(one.broken, "d"),
            "p": of_first(one.p, ".1g") if one.n else "–",
        }
        for one in scores
    )
    rare = table.columns.intersection(["unscored", "missing"])  # told where there are
    return table.drop(columns=[name for name in rare if not table[name].any()])


def notes(scores: Sequence[Score]) -> list[str]:
    """What the numbers of one run lack, a sentence each."""
    failed, missing = max(one.errors for one in scores), scores[0].missing
    said = {"failed": failed, "have no record yet: it is not finished": missing}
    said["have no labels: they are not scored"] = scores[0].unscored
    return [f"{scores[0].run}: {n} samples {what}" for what, n in said.items() if n]


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


def write(scores: Iterable[Score], folder: Path) -> list[Path]:
    """``scores.csv``, ``scores.json`` and ``scores.md`` in a folder.

    Args:
        scores: of any runs.
        folder: made if need be.

    Returns:
        The three files.
    """
    scores = list(scores)
    table, shown = flat(scores), readable(scores)
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
