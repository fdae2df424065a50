"""Whether looking decides the answer, and what would repair one that is wrong."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import confint_proportions_2indep

from analysis import looking
from analysis.failures import FATES, LOOKS, WRONG, share
from vicrop import boxes
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets, results, stats
from vicrop.run.stats import Estimate
from vicrop.types import Map

GROUPS = list(results.SIZE_GROUPS)

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
    fates = frame.loc[frame["look"] == look, "fate"]
    part = int((fates == with_it).sum())
    return share(part, part + int((fates == without).sum()))


def contrast(one: Estimate, other: Estimate) -> Estimate:
    """Difference of two independent shares, with Newcombe's interval (1998).

    It is built from Wilson's, so that shares of 0 and 1 have one too.
    """
    n = one.n + other.n
    if not one.n or not other.n:
        return Estimate(np.nan, np.nan, np.nan, n)
    parts = [(round(each.value * each.n), each.n) for each in (one, other)]
    low, high = confint_proportions_2indep(
        *parts[0], *parts[1], method="newcomb", compare="diff"
    )
    return Estimate(one.value - other.value, float(low), float(high), n)


def chances(frames: Mapping[str, pd.DataFrame], change: str) -> dict[str, Estimate]:
    """``chance`` when it looked right, and wrong, by table; empty ones left out."""
    found = {
        f"{name}, {look}": chance(frame, change, look)
        for name, frame in frames.items()
        for look in LOOKS[:2]
    }
    return {name: rate for name, rate in found.items() if rate.n}


def chance_table(
    runs: Mapping[str, Mapping[str, pd.DataFrame]], change: str
) -> pd.DataFrame:
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


def blame(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Counts of the questions left without a right answer, by where the crop was.

    Args:
        frames: diagnosed tables by what they are called.
    """
    rows = {
        name: frame.loc[frame["kind"].isin(WRONG), "look"].value_counts()
        for name, frame in frames.items()
    }
    made = pd.DataFrame(rows, index=list(LOOKS[:3])).T.fillna(0).astype(int)
    return made.rename(columns={"no crop": "failed"})


def repaired_by(
    runs: Mapping[str, Mapping[str, pd.DataFrame]], method: str, others: Sequence[str]
) -> pd.DataFrame:
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
    scores = frame["score"].reindex(ids).dropna()
    return _percent(stats.accuracy(scores >= 0.5))


# The other way to have looked right: the map's peak.


def pointed(vlm: Adapter, dataset: str, ids: Iterable[str], method: str) -> pd.Series:
    """Whether the highest cell of each sample's map touches its object, by id.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        ids: of samples with an object; those whose map fails must not be among them.
        method: key of a map.
    """
    wanted = set(ids)
    samples = [s for s in datasets.load(dataset) if s.id in wanted and s.boxes]
    found = {}
    for sample, view in looking.views(vlm, dataset, samples):
        amap = view.importance(looking.asked(sample), method)
        cell = peak(amap, view.image.size)
        found[sample.id] = boxes.overlap(cell, sample.boxes[0]) > 0
    return pd.Series(found, dtype=bool)


def peak(amap: Map, image_size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a map's highest cell, pixels; of equals the first.

    Args:
        amap: the map.
        image_size: (width, height) of the original image, pixels.
    """
    rows, cols = amap.shape
    row, col = divmod(int(amap.values.argmax()), cols)
    left, top, right, bottom = amap.region or (0, 0, *image_size)
    width, height = (right - left) / cols, (bottom - top) / rows
    x, y = left + col * width, top + row * height
    return x, y, x + width, y + height


def two_ways(frame: pd.DataFrame, touched: pd.Series) -> pd.DataFrame:
    """Both ways to have looked right beside each other, and the answer: counts.

    Args:
        frame: diagnosed.
        touched: of ``pointed``.

    Returns:
        A row a size group, look and place of the peak that occur, small first.
    """
    both = frame.loc[touched.index]
    peaks = np.where(touched, "peak on the object", "peak elsewhere")
    named = zip(both["group"], both["look"], peaks, strict=True)
    rows = pd.Series([", ".join(names) for names in named])
    made = pd.crosstab(rows, both["fate"].reset_index(drop=True))
    order = sorted(made.index, key=lambda name: GROUPS.index(name.split(",")[0]))
    return made.reindex(index=order, columns=list(FATES), fill_value=0)
