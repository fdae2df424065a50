"""Samples diagnosed: was the object in the crop, was it read, what would repair it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from analysis import Models, Runs, looking
from vicrop.run import results, stats
from vicrop.run.stats import Estimate
from workflow import tables

LOOKS = ("looked right", "looked wrong", "no crop", "no object")
"""Whether the crop holds the object: at least the threshold's share of its area."""

FATES = ("fixed", "broken", "unchanged right", "unchanged wrong", "failed")
"""The answer with the crop against the one without; from 0.5 a score is right."""

KINDS = (
    "fixed, looked right",
    "fixed, looked wrong",
    "unchanged right",
    "unchanged wrong, looked right",
    "unchanged wrong, looked wrong",
    "broken, looked right",
    "broken, looked wrong",
    "failed",
)
"""Diagnoses. What a model can already do is one, wherever it looked then."""

WRONG = KINDS[3:]
"""Those that leave a question without a right answer."""


def mended(runs: Runs) -> dict[str, pd.DataFrame]:
    """Runs of one model, with what records of failed samples lack.

    A failed sample's record has neither its object's size nor the answer without a
    crop; the same model's other runs on the same data have.

    Args:
        runs: tables of runs by what they are called (see ``workflow.tables``).
    """
    names = ["size", "group", "plain", "plain_score"]
    everything = pd.concat([frame[names] for frame in runs.values()])
    known = everything.groupby(level=0).first()
    return {
        name: frame.assign(**{key: frame[key].fillna(known[key]) for key in names})
        for name, frame in runs.items()
    }


def of_models(
    models: Iterable[str], dataset: str, threshold: float = looking.COVERED
) -> dict[str, dict[str, pd.DataFrame]]:
    """Diagnosed runs by model, then by what they are called; no-crop is none of them.

    Args:
        models: keys; those without such runs are left out.
        dataset: key.
        threshold: see ``diagnose``.

    Raises:
        ValueError: if there is no run with a crop at all.
    """
    keys = list(models)
    made = {model: tables.of_model(model, dataset) for model in keys}
    found = {
        model: {
            name: diagnose(frame, threshold)
            for name, frame in mended(runs).items()
            if frame["box"].notna().any()
        }
        for model, runs in made.items()
        if runs
    }
    kept = {model: runs for model, runs in found.items() if runs}
    if not kept:
        raise ValueError(
            f"no finished run of {', '.join(keys)} on {dataset} has a crop to "
            "diagnose; run a method that makes one"
        )
    return kept


def diagnose(frame: pd.DataFrame, threshold: float = looking.COVERED) -> pd.DataFrame:
    """Add each sample's ``look``, ``fate`` and ``kind``.

    Args:
        frame: a run's table (see ``results.table``).
        threshold: share of the object's area that the crop must hold.

    Returns:
        The table with three columns more; ``kind`` is None without an object, and
        where nothing was cropped although nothing failed. Answers that nobody can
        score have no row.
    """
    frame = frame[frame["error"].notna() | frame["score"].notna()]
    look = np.select(
        [frame["size"].isna(), frame["coverage"].isna(), frame["coverage"] < threshold],
        [LOOKS[3], LOOKS[2], LOOKS[1]],
        LOOKS[0],
    )
    was, now = frame["plain_score"] >= 0.5, frame["score"] >= 0.5
    fate = np.select(
        [frame["score"].isna(), ~was & now, was & ~now, was & now],
        [FATES[4], *FATES[:3]],
        FATES[3],
    )
    kind = [kind_of(a, b) for a, b in zip(look, fate, strict=True)]
    return frame.assign(look=look, fate=fate, kind=pd.Series(kind, frame.index, object))


def kind_of(look: str, fate: str) -> str | None:
    """The diagnosis that a look and a fate make; None if they make none."""
    if look == "no object":
        return None
    return next((k for k in KINDS if k in (fate, f"{fate}, {look}")), None)


def of_group(runs: Models, group: str) -> dict[str, dict[str, pd.DataFrame]]:
    """The rows of one size group only.

    Raises:
        ValueError: if there are none.
    """
    found = {model: tables.of_group(dict(made), group) for model, made in runs.items()}
    kept = {model: made for model, made in found.items() if made}
    if not kept:
        raise ValueError(
            f"no run has {group} objects; known groups: "
            f"{', '.join(results.SIZE_GROUPS)}, and the data must have boxes"
        )
    return kept


def counts(frames: Runs) -> pd.DataFrame:
    """How many samples have each diagnosis: a row a table, a column a kind."""
    rows = {
        name: frame["kind"].value_counts().reindex(list(KINDS), fill_value=0)
        for name, frame in frames.items()
    }
    return pd.DataFrame(rows).T.astype(int)


KEYS = {"fate": FATES, "kind": KINDS, "look": LOOKS[:3]}
"""What each column of a diagnosed table says."""


def readable(parts: Runs, column: str, first: str) -> pd.DataFrame:
    """What a column says, as a table to read: counts, shares of the row, intervals.

    Args:
        parts: diagnosed rows by what they are called, a row each.
        column: of ``KEYS``; rows where it says nothing are left out.
        first: heading of the parts' names.
    """
    rows = []
    for name, frame in parts.items():
        kept = frame.dropna(subset=[column])
        cells = {key: _cell(kept[column] == key, kept) for key in KEYS[column]}
        rows.append({first: name, "n": len(kept), **cells})
    return pd.DataFrame(rows, columns=[first, "n", *KEYS[column]])


