"""What runs score, computed anew: officially and the authors' way, group by group."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vicrop import scoring
from vicrop.run import results, stats
from vicrop.run.folder import META, RECORDS, RunFolder
from vicrop.run.stats import Estimate

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
        errors: samples that failed, of the group.
        plain: of the answers without a crop.
        answer: of the method's answers.
        gain: paired difference of the two.
        fixed: answers that became right (a score counts as right from 0.5 on).
        broken: answers that became wrong.
        p: McNemar's exact p of these two.
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
    plain: Estimate
    answer: Estimate
    gain: Estimate
    fixed: int | None = None
    broken: int | None = None
    p: float | None = None


def card(run: RunFolder) -> list[Score]:
    """All scores of a run, computed anew from its answers.

    Args:
        run: a run with records; its data set need not be there.

    Raises:
        FileNotFoundError: if the folder has no records.
        ValueError: if it has no parameters, or records that cannot be read.
    """
    _check(run)
    config, found = run.config(), []
    named = {"run": run.folder.name} | config.model_dump(
        include={"model", "method", "dataset"}
    )
    variants = scoring.VARIANTS[: 1 + scoring.has_upstream(config.dataset)]
    for group, rows in groups(results.table(run)).items():
        for variant in variants:
            counted = _counted(rows, config.dataset, variant)
            found += _scores(named | {"group": group, "variant": variant}, counted)
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
    found = {"all": frame}
    for name, rows in frame.groupby(categories):
        found[f"category {name}"] = rows
    for name, rows in results.by_group(frame).items():
        found[f"size {name}"] = rows
    whole = {name for name, rows in found.items() if len(rows) == len(frame)}
    return {name: rows for name, rows in found.items() if name not in whole - {"all"}}


def _counted(rows: pd.DataFrame, dataset: str, variant: str) -> pd.DataFrame:
    """The rows that a variant's mean is over."""
    flag = LEFT_OUT.get(dataset)
    if variant != "official" or flag is None:
        return rows
    return rows[~rows["meta"].map(lambda meta: bool(meta.get(flag)))]


def _scores(named: dict[str, str], rows: pd.DataFrame) -> list[Score]:
    """The metric itself, then what else is usual for the data set."""
    kept = rows[rows["error"].isna()]
    dataset, variant = named["dataset"], named["variant"]
    before = rescored(kept, "plain", dataset, variant)
    after = rescored(kept, "answer", dataset, variant)
    changed = asdict(stats.changes(before, after))
    common: dict[str, Any] = named | {"n": len(kept), "errors": len(rows) - len(kept)}
    first = _paired(metric_name(dataset, variant), before, after)
    first |= {name: changed[name] for name in ("fixed", "broken", "p")}
    made = [first]
    if variant == "official" and dataset in FURTHER and len(kept):
        made += FURTHER[dataset](dataset, kept, before, after)
    return [Score(**common | one) for one in made]


def _paired(metric: str, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """A metric's fields of a Score, of answers without and with the crop."""
    return {
        "metric": metric,
        "plain": stats.accuracy(before),
        "answer": stats.accuracy(after),
        "gain": stats.gain(before, after),
    }


def as_said(
    dataset: str, rows: pd.DataFrame, before: np.ndarray, after: np.ndarray
) -> list[dict[str, Any]]:
    """The official score of answers that nobody prepared (``scoring.prepare``)."""
    was, now = (rescored(rows, c, dataset, "as said") for c in ("plain", "answer"))
    return [_paired(f"{metric_name(dataset)}, as said", was, now)]


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
    return [_paired("right in every rotation", was, now) | {"n": len(worst)}]


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
    rows = []
    for one in scores:
        row = asdict(one)
        for name in ("plain", "answer", "gain"):
            found = row.pop(name)
            row |= {name: found["value"]}
            row |= {f"{name}_{side}": found[side] for side in ("low", "high")}
        rows.append(row)
    return pd.DataFrame(rows)


def readable(scores: Iterable[Score]) -> pd.DataFrame:
    """A table to read: percentages with 95 % intervals, gains in points."""

    def shown(found: Estimate, sign: bool = False) -> str:
        return found.format(1, sign=sign, scale=100) if found.n else "–"

    rows = []
    for one in scores:
        rows.append(
            {
                "run": one.run,
                "group": one.group,
                "scored": one.variant,
                "metric": one.metric,
                "n": one.n,
                "errors": one.errors,
                "no crop, %": shown(one.plain),
                "answer, %": shown(one.answer),
                "gain, points": shown(one.gain, sign=True),
                "fixed": "" if one.fixed is None else str(one.fixed),
                "broken": "" if one.broken is None else str(one.broken),
                "McNemar p": "" if one.p is None else f"{one.p:.1g}",
            }
        )
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
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"scores.{kind}" for kind in ("csv", "json", "md")]
    made = (
        flat(scores).to_csv(index=False),
        flat(scores).to_json(orient="records", indent=1, double_precision=15),
        readable(scores).to_markdown(index=False, disable_numparse=True) + "\n",
    )
    for file, text in zip(files, made, strict=True):
        file.write_text(text, encoding="utf-8")
    return files
