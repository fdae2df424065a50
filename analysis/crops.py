"""Crops of many questions, measured: which ones hold the object, how large they are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from analysis import looking
from vicrop import boxes
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets, results, stats
from vicrop.run.records import Sample
from vicrop.types import Box, Map
from vicrop.view import View

METHODS = ("rel-att", "grad-att", "pure-grad")
"""The paper's three."""


def small_samples(dataset: str, n: int = 0, seed: int = 0) -> list[Sample]:
    """Questions about small objects, or a random choice of ``n`` of them.

    Raises:
        ValueError: if the data set has none.
    """
    sized = (
        (s, datasets.image_size(datasets.image_path(dataset, s)))
        for s in datasets.load(dataset)
    )
    small = [
        sample
        for sample, size in sized
        if results.size_group(datasets.object_size(sample, size)) == "small"
    ]
    if not small:
        raise ValueError(f"{dataset} has no small object; use another data set")
    if not 0 < n < len(small):
        return small
    chosen = np.random.default_rng(seed).permutation(len(small))[:n]
    return [small[number] for number in sorted(chosen)]


def measure(
    vlm: Adapter,
    dataset: str,
    samples: list[Sample],
    maps_of: Callable[[View, str], Mapping[str, Map]],
) -> pd.DataFrame:
    """The crops of several maps of each question.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        samples: with a ground-truth box each.
        maps_of: (view, question) -> maps by name, such as ``filter_maps``.

    Returns:
        One row a sample and map: ``id``, ``name``, ``coverage`` (share of the object
        in the crop) and ``side`` (of the crop, pixels: the root of its area).
    """
    rows = []
    for sample, view in looking.views(vlm, dataset, samples):
        size = view.image.size
        for name, amap in maps_of(view, looking.asked(sample)).items():
            crop = boxes.select_box(amap, size, vlm.crop_px)
            rows.append(row(sample, name, crop))
    return pd.DataFrame(rows)


def row(sample: Sample, name: str, crop: Box) -> dict:
    """A crop's row of ``measure``."""
    coverage = boxes.coverage(crop, sample.boxes[0])
    return {
        "id": sample.id,
        "name": name,
        "coverage": coverage,
        "side": crop.area**0.5,
    }


WINDOWS = {f"{ratio:.1f} only": {"ratios": (ratio,)} for ratio in boxes.RATIOS} | {
    "all, sharpest": {},
    "all, largest sum": {"choice": "sum"},
}
"""Ways to choose a crop from a map (see ``boxes.select_box``); the paper's is sharpest
of all."""


def windows(vlm: Adapter, looked: list[looking.Looked]) -> pd.DataFrame:
    """The crops that each of ``WINDOWS`` chooses from the map's layer, as ``measure``.

    Args:
        vlm: the model.
        looked: see ``gaze.looks``.
    """
    rows = [
        row(sample, name, boxes.select_box(maps[vlm.layer], size, vlm.crop_px, **how))
        for sample, size, maps in looked
        for name, how in WINDOWS.items()
    ]
    return pd.DataFrame(rows)


ONE, ALL = "the map's layer", "mean of all layers"


def averaged(vlm: Adapter, looked: list[looking.Looked]) -> pd.DataFrame:
    """The crops of the map's layer and of the mean of all layers, as ``measure``.

    Source: paper, section 6 (Table 3, left), which says that the mean does too.
    """
    rows = []
    for sample, size, maps in looked:
        mean = np.mean([amap.values for amap in maps], axis=0)
        for name, amap in ((ONE, maps[vlm.layer]), (ALL, Map(mean, maps[0].region))):
            crop = boxes.select_box(amap, size, vlm.crop_px)
            rows.append(row(sample, name, crop))
    return pd.DataFrame(rows)


def hits(frame: pd.DataFrame) -> pd.DataFrame:
    """Whether the object lies in the crop: a row a sample, a column a name."""
    order = frame["name"].unique()
    wide = frame.pivot(index="id", columns="name", values="coverage")
    return (wide[order] >= looking.COVERED).astype(float)


def shares(frame: pd.DataFrame) -> dict[str, stats.Estimate]:
    """Share of samples whose object lies in the crop, by name."""
    found = hits(frame)
    return {str(name): stats.accuracy(found[name]) for name in found}


