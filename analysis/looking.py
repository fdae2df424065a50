"""Where a model looks, layer by layer (the paper's Figure 3), and what it sees."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from analysis import FEWEST, Runs, estimates, paper, slices
from vicrop import boxes, geometry, images
from vicrop.run import datasets, results, stats
from vicrop.run.records import Sample
from vicrop.run.stats import Estimate
from vicrop.types import Map, Region

if TYPE_CHECKING:  # what is computed of maps that are there needs no torch
    from vicrop.adapters.adapter import Adapter
    from vicrop.view import View, Views

COVERED = 0.9
"""A crop counts as covering an object from this share of its area on."""
ANSWERS = ("right", "wrong")


def attention_ratio(
    amap: Map, target: Sequence[float], image_size: tuple[int, int], steps: int = 4
) -> float:
    """How much more importance the target holds than boxes of its size do on average.

    Sums are exact integrals over the cells, so that a box need not be rounded to
    cells; the average is over same-size boxes at ``steps`` places a cell, each way.

    Args:
        amap: importance map.
        target: (left, top, right, bottom) of the ground truth, original pixels.
        image_size: (width, height), pixels.
        steps: places a cell.

    Returns:
        1 for a uniform map; NaN if the map's region does not contain the target.

    Source: paper, section 4 (Figure 3), no code released. It does not say how a box is
    rounded to cells; we do not round.
    """
    cells = in_cells(amap, target, image_size)
    if cells is None:
        return math.nan
    (rows, cols), (x, y) = amap.shape, cells
    table = boxes.integral(amap.values)
    width, height = x[1] - x[0], y[1] - y[0]
    xs = np.linspace(0, cols - width, max(2, round((cols - width) * steps) + 1))
    ys = np.linspace(0, rows - height, max(2, round((rows - height) * steps) + 1))
    mean = _box_sums(table, ys, xs, height, width).mean()
    return float(_box_sums(table, y[:1], x[:1], height, width)[0, 0] / mean)


def in_cells(
    amap: Map, target: Sequence[float], image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """(left, right), (top, bottom) of a box in cells of a map; None if not within it.

    Args:
        amap: importance map.
        target: (left, top, right, bottom), original pixels.
        image_size: (width, height), pixels.
    """
    rows, cols = amap.shape
    left, top, right, bottom = amap.region or (0, 0, *image_size)
    x = (np.array(target[0::2], float) - left) * cols / (right - left)
    y = (np.array(target[1::2], float) - top) * rows / (bottom - top)
    inside = min(x[0], y[0]) >= 0 and x[1] <= cols and y[1] <= rows
    return (x, y) if inside else None


def _box_sums(
    table: np.ndarray, ys: np.ndarray, xs: np.ndarray, height: float, width: float
) -> np.ndarray:
    """(len(ys), len(xs)) integrals over boxes with fractional corners, in cells."""
    low, high = _lerp(table, ys), _lerp(table, ys + height)
    band = (high - low).T
    return (_lerp(band, xs + width) - _lerp(band, xs)).T


def _lerp(table: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of ``table`` at fractional indices, linearly interpolated."""
    at = np.clip(at, 0, len(table) - 1)
    first = np.minimum(at.astype(int), len(table) - 2)
    share = (at - first)[:, None]
    return table[first] * (1 - share) + table[first + 1] * share


def by_layer(
    vlm: Adapter,
    dataset: str,
    samples: list[Sample],
    method: str = "rel-att",
    progress: bool = False,
) -> pd.DataFrame:
    """Attention ratio and crop coverage of every layer's map.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        samples: those without a ground-truth box are passed over.
        method: ``rel-att`` or ``raw-att``.
        progress: whether to show a bar.

    Returns:
        One row a sample and layer, with ``id``, ``image``, ``layer``, ``size`` (S),
        ``ratio`` (see ``attention_ratio``) and ``coverage`` (share of the object in the
        crop that this layer's map would choose).
    """
    return layer_table(looks(vlm, dataset, samples, method, progress), vlm.crop_px)


class Looked(NamedTuple):
    """Every layer's map of one question."""

    sample: Sample
    image_size: tuple[int, int]
    maps: list[Map]