def _cell(chosen: pd.Series, rows: pd.DataFrame) -> str:
    share = stats.accuracy(chosen, rows["image"])
    return f"{chosen.sum()}: {share.format(0, scale=100)} %" if share.n else ""


def of_method(runs: Models, method: str) -> dict[str, pd.DataFrame]:
    """One method's table by model; models without it are left out."""
    return {model: made[method] for model, made in runs.items() if method in made}


def worst(frames: Runs, kind: str, most: int) -> list[tuple[str, str]]:
    """Models and ids of a diagnosis, those with the largest object first.

    Args:
        frames: one method's tables by model, diagnosed.
        kind: of ``KINDS``.
        most: at most so many of a model.
    """
    return [
        (model, str(name))
        for model, frame in frames.items()
        for name in frame[frame["kind"] == kind]
        .sort_values("size", ascending=False, kind="stable")
        .index[:most]
    ]


def errors(runs: Models) -> pd.DataFrame:
    """Why samples failed, by model, run and size group, as a table to read."""
    names = ["model", "run", "group", "error"]
    rows = [
        (model, name, "no object" if pd.isna(group) else group, error)
        for model, made in runs.items()
        for name, frame in made.items()
        for group, error in frame.loc[
            frame["error"].notna(), ["group", "error"]
        ].itertuples(index=False)
    ]
    counted = pd.DataFrame(rows, columns=names).value_counts(names, sort=False)
    return counted.rename("n").reset_index()


# Whether looking right decides the answer.

CHANCES = {
    "repaired": ("unchanged wrong", "fixed"),
    "broken": ("unchanged right", "broken"),
}
"""A change by name: the fate without it, the fate with it."""


def chance(frame: pd.DataFrame, change: str, look: str) -> Estimate:
    """Share of the answers wrong (right) without a crop that it repaired (broke).

    Args:
        frame: diagnosed.
        change: key of ``CHANCES``.
        look: of ``LOOKS``.
    """
    without, with_it = CHANCES[change]
    rows = frame[(frame["look"] == look) & frame["fate"].isin([with_it, without])]
    return stats.accuracy(rows["fate"] == with_it, rows["image"])


def contrast(one: Estimate, other: Estimate) -> Estimate:
    """Difference of two independent shares, with Newcombe's interval (1998).

    It is built from theirs, so that shares of 0 and 1 have one too, and pictures with
    several questions count as in these.
    """
    value = one.value - other.value
    below = np.hypot(one.value - one.low, other.high - other.value)
    above = np.hypot(one.high - one.value, other.value - other.low)
    low, high = float(value - below), float(value + above)
    return Estimate(value, low, high, one.n + other.n)


def chance_table(runs: Models, change: str) -> pd.DataFrame:
    """``chance`` of every run as a table to read, and what looking right adds."""
    rows = []
    for model, made in runs.items():
        for name, frame in made.items():
            right, wrong = (chance(frame, change, look) for look in LOOKS[:2])
            row: dict[str, object] = {"model": model, "run": name}
            for look, rate in zip(LOOKS, (right, wrong), strict=False):
                row[f"n {look}"] = rate.n
                row[f"{change}, {look}, %"] = _percent(rate)
            row["difference, points"] = _percent(contrast(right, wrong), sign=True)
            rows.append(row)
    return pd.DataFrame(rows)


def _percent(rate: Estimate, sign: bool = False) -> str:
    return "" if np.isnan(rate.value) else rate.format(1, sign=sign, scale=100)


# What would repair it: the same questions in other runs.


def blame(frames: Runs) -> pd.DataFrame:
    """Where the crop was of the questions left without a right answer, to be read.

    Args:
        frames: diagnosed tables by model.
    """
    left = {name: frame[frame["kind"].isin(WRONG)] for name, frame in frames.items()}
    return readable(left, "look", "model").rename(columns={"no crop": "failed"})


def repaired_by(runs: Models, method: str, others: Sequence[str]) -> pd.DataFrame:
    """Of each diagnosis of a method, how many samples other runs answer rightly.

    Args:
        runs: by model: its runs, diagnosed.
        method: whose diagnoses.
        others: runs to ask; blank where a model lacks one.

    Returns:
        A table to read: a row a model and kind that occurs, a column a run.
    """
    asked = [name for name in others if name != method]
    rows = []
    for model, made in runs.items():
        kinds = made[method]["kind"] if method in made else pd.Series(dtype=object)
        for kind in [kind for kind in WRONG if (kinds == kind).any()]:
            ids = kinds.index[kinds == kind]
            row: dict[str, object] = {"model": model, "diagnosis": kind, "n": len(ids)}
            for name in asked:
                row[f"right with {name}, %"] = _right(made.get(name), ids)
            rows.append(row)
    columns = [f"right with {name}, %" for name in asked]
    return pd.DataFrame(rows, columns=["model", "diagnosis", "n", *columns])


def _right(frame: pd.DataFrame | None, ids: pd.Index) -> str:
    if frame is None:
        return ""
    kept = frame.reindex(ids).dropna(subset=["score"])
    return _percent(stats.accuracy(kept["score"] >= 0.5, kept["image"]))
