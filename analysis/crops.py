"""Crops of many questions, measured: which ones hold the object, how large they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import Models, Runs, estimates, looking
from analysis.estimates import difference
from vicrop import boxes
from vicrop.methods import PAPER
from vicrop.run import datasets, results, stats
from vicrop.run.records import Sample
from vicrop.run.stats import Estimate
from vicrop.types import Box, Map

if TYPE_CHECKING:  # what is computed of maps that are there needs no torch
    from vicrop.adapters.adapter import Adapter
    from vicrop.view import View


def small_samples(dataset: str, n: int = 0, seed: int = 0) -> list[Sample]:
    """Questions about small objects, or a random choice of ``n`` of them.

    Raises:
        ValueError: if the data set has none.
    """
    small = [
        sample
        for sample in datasets.load(dataset)
        for size in [datasets.image_size(datasets.image_path(dataset, sample))]
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
        One row a sample and map: ``id``, ``image``, ``name``, ``coverage`` (share of
        the object in the crop) and ``side`` (of the crop, pixels: its area's root).
    """
    return table(
        (sample, name, boxes.select_box(amap, view.image.size, vlm.crop_px))
        for sample, view in looking.views(vlm, dataset, samples)
        for name, amap in maps_of(view, looking.asked(sample)).items()
    )


def table(chosen: Iterable[tuple[Sample, str, Box]]) -> pd.DataFrame:
    """Samples' crops by name, each as a row of ``measure``."""
    return pd.DataFrame(
        {
            "id": sample.id,
            "image": sample.image_path,
            "name": name,
            "coverage": boxes.coverage(crop, sample.boxes[0]),
            "side": boxes.area(crop) ** 0.5,
        }
        for sample, name, crop in chosen
    )


WINDOWS = {f"{ratio:.1f} only": {"ratios": (ratio,)} for ratio in boxes.RATIOS} | {
    "all, sharpest": {},
    "all, largest sum": {"choice": "sum"},
}
"""Ways to choose a crop from a map (see ``boxes.select_box``)."""
CHOICES = ("all, sharpest", "all, largest sum")
"""Of all sizes: the paper's way, and the other."""


def windows(vlm: Adapter, looked: list[looking.Looked]) -> pd.DataFrame:
    """The crops that each of ``WINDOWS`` chooses from the map's layer, as ``measure``.

    Args:
        vlm: the model.
        looked: see ``looking.looks``.
    """
    return table(
        (sample, name, boxes.select_box(maps[vlm.layer], size, vlm.crop_px, **how))
        for sample, size, maps in looked
        for name, how in WINDOWS.items()
    )


ONE, ALL = "the map's layer", "mean of all layers"


def averaged(vlm: Adapter, looked: list[looking.Looked]) -> pd.DataFrame:
    """The crops of the map's layer and of the mean of all layers, as ``measure``.

    Source: paper, section 6 (Table 3, left), which says that the mean does too.
    """
    return table(
        (sample, name, boxes.select_box(amap, size, vlm.crop_px))
        for sample, size, maps in looked
        for name, amap in ((ONE, maps[vlm.layer]), (ALL, mean_of(maps)))
    )


def mean_of(maps: Sequence[Map]) -> Map:
    """The mean of all layers' maps."""
    return Map(np.mean([amap.values for amap in maps], axis=0), maps[0].region)


def hits(frame: pd.DataFrame) -> pd.DataFrame:
    """Whether the object lies in the crop, or a probe's score: a column a name.

    A map that is not there points nowhere, and so misses.
    """
    covered = "score" not in frame
    found = frame["coverage"] >= looking.COVERED if covered else frame["score"]
    wide = frame.assign(hit=found.astype(float)).pivot(
        index="id", columns="name", values="hit"
    )
    return (wide.fillna(0) if covered else wide)[frame["name"].unique()]


def images_of(frame: pd.DataFrame) -> pd.Series:
    """The picture of each sample of such a table, by its id."""
    return frame.groupby("id")["image"].first()


def shares(frame: pd.DataFrame) -> dict[str, Estimate]:
    """Share of samples whose object lies in the crop, by name."""
    found, pictures = hits(frame), images_of(frame)
    return {str(name): stats.accuracy(found[name], pictures) for name in found}


def one_over(frame: pd.DataFrame, name: str, other: str) -> Estimate:
    """Paired difference in that share, of one name over another."""
    found = hits(frame)
    return stats.gain(found[other], found[name], images_of(frame))