def looks(
    vlm: Adapter,
    dataset: str,
    samples: list[Sample],
    method: str = "rel-att",
    progress: bool = False,
) -> list[Looked]:
    """Every layer's maps of the samples that have a box (see ``by_layer``)."""
    boxed = [sample for sample in samples if sample.boxes]
    pairs = tqdm(views(vlm, dataset, boxed), total=len(boxed), disable=not progress)
    return [
        Looked(sample, view.image.size, layer_maps(view, asked(sample), method))
        for sample, view in pairs
    ]


def layer_maps(view: View, question: str, method: str = "rel-att") -> list[Map]:
    """``view.importance`` of every layer, in one pass a prompt.

    Raises:
        ValueError: for a map that is not one layer's attention.
    """
    from vicrop import attribution  # torch

    kind = attribution.get(method)
    if kind.of_prompts is not attribution.paper.attention_to_image:
        raise ValueError(
            f"{method} is no attention map of one layer; use rel-att, raw-att or "
            "floor-att"
        )
    texts = [question, attribution.GENERAL_QUESTION][: 1 + kind.needs_general]
    values = kind.combine(*(attention_by_layer(view, text) for text in texts))
    return [view.placed(layer) for layer in values]


def attention_by_layer(view: View, question: str) -> np.ndarray:
    """(layers, rows, cols) attention to what the model sees of the image."""
    from vicrop.attribution.paper import mean_of_heads  # torch

    prompt = view.whole.prompt(question)
    (rows,) = view.vlm.attend([prompt], range(len(view.vlm.attention)))
    return np.concatenate([mean_of_heads(row, prompt) for row in rows])


def asked(sample: Sample) -> str:
    """The question that the map is of: the short one, where there is one."""
    return sample.short_question or sample.question


def layer_table(looked: list[Looked], crop_px: int) -> pd.DataFrame:
    """What ``by_layer`` says, of maps that are there already."""
    rows = [
        {
            "id": sample.id,
            "image": sample.image_path,
            "layer": layer,
            "size": datasets.object_size(sample, size),
            "ratio": attention_ratio(amap, sample.boxes[0], size),
            "coverage": boxes.coverage(
                boxes.select_box(amap, size, crop_px), sample.boxes[0]
            ),
        }
        for sample, size, maps in looked
        for layer, amap in enumerate(maps)
    ]
    return pd.DataFrame(rows)


def views(
    vlm: Adapter, dataset: str, samples: list[Sample]
) -> Iterator[tuple[Sample, View]]:
    """Samples with a view of their image, shared by those that follow each other.

    Views of a small model are kept for what is measured of the same images next.
    """
    from vicrop.view import Views  # torch

    kept = _kept(vlm) if vlm.model.num_parameters() < SMALL else Views()
    for sample in samples:
        file = datasets.image_path(dataset, sample)
        key = str(file), file.stat().st_mtime_ns
        yield sample, kept.get(key, partial(vlm.look, file))


SMALL, KEPT = 1e8, 400
"""Parameters of a model below which views are kept, and how many: 1 MB each."""


@lru_cache(maxsize=1)
def _kept(vlm: Adapter) -> Views:
    """The views of the model that was asked last."""
    from vicrop.view import Views  # torch

    return Views(KEPT)


def covered_share(frame: pd.DataFrame) -> pd.Series:
    """Share of samples whose object lies in the crop, by layer."""
    return (frame["coverage"] >= COVERED).groupby(frame["layer"]).mean()


def best_layer(frame: pd.DataFrame) -> int:
    """The layer whose map's crop covers most objects; of equals the lowest."""
    best: Any = covered_share(frame).idxmax()  # of the index: a layer
    return int(best)


