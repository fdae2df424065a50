"""What a crop's gain is made of: by the controls, and by what the crops hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from analysis import Runs, estimates, looking
from vicrop import boxes
from vicrop.methods import PAPER
from vicrop.run import stats
from vicrop.run.stats import Estimate

BLIND = ("random-crop", "center-crop")
"""Crops that nobody chose by the question."""
WHOLE = "all together"


def rungs(method: str) -> dict[str, str]:
    """From no crop to the human's, each run with one thing more: run by part.

    The next to last three show the crop of another question, the image with all but
    the crop greyed, and the crop; of a place that is wrong, told, told and enlarged.
    """
    return {
        "image alone": "no-crop",
        "second image": "full-twice",
        "any crop": BLIND[0],
        "wrong crop": f"{method}, swapped",
        "right place": f"{method}, mask",
        "right crop": method,
        "what is left": "human-crop",
    }


def common(runs: Runs, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Of the named runs that are there, the samples that none of them failed on."""
    there = {name: runs[name] for name in names if name in runs}
    if not there:
        return {}
    scores = pd.concat([frame["score"] for frame in there.values()], axis=1)
    ids = scores.dropna().index
    return {name: frame.loc[ids] for name, frame in there.items()}


def parts(runs: Runs, method: str) -> dict[str, Estimate]:
    """The gain of a human's crop over none, in parts, paired on the same samples.

    Args:
        runs: one model's.
        method: key of the one that chooses the place.

    Returns:
        By part, what each of ``rungs`` that is there adds to the one before; last
        ``WHOLE``, to which they add up.
    """
    same = common(runs, list(rungs(method).values()))
    there = {part: same[run] for part, run in rungs(method).items() if run in same}
    if len(there) < 2:
        return {}
    frames = list(there.values())
    ends = [*pairwise(frames), (frames[0], frames[-1])]
    names = [*list(there)[1:], WHOLE]
    return {
        name: stats.gain(before["score"], after["score"], after["image"])
        for name, (before, after) in zip(names, ends, strict=True)
    }


def accuracies(runs: Runs, method: str) -> dict[str, Estimate]:
    """Accuracy on each rung that there is, on the samples that all of them have."""
    same = common(runs, list(rungs(method).values()))
    return {
        part: stats.accuracy(same[run]["score"], same[run]["image"])
        for part, run in rungs(method).items()
        if run in same
    }


def portions(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Each part over the whole; nothing if the whole is not apart from 0."""
    whole = found.get(WHOLE)
    if whole is None or not whole.excludes(0):
        return {}
    return {
        name: part.value / whole.value for name, part in found.items() if name != WHOLE
    }


def part_table(found: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """Parts of several models as a table to read, each with its share of the whole."""
    table = estimates.effects(found).rename(columns={"run": "part"})
    shares = [portions(made).get(name) for made in found.values() for name in made]
    text = ["" if one is None else f"{100 * one:.0f}" for one in shares]
    return table.assign(**{"of the whole, %": [one.replace("-", "−") for one in text]})


# By what the crops hold of the object, and how large they are.

EDGES = {"nothing": 0.0, "under half": 0.5, "most": looking.COVERED}
"""Of the object in the crop: bins by their upper end, the first of exactly that."""


KINDS = {"maps": (*PAPER, "word-att"), "blind": BLIND}
"""Whose crops are pooled, by who chose the place."""


def crops_of(runs: Runs, kinds: Mapping[str, Sequence[str]] = KINDS) -> pd.DataFrame:
    """The crops of several runs, one below the other.

    Args:
        runs: one model's.
        kinds: names of the runs by kind; those that are not there are left out.

    Returns:
        A row a crop: ``id``, ``image``, ``kind``, ``run``, ``coverage`` (share of the
        object in it), ``side`` (root of its area, pixels), ``gain`` (over no crop).
    """
    rows: list[tuple] = []
    for kind, names in kinds.items():
        for name in [name for name in names if name in runs]:
            kept = runs[name].dropna(subset=CROPPED)
            side = [boxes.area(box) ** 0.5 for box in kept["box"]]
            gain = kept["score"] - kept["plain_score"]
            told = zip(kept.index, kept["image"], strict=True)
            found = zip(told, kept["coverage"], side, gain, strict=True)
            rows += [(*whose, kind, name, *numbers) for whose, *numbers in found]
    columns = ["id", "image", "kind", "run", "coverage", "side", "gain"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[4:], float))


CROPPED = ["box", "score", "coverage"]
"""What a sample has if it was cropped, answered, and has an object."""


def mean_gain(crops: pd.DataFrame) -> Estimate:
    """Mean gain of crops, of which several may be of one question.

    Pictures are drawn with all of their crops.

    Returns:
        The mean, with the number of questions as n.
    """
    found = estimates.of_column(crops, "gain")
    return replace(found, n=crops["id"].nunique())


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
        str(kind): {name: mean_gain(rows[bins[rows.index] == name]) for name in names}
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
