"""What runs score: officially and the authors' way, by category and by size group."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vicrop import scoring
from vicrop.run import rescore, results, stats
from vicrop.run.folder import META, RECORDS, RunFolder
from vicrop.run.stats import Estimate

LEFT_OUT = {"aokvqa": "difficult_direct_answer"}
"""Questions that the official mean leaves out, by data set: those with this in meta."""


@dataclass(frozen=True)
class Line:
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


def card(run: RunFolder) -> list[Line]:
    """All scores of a run, computed anew from its answers.

    Args:
        run: a run with records; its data set need not be there.

    Raises:
        FileNotFoundError: if the folder has no records.
        ValueError: if it has no parameters, or records that cannot be read.
    """
    frame, config = _read(run)
    lines = []
    for group, rows in groups(frame).items():
        for variant in _variants(config["dataset"]):
            named = {
                "run": run.folder.name,
                "model": config["model"],
                "method": config["method"],
                "dataset": config["dataset"],
                "group": group,
                "variant": variant,
            }
            lines += _lines(named, _counted(rows, config["dataset"], variant))
    return lines


def _variants(dataset: str) -> list[str]:
    return ["official", *(["upstream"] if scoring.has_upstream(dataset) else [])]


def _read(run: RunFolder) -> tuple[pd.DataFrame, dict[str, Any]]:
    if not run.records_file.exists():
        raise FileNotFoundError(
            f"no {RECORDS} in {run.folder}; give the folder of a run, as "
            "`vicrop run` prints it"
        )
    config = run.meta().get("config")
    if config is None:
        raise ValueError(
            f"{run.folder / META} has no parameters of the run; let `vicrop "
            "run` finish it"
        )
    return results.table(run), config


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


def _lines(named: dict[str, str], rows: pd.DataFrame) -> list[Line]:
    """The metric itself, then what else is usual for the data set."""
    kept = rows[rows["error"].isna()]
    dataset, variant = named["dataset"], named["variant"]
    before = rescore.rescored(kept, "plain", dataset, variant)
    after = rescore.rescored(kept, "answer", dataset, variant)
    changed = stats.changes(before, after)
    common: dict[str, Any] = named | {"n": len(kept), "errors": len(rows) - len(kept)}
    first = Line(
        **common,
        metric=rescore.metric_name(dataset, variant),
        plain=stats.accuracy(before),
        answer=stats.accuracy(after),
        gain=stats.gain(before, after),
        fixed=changed.fixed,
        broken=changed.broken,
        p=changed.p,
    )
    if variant != "official" or dataset not in rescore.FURTHER or not len(kept):
        return [first]
    further = rescore.FURTHER[dataset](dataset, kept, before, after)
    return [first, *(Line(**common | made) for made in further)]


def flat(lines: Iterable[Line]) -> pd.DataFrame:
    """One row a line, one column a number: for CSV."""
    rows = []
    for line in lines:
        row = asdict(line)
        for name in ("plain", "answer", "gain"):
            found = row.pop(name)
            row |= {name: found["value"]}
            row |= {f"{name}_{side}": found[side] for side in ("low", "high")}
        rows.append(row)
    return pd.DataFrame(rows)


def readable(lines: Iterable[Line]) -> pd.DataFrame:
    """A table to read: percentages with 95 % intervals, gains in points."""

    def shown(found: Estimate, sign: bool = False) -> str:
        return found.format(1, sign=sign, scale=100) if found.n else "–"

    rows = []
    for line in lines:
        counts = (line.fixed, line.broken)
        fixed, broken = ("" if count is None else str(count) for count in counts)
        rows.append(
            {
                "run": line.run,
                "group": line.group,
                "scored": line.variant,
                "metric": line.metric,
                "n": line.n,
                "errors": line.errors,
                "no crop, %": shown(line.plain),
                "answer, %": shown(line.answer),
                "gain, points": shown(line.gain, sign=True),
                "fixed": fixed,
                "broken": broken,
                "McNemar p": "" if line.p is None else f"{line.p:.1g}",
            }
        )
    return pd.DataFrame(rows)


def write(lines: Iterable[Line], folder: Path) -> list[Path]:
    """``scores.csv``, ``scores.json`` and ``scores.md`` in a folder.

    Args:
        lines: of any runs.
        folder: made if need be.

    Returns:
        The three files.
    """
    lines = list(lines)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"scores.{kind}" for kind in ("csv", "json", "md")]
    made = (
        flat(lines).to_csv(index=False),
        flat(lines).to_json(orient="records", indent=1, double_precision=15),
        readable(lines).to_markdown(index=False, disable_numparse=True) + "\n",
    )
    for file, text in zip(files, made, strict=True):
        file.write_text(text, encoding="utf-8")
    return files