def best_heads(
    vlm: Adapter, dataset: str, samples: list[Sample], k: int = 3
) -> list[tuple[int, int]]:
    """The heads that look most at what is asked for, for ``gaze-heads``.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of; validation data.
        samples: those without a box, or whose object is not in view, do not count.
        k: how many.

    Returns:
        (layer, head) of those whose attention to the image lies in the object's box
        with the largest mean share; the best first.
    """
    boxed = [sample for sample in samples if sample.boxes]
    shares = [heads_inside(view, sample) for sample, view in views(vlm, dataset, boxed)]
    mean = np.nanmean(shares, 0)
    best = np.argsort(-mean, axis=None, kind="stable")[:k]
    return [(int(n) // mean.shape[1], int(n) % mean.shape[1]) for n in best]


def heads_inside(view: View, sample: Sample) -> np.ndarray:
    """(layers, heads) share of each one's attention that lies in the object's box."""
    from vicrop.attribution.peers import heads_to_image  # torch

    prompt = view.whole.prompt(asked(sample))
    layers = range(len(view.vlm.attention))
    (found,) = heads_to_image(view.vlm, [prompt], layers)
    maps = [[view.placed(head) for head in layer] for layer in found[0]]
    target, size = sample.boxes[0], view.image.size
    return np.array([[share_in(one, target, size) for one in row] for row in maps])


def share_in(amap: Map, target: Sequence[float], image_size: tuple[int, int]) -> float:
    """The share of a map that lies in a box; NaN if its region does not contain it."""
    cells = in_cells(amap, target, image_size)
    if cells is None:
        return math.nan
    (x, y), table = cells, boxes.integral(amap.values)
    inside = _box_sums(table, y[:1], x[:1], y[1] - y[0], x[1] - x[0])
    return float(inside[0, 0] / table[-1, -1])


def with_answers(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Add each sample's size ``group``, and whether its ``answer`` is right or wrong.

    Args:
        frame: as ``by_layer`` makes it.
        table: of a run (see ``results.table``); its plain answers count. Samples that
            failed there are left out.
    """
    score = frame["id"].map(table["plain_score"])
    answer = np.where(score >= 0.5, "right", "wrong")
    group = frame["size"].map(results.size_group)
    return frame.assign(answer=answer, group=group)[score.notna()]


def ratio_by_layer(frame: pd.DataFrame) -> list[Estimate]:
    """Median attention ratio of each layer, with its bootstrap interval."""
    return [median(rows) for _, rows in frame.groupby("layer")]


def above(ratio: Estimate) -> str:
    """How a ratio compares with 1, in words."""
    words = {"positive": "above 1", "none": "not apart from 1", "negative": "below 1"}
    said = estimates.verdict(ratio, null=1)
    return words.get(said, said)


def median(frame: pd.DataFrame) -> Estimate:
    """Median attention ratio of some samples at one layer.

    A map that does not contain its object (cut off by the processor) has no ratio.
    """
    return estimates.of_column(frame, "ratio", np.median)


# All layers of a connector too, right and wrong answers apart.


def by_pair(
    vlm: Adapter, dataset: str, samples: list[Sample], method: str = "rel-att"
) -> pd.DataFrame:
    """``by_layer`` at each layer of the connector too.

    Returns:
        As ``by_layer``, with ``connector``, the connector's layer k, and ``pair``,
        l = m + k·L of the language model's layer m and its number of layers L.

    Source: paper, section 4, the axis of Figure 3.
    """
    parts = [
        by_layer(one, dataset, samples, method).assign(connector=number)
        for number, one in enumerate(by_connector(vlm))
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(pair=frame["layer"] + len(vlm.attention) * frame["connector"])


def by_connector(vlm: Adapter) -> list[Adapter]:
    """A model, once for each layer of its connector that a map can be read at.

    A connector that has no attention counts as one layer.
    """
    connector = vlm.facts.connector
    if connector is None:
        return [vlm]
    each = [copy.copy(vlm.facts) for _ in connector.attention]
    for number, facts in enumerate(each):
        facts.connector = replace(connector, layer=number)
    return [type(vlm)(facts, vlm.layer) for facts in each]


def chosen_pair(vlm: Adapter) -> int:
    """The pair of layers that the model's map is read at."""
    return vlm.layer + len(vlm.attention) * vlm.connector_layer


def mean_by_pair(frame: pd.DataFrame) -> dict[str, list[Estimate]]:
    """Mean attention ratio of each pair of layers, by answer; n in the name.

    Args:
        frame: as ``by_pair`` makes it, with answers (see ``with_answers``).
    """
    return {
        f"{answer}, n = {_count(frame, answer)}": [
            estimates.of_column(rows, "ratio")
            for rows in _ratios(frame, answer).values()
        ]
        for answer in ANSWERS
        if _count(frame, answer)
    }


def _known(frame: pd.DataFrame, answer: str) -> pd.DataFrame:
    """Rows of such an answer with a ratio: a map may not contain its object."""
    return frame[frame["answer"] == answer].dropna(subset=["ratio"])


def _count(frame: pd.DataFrame, answer: str) -> int:
    return _known(frame, answer)["id"].nunique()


def _ratios(frame: pd.DataFrame, answer: str) -> dict[int, pd.DataFrame]:
    """Rows of such answers at every pair of layers, also where there are none."""
    known = _known(frame, answer)
    pairs = sorted(frame["pair"].unique())
    return {int(pair): known[known["pair"] == pair] for pair in pairs}


def wrong_minus_right(frame: pd.DataFrame) -> dict[int, Estimate]:
    """Mean ratio of wrong answers less that of right ones, by pair of layers.

    Of no samples where there are not both.
    """
    right, wrong = (_ratios(frame, answer) for answer in ANSWERS)
    return {p: estimates.between(wrong[p], right[p], "ratio") for p in right}


LEAST = 3
"""Answers of each kind that a bin of sizes needs: fewer have no spread to speak of."""


def like_sized(layer: pd.DataFrame, bins: int = 8) -> Estimate:
    """Mean log₂ of the ratio, wrong minus right, at like object sizes.

    Within equally filled bins of size, weighted by the fewer of their two kinds of
    answers; pictures are drawn with all of their answers.

    Args:
        layer: of one layer (see ``looking.with_answers``).
        bins: of size.

    Returns:
        n is of the bins that have enough of both kinds; nothing if none has.
    """
    known = layer[layer["ratio"] > 0]
    cuts = pd.qcut(known["size"], bins, duplicates="drop")
    logs, weights, parts, count = np.log2(known["ratio"]), [], [], 0
    for _, rows in known.groupby(cuts, observed=True):
        kinds = [rows.index[rows["answer"] == kind] for kind in ("wrong", "right")]
        fewer = min(map(len, kinds))
        if fewer >= LEAST:
            inside = [known.index.isin(kind) for kind in kinds]
            parts += [column for one in inside for column in (logs * one, one)]
            weights.append(fewer)
            count += len(rows)
    if not parts:
        return stats.NOTHING
    each = np.column_stack(parts).astype(float)
    every = np.vstack([each.sum(0), stats.sums(each, known["image"])])
    wrong, wrongs, right, rights = (every[:, place::4] for place in range(4))
    # A bin of which a resample drew one kind only is left out of that resample.
    there = np.minimum(wrongs, rights) > 0
    apart = wrong / wrongs.clip(1) - right / rights.clip(1)
    weighed = there * weights
    whole = weighed.sum(1)
    known = whole > 0
    middle, *drawn = (apart * weighed).sum(1)[known] / whole[known]
    return stats.interval(middle, np.array(drawn), count)


def counted_layers(frames: Runs) -> pd.DataFrame:
    """In how many layers a mean lies above 1, and wrong apart from right: to be read.

    Args:
        frames: by model, see ``mean_by_pair``; of all sizes, then of small objects.
    """
    rows = [_papers()]
    for model, frame in frames.items():
        for size in ("all", "small"):
            part = frame if size == "all" else frame[frame["group"] == size]
            rows.append({"model": model, "objects": size, **_counts(part)})
    return pd.DataFrame(rows)


HEADS = (
    "layers",
    "right, n",
    "right > 1",
    "wrong, n",
    "wrong > 1",
    "wrong < right",
    "wrong > right",
)


def _papers() -> dict[str, str]:
    """The paper's row: its curves have no values, and it has no test of them."""
    pairs = [m * k for m, k in paper.FIGURE_3_LAYERS.values()]
    layers = f"{min(pairs)} to {max(pairs)}"
    said = (layers, "–", "most", "–", "most", *["no test"] * 2)
    row = {"model": f"the paper's {len(pairs)}", "objects": "all"}
    return row | dict(zip(HEADS, said, strict=True))


def _counts(frame: pd.DataFrame) -> dict[str, str]:
    said: list[str] = [str(frame["pair"].nunique())]
    for answer in ANSWERS:
        parts = _ratios(frame, answer).values()
        made = [estimates.of_column(rows, "ratio") for rows in parts]
        sides = [estimates.verdict(one, null=1) for one in made]
        said += [str(_count(frame, answer)), str(sides.count("positive"))]
    sides = [estimates.verdict(one) for one in wrong_minus_right(frame).values()]
    said += [str(sides.count("negative")), str(sides.count("positive"))]
    return dict(zip(HEADS, said, strict=True))


def at_map_layer(frames: Mapping[str, tuple[pd.DataFrame, int]]) -> pd.DataFrame:
    """Wrong beside right answers at the layer of each model's map, to be read.

    Groups without ``FEWEST`` answers of both kinds are not compared.

    Args:
        frames: by model: see ``mean_by_pair``, and the pair of layers.
    """
    rows = []
    for model, (frame, pair) in frames.items():
        for group, part in {"all": frame, **results.by_group(frame)}.items():
            at = part[part["pair"] == pair].dropna(subset=["ratio"])
            right, wrong = (
                estimates.of_column(at[at["answer"] == name], "ratio")
                for name in ANSWERS
            )
            row = {"model": model, "objects": group}
            row |= {"right": _mean(right), "wrong": _mean(wrong)}
            row |= {"wrong minus right": "too few", "effect": "–"}
            if min(right.n, wrong.n) >= FEWEST:
                change = wrong_minus_right(at)[pair]
                row["wrong minus right"] = change.format(1, sign=True)
                row["effect"] = estimates.verdict(change)
            rows.append(row)
    return pd.DataFrame(rows)


def _mean(ratio: Estimate) -> str:
    enough = ratio.n >= FEWEST
    return f"{ratio.format(1)}, n = {ratio.n}" if enough else f"n = {ratio.n}"


# What is seen of an image.

GREY = (122, 116, 104)
"""CLIP's mean colour, with which a picture is padded: 0 once it is normalised."""


def cut_off(dataset: str, fit: str = "centre-crop") -> tuple[Image.Image, Sample]:
    """The first question about an object that a fit leaves out, and its image.

    Raises:
        ValueError: if there is none.
    """
    shares = slices.in_view(dataset, fit)
    for sample in datasets.load(dataset):
        if shares.get(sample.id) == 0:
            return images.load(datasets.image_path(dataset, sample)), sample
    raise ValueError(f"{fit} leaves out no object of {dataset}; use another data set")


def inputs(image: Image.Image, side: int) -> dict[str, tuple[Region, Image.Image]]:
    """What each fit shows a model of an image.

    Args:
        image: RGB.
        side: of the model's input, pixels; ``native`` gets as many pixels in all.

    Returns:
        By fit: the region of the image that is seen, and the model's input.
    """
    shown = {}
    for fit in geometry.FITS:
        fitted = image if fit == "native" else images.fit(image, fit, GREY)
        scale = side / math.sqrt(fitted.width * fitted.height)
        size = (round(fitted.width * scale), round(fitted.height * scale))
        small = fitted.resize(size, Image.Resampling.BICUBIC)
        shown[fit] = geometry.visible(fit, image.size), small
    return shown


def views_kept(dataset: str) -> pd.DataFrame:
    """How many objects each fit keeps in view, as a table to read."""
    rows = []
    for fit in geometry.FITS:
        shares = slices.in_view(dataset, fit)
        row = {"fit": fit, "objects": len(shares)}
        pictures = shares.index.map(slices.image_of(dataset))
        for name, chosen in (
            ("wholly seen, %", shares == 1),
            ("partly seen, %", (shares > 0) & (shares < 1)),
            ("not seen, %", shares == 0),
        ):
            row[name] = stats.accuracy(chosen, pictures).format(1, scale=100)
        rows.append(row)
    return pd.DataFrame(rows)
