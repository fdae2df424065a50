"""The gain of crops by what they hold: how much of the object, and how large it is."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import looking
from analysis.decomposition import BLIND, MAPS, Runs
from vicrop.run import stats
from vicrop.run.stats import Estimate

EDGES = {"nothing": 0.0, "under half": 0.5, "most": looking.COVERED}
"""Of the object in the crop: bins by their upper end, the first of exactly that."""


KINDS = {"maps": MAPS, "blind": BLIND}
"""Whose crops are pooled, by who chose the place."""


def crops_of(runs: Runs, kinds: Mapping[str, Sequence[str]] = KINDS) -> pd.DataFrame:
    """The crops of several runs, one below the other.

    Args:
        runs: one model's.
        kinds: names of the runs by kind; those that are not there are left out.

    Returns:
        A row a crop: ``id``, ``kind``, ``run``, ``coverage`` (share of the object in
        it), ``side`` (root of its area, pixels), ``gain`` (of the score over no crop).
    """
    frames = [
        _crops(runs[name]).assign(kind=kind, run=name)
        for kind, names in kinds.items()
        for name in names
        if name in runs
    ]
    kept = [frame for frame in frames if len(frame)]
    return pd.concat(kept, ignore_index=True) if kept else _crops(NOTHING)


NOTHING = pd.DataFrame(columns=["box", "score", "plain_score", "coverage"], dtype=float)


def _crops(frame: pd.DataFrame) -> pd.DataFrame:
    """``crops_of`` of one run."""
    rows = frame.dropna(subset=["box", "score", "coverage"])
    return pd.DataFrame(
        {
            "id": rows.index,
            "kind": "",
            "run": "",
            "coverage": rows["coverage"].to_numpy(float),
            "side": np.array([side(box) for box in rows["box"]], float),
            "gain": (rows["score"] - rows["plain_score"]).to_numpy(float),
        }
    )


def side(box: Sequence[float]) -> float:
    """Root of a box's area, pixels."""
    left, top, right, bottom = box
    return float(((right - left) * (bottom - top)) ** 0.5)


def clustered(values: Iterable[float], ids: Iterable[str]) -> Estimate:
    """Mean of values with a bootstrap interval over questions, not over crops.

    Crops of one question share its answer without a crop, and are no independent
    samples: a question is drawn with all of its crops.

    Args:
        values: one a crop.
        ids: the question of each.

    Returns:
        The mean, with the number of questions as n.
    """
    frame = pd.DataFrame({"id": list(ids), "value": np.array(list(values), float)})
    grouped = frame.groupby("id")["value"].agg(["sum", "count"]).to_numpy()
    n = len(grouped)
    if not n:
        return Estimate(np.nan, np.nan, np.nan, 0)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), stats.RESAMPLES)
    sums, sizes = (drawn @ grouped).T
    low, high = np.percentile(sums / sizes, (2.5, 97.5))
    return Estimate(float(frame["value"].mean()), float(low), float(high), n)


def coverage_bin(coverage: float) -> str:
    """How much of the object a crop holds, in words: ``nothing`` … ``all``."""
    if coverage == 0:
        return "nothing"
    return next((n for n, end in EDGES.items() if coverage < end), "all")


BINS = (*EDGES, "all")


def by_coverage(crops: pd.DataFrame) -> dict[str, dict[str, Estimate]]:
    """Mean gain by kind of crop and how much of the object lies in it.

    Args:
        crops: see ``crops_of``.

    Returns:
        By kind, then by bin; n = 0 where there is no such crop.
    """
    return _binned(crops, crops["coverage"].map(coverage_bin), BINS)


def _binned(
    crops: pd.DataFrame, bins: pd.Series, names: Sequence[str]
) -> dict[str, dict[str, Estimate]]:
    return {
        str(kind): {
            name: clustered(rows["gain"][bins == name], rows["id"][bins == name])
            for name in names
        }
        for kind, rows in crops.groupby("kind", sort=False)
    }


TIMES = (1.1, 1.5, 2.1)
"""Edges between bins of sides, over the smallest side: that one, up to 1.4, up to 2."""


def side_bins(sides: pd.Series) -> pd.Series:
    """Sides as labels, by how many times the usual smallest one they are.

    Args:
        sides: in pixels; the lower twentieth counts as the smallest, since few crops
            are cut off by the image.
    """
    smallest = float(np.quantile(sides, 0.05, method="nearest"))
    edges = [round(times * smallest) for times in TIMES]
    between = [f"{a}–{b} px" for a, b in zip(edges, edges[1:], strict=False)]
    names = [f"up to {edges[0]} px", *between, f"over {edges[-1]} px"]
    return pd.Series([names[n] for n in np.searchsorted(edges, sides)], sides.index)


def by_side(crops: pd.DataFrame) -> dict[str, dict[str, Estimate]]:
    """Mean gain by kind of crop and its side, of those that hold the object.

    Args:
        crops: see ``crops_of``.

    Returns:
        By kind, then by bin, small first; n = 0 where there is no such crop.
    """
    held = crops[crops["coverage"] >= looking.COVERED].sort_values("side")
    if held.empty:
        return {}
    bins = side_bins(held["side"])
    return _binned(held, bins, list(bins.unique()))


def binned_table(
    series: Mapping[str, Mapping[str, Mapping[str, Estimate]]], what: str
) -> pd.DataFrame:
    """Binned gains as a table to read; bins without a crop left out.

    Args:
        series: by model, then by kind of crop, then by bin.
        what: heading of the bins.
    """
    rows = [
        (model, kind, name, found.n, found.format(1, sign=True, scale=100))
        for model, kinds in series.items()
        for kind, bins in kinds.items()
        for name, found in bins.items()
        if found.n
    ]
    names = ["model", "crops", what, "questions", "gain, points"]
    return pd.DataFrame(rows, columns=names)


def told(gains: Mapping[str, Mapping[str, Estimate]], kind: str, name: str) -> str:
    """A bin's gain in points, in words if there is none."""
    found = gains.get(kind, {}).get(name)
    if found is None or not found.n:
        return "(no such crop)"
    return found.format(1, sign=True, scale=100)


def held(
    models: Mapping[str, Runs], kinds: Mapping[str, Sequence[str]] = KINDS
) -> pd.DataFrame:
    """What crops hold of the object, as a table to read.

    Args:
        models: runs by model.
        kinds: see ``crops_of``.
    """
    rows = []
    for model, runs in models.items():
        for name, crops in crops_of(runs, kinds).groupby("run", sort=False):
            share = crops["coverage"]
            rows.append(
                {
                    "model": model,
                    "run": str(name),
                    "n": len(crops),
                    "object in the crop, %": _percent(share >= looking.COVERED),
                    "nothing of it, %": _percent(share == 0),
                    "mean side, px": stats.bootstrap(crops["side"]).format(0),
                }
            )
    return pd.DataFrame(rows)


def _percent(chosen: pd.Series) -> str:
    return stats.accuracy(chosen).format(1, scale=100)
