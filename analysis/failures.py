"""Every sample of a run diagnosed: was the object in the crop, and was it read."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from analysis import looking
from vicrop.run import results, stats
from vicrop.run.stats import Estimate

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


def of_run(
    runs: Mapping[str, Mapping[str, pd.DataFrame]],
    model: str,
    method: str,
    dataset: str,
) -> pd.DataFrame:
    """One of the diagnosed runs, all of a data set.

    Raises:
        ValueError: if it is not there.
    """
    if method not in runs.get(model, {}):
        there = [f"{m} {k}" for m, made in runs.items() for k in made]
        raise ValueError(
            f"no finished run of {model} with {method} among those diagnosed; there "
            f"are {', '.join(there)}. Name one of them, or make it with `vicrop run "
            f"--model {model} --method {method} --dataset {dataset}`"
        )
    return runs[model][method]


def mended(runs: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Runs of one model, with what records of failed samples lack.

    A failed sample's record has neither its object's size nor the answer without a
    crop; the same model's other runs on the same data have.

    Args:
        runs: tables of runs by what they are called (see ``results.tables``).
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
    made = {model: results.tables(model, dataset) for model in keys}
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
        where nothing was cropped although nothing failed.
    """
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


def of_group(
    runs: Mapping[str, Mapping[str, pd.DataFrame]], group: str
) -> dict[str, dict[str, pd.DataFrame]]:
    """The rows of one size group only.

    Raises:
        ValueError: if there are none.
    """
    found = {model: results.of_group(dict(made), group) for model, made in runs.items()}
    kept = {model: made for model, made in found.items() if made}
    if not kept:
        raise ValueError(
            f"no run has {group} objects; known groups: "
            f"{', '.join(results.SIZE_GROUPS)}, and the data must have boxes"
        )
    return kept


def crossed(frame: pd.DataFrame) -> pd.DataFrame:
    """Counts: a row a look that occurs, a column a fate."""
    made = pd.crosstab(frame["look"], frame["fate"])
    there = [look for look in LOOKS if look in made.index]
    return made.reindex(index=there, columns=list(FATES), fill_value=0)


def counts(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How many samples have each diagnosis: a row a table, a column a kind."""
    rows = {
        name: frame["kind"].value_counts().reindex(list(KINDS), fill_value=0)
        for name, frame in frames.items()
    }
    return pd.DataFrame(rows).T.astype(int)


def share(part: int, whole: int) -> Estimate:
    """A part of a whole with Wilson's interval."""
    return stats.accuracy(np.repeat((1, 0), (part, whole - part)))


def readable(made: pd.DataFrame, first: str) -> pd.DataFrame:
    """Counts as a table to read: each with its share of the row and an interval.

    Args:
        made: counts, a row each thing; of ``crossed`` or ``counts``.
        first: heading of the rows' names.
    """
    rows = []
    for name, row in made.iterrows():
        n = int(row.sum())
        cells = {str(key): _cell(int(part), n) for key, part in row.items()}
        rows.append({first: str(name), "n": n, **cells})
    return pd.DataFrame(rows, columns=[first, "n", *map(str, made.columns)])


def _cell(part: int, whole: int) -> str:
    return f"{part}: {share(part, whole).format(0, scale=100)} %" if whole else ""


def of_method(
    runs: Mapping[str, Mapping[str, pd.DataFrame]], method: str
) -> dict[str, pd.DataFrame]:
    """One method's table by model; models without it are left out."""
    return {model: made[method] for model, made in runs.items() if method in made}


def by_group(frames: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, pd.DataFrame]]:
    """Tables by size group, small first, then by what they are called."""
    split = {name: results.by_group(frame) for name, frame in frames.items()}
    found = {
        group: {name: parts[group] for name, parts in split.items() if group in parts}
        for group in results.SIZE_GROUPS
    }
    return {group: tables for group, tables in found.items() if tables}


def worst(
    frames: Mapping[str, pd.DataFrame], kind: str, most: int
) -> list[tuple[str, str]]:
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


def errors(runs: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
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


def first_failed(
    runs: Mapping[str, Mapping[str, pd.DataFrame]],
) -> list[tuple[str, str]]:
    """Model and id of the first failed sample with an object, if there is one."""
    for model, made in runs.items():
        for frame in made.values():
            failed = frame.index[frame["kind"] == "failed"]
            if len(failed):
                return [(model, str(failed[0]))]
    return []
