"""Where a model looks, layer by layer (the paper's Figure 3), and what it sees."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from analysis import slices
from vicrop import boxes, geometry, images
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets, results, stats
from vicrop.run.records import Sample
from vicrop.types import Map, Region
from vicrop.view import View

COVERED = 0.9
"""A crop counts as covering an object from this share of its area on."""


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
        One row a sample and layer, with ``id``, ``layer``, ``size`` (S), ``ratio``
        (attention ratio, see ``boxes.attention_ratio``) and ``coverage`` (share of the
        object in the crop that this layer's map would choose).
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
        Looked(sample, view.image.size, view.layer_maps(asked(sample), method))
        for sample, view in pairs
    ]


def asked(sample: Sample) -> str:
    """The question that the map is of: the short one, where there is one."""
    return sample.short_question or sample.question


def layer_table(looked: list[Looked], crop_px: int) -> pd.DataFrame:
    """What ``by_layer`` says, of maps that are there already."""
    rows = [
        {
            "id": sample.id,
            "layer": layer,
            "size": datasets.object_size(sample, size),
            "ratio": boxes.attention_ratio(amap, sample.boxes[0], size),
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
    """Samples with a view of their image, shared by those that follow each other."""
    path, view = None, None
    for sample in samples:
        if sample.image_path != path:
            path = sample.image_path
            view = vlm.look(datasets.image_path(dataset, sample))
        assert view is not None
        yield sample, view


def covered_share(frame: pd.DataFrame) -> pd.Series:
    """Share of samples whose object lies in the crop, by layer."""
    return (frame["coverage"] >= COVERED).groupby(frame["layer"]).mean()


def best_layer(frame: pd.DataFrame) -> int:
    """The layer whose map's crop covers most objects; of equals the lowest."""
    best: Any = covered_share(frame).idxmax()  # of the index: a layer
    return int(best)


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


def ratios(frame: pd.DataFrame, answer: str, layer: int) -> np.ndarray:
    """Attention ratios of the samples that were answered ``right`` or ``wrong``."""
    kept = frame[(frame["answer"] == answer) & (frame["layer"] == layer)]
    return kept["ratio"].dropna().to_numpy()


def ratio_by_layer(frame: pd.DataFrame) -> list[stats.Estimate]:
    """Median attention ratio of each layer, with its bootstrap interval."""
    return [_median(rows) for _, rows in frame.groupby("layer")]


def ratio_by_kind(frame: pd.DataFrame, dataset: str) -> dict[str, stats.Estimate]:
    """Median attention ratio by kind of question; n in the name."""
    kinds = slices.by_kind(frame.set_index("id"), dataset)
    return {f"{kind}, n = {len(rows)}": _median(rows) for kind, rows in kinds.items()}


def covered_by_layer(frame: pd.DataFrame) -> list[stats.Estimate]:
    """Percent of samples whose object lies in each layer's crop."""
    return [
        stats.accuracy(rows["coverage"] >= COVERED).times(100)
        for _, rows in frame.groupby("layer")
    ]


def above(ratio: stats.Estimate) -> str:
    """How a ratio compares with 1, in words."""
    words = {"positive": "above 1", "none": "not apart from 1", "negative": "below 1"}
    return words[stats.verdict(ratio, null=1)]


def _median(frame: pd.DataFrame) -> stats.Estimate:
    # A map that does not contain its object (cut off by the processor) has no ratio.
    return stats.bootstrap(frame["ratio"].dropna().to_numpy(), np.median)


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
        for name, chosen in (
            ("wholly seen, %", shares == 1),
            ("partly seen, %", (shares > 0) & (shares < 1)),
            ("not seen, %", shares == 0),
        ):
            row[name] = stats.accuracy(chosen).format(1, scale=100)
        rows.append(row)
    return pd.DataFrame(rows)


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """What a run's table says of its crops and answers, each in [0, 1].

    Args:
        frame: one row a sample (see ``results.table``).
    """
    covered = (frame["coverage"] >= COVERED).where(frame["coverage"].notna())
    return pd.DataFrame(
        {
            "share of the object in the crop": frame["coverage"],
            "object in the crop": covered.astype(float),
            "right with the crop": frame["score"],
            "right without": frame["plain_score"],
        }
    )


def compare(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, stats.Estimate]:
    """Paired differences of two runs on the same samples, by measure."""
    old, new = measured(before), measured(after)
    return {str(name): stats.difference(old[name], new[name]) for name in old}


def comparison(frames: Mapping[str, pd.DataFrame], base: str) -> pd.DataFrame:
    """Runs beside one of them, as a table to read: percentages, paired differences.

    Args:
        frames: tables of runs by what they are called.
        base: which of them the others are compared with.
    """
    rows = []
    for name, frame in frames.items():
        apart = {} if name == base else compare(frames[base], frame)
        for measure, values in measured(frame).items():
            found = stats.accuracy(values.dropna())
            row = {"measure": measure, "run": name, "n": found.n}
            row["%"] = found.format(1, scale=100)
            gain = apart.get(str(measure))
            row[f"against {base}, points"] = (
                gain.format(1, sign=True, scale=100) if gain else ""
            )
            row["effect"] = stats.verdict(gain) if gain else ""
            rows.append(row)
    return pd.DataFrame(rows).sort_values("measure", kind="stable", key=_as_measured)


def _as_measured(names: pd.Series) -> pd.Series:
    return names.map({name: place for place, name in enumerate(names.unique())})