def apart(frame: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> dict[str, Estimate]:
    """``one_over`` of each pair (name, other)."""
    return {f"{a} over {b}": one_over(frame, a, b) for a, b in pairs}


def sides(frame: pd.DataFrame) -> dict[str, Estimate]:
    """Mean side of the crops, pixels, by name."""
    groups = frame.groupby("name", sort=False)
    return {str(name): estimates.of_column(rows, "side") for name, rows in groups}


def covered(frames: Runs) -> pd.DataFrame:
    """Shares covered and crops' sides of several models, as a table to read."""
    rows = []
    for model, frame in frames.items():
        size = sides(frame)
        for name, share in shares(frame).items():
            in_crop = share.format(1, scale=100)
            rows.append((model, name, share.n, in_crop, size[name].format(0)))
    names = ["model", "crop", "n", "object in the crop, %", "mean side, px"]
    return pd.DataFrame(rows, columns=names)


def summary(frames: Runs) -> pd.DataFrame:
    """Models' maps, as a table to read: ratios and the crops that they choose.

    Args:
        frames: of each model, a row a question and map (see ``words.looks``).
    """
    rows = []
    for model, maps in frames.items():
        right, wrong = (maps[maps["answer"] == one] for one in looking.ANSWERS)
        missed = shares(wrong)
        for name, share in shares(maps).items():
            ratio = [looking.median(f[f["name"] == name]) for f in (wrong, right)]
            rows.append(
                {
                    "model": model,
                    "map": name,
                    "n wrong": wrong["id"].nunique(),
                    "ratio, wrong": ratio[0].format(1),
                    "ratio, right": ratio[1].format(1),
                    "object in the crop, %": share.format(1, scale=100),
                    "wrong ones', %": missed[name].format(1, scale=100),
                }
            )
    return pd.DataFrame(rows)


# The crops of runs, beside each other.


def agreement(runs: Models, keys: Sequence[str] = PAPER) -> pd.DataFrame:
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
    pictures = one.loc[ids, "image"]
    made = {
        name: stats.accuracy(chosen, pictures).format(1, scale=100)
        for name, chosen in percent.items()
    }
    return {
        "n": len(ids),
        **made,
        "both, were they independent, %": f"{chance:.1%}"[:-1],
    }


def _held(runs: Runs, keys: Sequence[str]) -> pd.DataFrame:
    """Whether an object lies in each method's crop, where all methods made one."""
    found = pd.concat([runs[key]["coverage"] for key in keys], axis=1, keys=keys)
    return found.dropna() >= looking.COVERED


def held_by(runs: Runs, keys: Sequence[str] = PAPER) -> dict[str, Estimate]:
    """Share of objects that lie in the crop of each method, of any, and of all."""
    held = _held(runs, keys)
    sets = {key: held[key] for key in keys}
    sets |= {"any of them": held.any(axis=1), "all of them": held.all(axis=1)}
    pictures = runs[keys[0]]["image"][held.index]
    return {name: stats.accuracy(chosen, pictures) for name, chosen in sets.items()}


def beside(ours: Runs, theirs: Runs) -> dict[str, Estimate]:
    """Paired differences of two models' answers to the same questions.

    Args:
        ours: tables of one model's runs by method, ``no-crop`` among them.
        theirs: the same of the other, which is subtracted.

    Returns:
        Of the answers without a crop, then of each shared method's gain over them.
    """
    before, after = (runs["no-crop"]["plain_score"] for runs in (theirs, ours))
    pictures = ours["no-crop"]["image"]
    found = {"no-crop": difference(before, after, pictures)}
    for name in [name for name in ours if name in theirs and name != "no-crop"]:
        before, after = (
            runs[name]["score"] - runs[name]["plain_score"] for runs in (theirs, ours)
        )
        found[f"gain of {name}"] = difference(before, after, pictures)
    return found


def outcomes(frame: pd.DataFrame) -> pd.DataFrame:
    """What a run's table says of its crops and answers, each in [0, 1].

    Args:
        frame: one row a sample (see ``results.table``).
    """
    covered = (frame["coverage"] >= looking.COVERED).where(frame["coverage"].notna())
    return pd.DataFrame(
        {
            "share of the object in the crop": frame["coverage"],
            "object in the crop": covered.astype(float),
            "right with the crop": frame["score"],
            "right without": frame["plain_score"],
        }
    )


def share(frame: pd.DataFrame, outcome: str) -> Estimate:
    """Mean of one of ``outcomes``; samples without it are left out."""
    found = outcomes(frame)[outcome].dropna()
    return stats.accuracy(found, frame["image"][found.index])


def compare(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Estimate]:
    """Paired differences of two runs on the same samples, by measure."""
    old, new = outcomes(before), outcomes(after)
    pictures = before["image"]
    return {str(k): difference(old[k], new[k], pictures) for k in old}


def comparison(frames: Runs, base: str) -> pd.DataFrame:
    """Runs beside one of them, as a table to read: percentages, paired differences.

    Args:
        frames: tables of runs by what they are called.
        base: which of them the others are compared with.
    """
    measured = {name: outcomes(frame) for name, frame in frames.items()}
    rows = []
    for measure, before in measured[base].items():
        for name, made in measured.items():
            found = share(frames[name], str(measure))
            gain = difference(before, made[measure], frames[name]["image"])
            beside = name != base
            points = gain.format(1, sign=True, scale=100) if beside else ""
            rows.append(
                {
                    "measure": measure,
                    "run": name,
                    "n": found.n,
                    "%": found.format(1, scale=100),
                    f"against {base}, points": points,
                    "effect": estimates.verdict(gain) if beside else "",
                }
            )
    return pd.DataFrame(rows)