def apart(
    frame: pd.DataFrame, pairs: Iterable[tuple[str, str]]
) -> dict[str, stats.Estimate]:
    """Paired difference in that share, of each pair (name, other)."""
    found = hits(frame)
    return {
        f"{name} over {other}": stats.gain(found[other], found[name])
        for name, other in pairs
    }


def sides(frame: pd.DataFrame) -> dict[str, stats.Estimate]:
    """Mean side of the crops, pixels, by name."""
    groups = frame.groupby("name", sort=False)["side"]
    return {str(name): stats.bootstrap(rows.to_numpy()) for name, rows in groups}


def covered(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Shares covered and crops' sides of several models, as a table to read."""
    rows = []
    for model, frame in frames.items():
        size = sides(frame)
        for name, share in shares(frame).items():
            in_crop = share.format(1, scale=100)
            rows.append((model, name, share.n, in_crop, size[name].format(0)))
    names = ["model", "crop", "n", "object in the crop, %", "mean side, px"]
    return pd.DataFrame(rows, columns=names)


# The crops of runs, beside each other.


def agreement(
    runs: Mapping[str, Mapping[str, pd.DataFrame]], keys: Sequence[str] = METHODS
) -> pd.DataFrame:
    """How often methods point to the same place, as a table to read.

    Args:
        runs: by model, then by method: tables of runs (see ``results.table``).
        keys: the methods to pair.
    """
    rows = [
        {"model": model, "methods": f"{one}, {other}", **_agree(made[one], made[other])}
        for model, made in runs.items()
        for one, other in combinations(keys, 2)
    ]
    return pd.DataFrame(rows)


def _agree(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, str | int]:
    ids = one["box"].dropna().index.intersection(other["box"].dropna().index)
    pairs = zip(one.loc[ids, "box"], other.loc[ids, "box"], strict=True)
    ious = np.array([boxes.iou(a, b) for a, b in pairs])
    first, second = (f.loc[ids, "coverage"] >= looking.COVERED for f in (one, other))
    chance = first.mean() * second.mean()
    percent = {
        "IoU ≥ 0.5, %": ious >= 0.5,
        "both cover, %": first & second,
        "neither covers, %": ~first & ~second,
    }
    made = {k: stats.accuracy(v).format(1, scale=100) for k, v in percent.items()}
    return {
        "n": len(ids),
        **made,
        "both, were they independent, %": f"{chance:.1%}"[:-1],
    }


def split(runs: Mapping[str, pd.DataFrame], keys: Sequence[str] = METHODS) -> pd.Series:
    """Whether an object lies in the crop of some of the methods, but not of all."""
    found = pd.concat([runs[key]["coverage"] for key in keys], axis=1)
    held = found.dropna() >= looking.COVERED
    return held.any(axis=1) & ~held.all(axis=1)


def together(
    runs: Mapping[str, pd.DataFrame], keys: Sequence[str] = METHODS
) -> dict[str, stats.Estimate]:
    """Share of objects that lie in the crop of each method, of any, and of all."""
    found = pd.concat([runs[key]["coverage"] for key in keys], axis=1, keys=keys)
    found = found.dropna() >= looking.COVERED
    sets = {key: found[key] for key in keys}
    sets |= {"any of them": found.any(axis=1), "all of them": found.all(axis=1)}
    return {name: stats.accuracy(chosen) for name, chosen in sets.items()}


def beside(
    ours: Mapping[str, pd.DataFrame], theirs: Mapping[str, pd.DataFrame]
) -> dict[str, stats.Estimate]:
    """Paired differences of two models' answers to the same questions.

    Args:
        ours: tables of one model's runs by method, ``no-crop`` among them.
        theirs: the same of the other, which is subtracted.

    Returns:
        Of the answers without a crop, then of each shared method's gain over them.
    """
    plain = [runs["no-crop"]["plain_score"] for runs in (theirs, ours)]
    found = {"no-crop": stats.difference(*plain)}
    for name in [name for name in ours if name in theirs and name != "no-crop"]:
        gains = [
            runs[name]["score"] - runs[name]["plain_score"] for runs in (theirs, ours)
        ]
        found[f"gain of {name}"] = stats.difference(*gains)
    return found


def of_methods(
    runs: Mapping[str, Mapping[str, pd.DataFrame]], keys: Sequence[str]
) -> dict[str, dict[str, pd.DataFrame]]:
    """Of each model's runs those of some methods."""
    return {
        model: {key: made[key] for key in keys if key in made}
        for model, made in runs.items()
    }
