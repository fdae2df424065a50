"""Pictures with what is laid over them: what is seen, maps and crops, galleries."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from vicrop import images, plots
from vicrop.run import datasets
from vicrop.types import Box, Map, Region

HIGHEST = 99.5
"""Percentile of a map from which on it is drawn alike: single pixels can be huge."""


def fits(
    image: Image.Image,
    shown: Mapping[str, tuple[Region, Image.Image]],
    truth: Sequence[float] = (),
) -> Figure:
    """A column a fit: what of the image is seen (the rest dimmed), the model's input.

    Args:
        image: the original image.
        shown: by fit, the region that is seen and the input (see ``looking.inputs``).
        truth: box of an object to mark.
    """
    figure, grid = plt.subplots(
        2, len(shown), figsize=(2.6 * len(shown), 4.4), layout="constrained"
    )
    for (top, low), (fit, (region, seen)) in zip(grid.T, shown.items(), strict=True):
        label = f"{fit}: {image.width}×{image.height} px"
        plots.show_image(image, top).set_xlabel(label)
        top.imshow(_veil(image, region), extent=(0, image.width, image.height, 0))
        plots.show_box(region, top, plots.BLUE)
        plots.show_boxes(image, None, [truth] if truth else [], top)
        label = f"input: {seen.width}×{seen.height} px"
        plots.show_image(seen, low).set_xlabel(label)
    return figure


def _veil(image: Image.Image, region: Region) -> np.ndarray:
    """(height, width, 4): white over what lies outside a region, nothing over it."""
    veil = np.full((image.height, image.width, 4), (1, 1, 1, 0.75))
    left, top, right, bottom = (round(edge) for edge in region)
    veil[top:bottom, left:right, 3] = 0
    return veil


def grid(
    image: Image.Image,
    rows: Mapping[str, Mapping[str, tuple[Map, Box | None]]],
    truth: Sequence[Sequence[float]] = (),
    opacity: float = 0.65,
    side: float = 2.4,
) -> Figure:
    """Maps over an image, a row a model, a column a kind; each panel labelled.

    Args:
        image: the original image.
        rows: by row, then by column: a map, and the crop to outline (red) if any.
        truth: ground-truth boxes (dashed green).
        opacity: of the maps.
        side: of a panel, inches.
    """
    count = max(map(len, rows.values()))
    figure, axes = plt.subplots(
        len(rows),
        count,
        figsize=(side * count, (side + 0.25) * len(rows)),
        layout="constrained",
        squeeze=False,
    )
    for line, (model, row) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(plots.text(model, 36))
        for ax, (name, (amap, box)) in zip(line, row.items(), strict=False):
            plots.show_map(image, _capped(amap), ax, opacity)
            ax.set_xlabel(plots.text(name, 36))
            plots.show_boxes(image, box, truth, ax)
        for ax in line[len(row) :]:
            ax.set_axis_off()
    plots.finish(figure)
    return figure


def _capped(amap: Map) -> Map:
    top = np.percentile(amap.values, HIGHEST)
    return Map(np.minimum(amap.values, top), amap.region) if top > 0 else amap


def cases(dataset: str, rows: Mapping[str, pd.Series]) -> Figure:
    """A line a sample, from records alone: image, crop (red) and object; the crop.

    Args:
        dataset: key or folder that the samples are of.
        rows: by label: rows with a crop of runs' tables (see ``results.table``).
    """
    known = {sample.id: sample for sample in datasets.load(dataset)}
    figure, axes = plt.subplots(
        len(rows), 2, figsize=(5, 2.7 * len(rows)), layout="constrained", squeeze=False
    )
    for (left, right), (label, row) in zip(axes, rows.items(), strict=True):
        sample = known[str(row.name)]
        image = images.load(datasets.image_path(dataset, sample))
        said = f"“{row['plain']}”, label “{', '.join(sample.labels)}”"
        plots.show_image(image, left).set_xlabel(plots.text(f"alone {said}", 36))
        left.set_ylabel(plots.text(label, 36))
        plots.show_boxes(image, row["box"], sample.boxes, left)
        said = plots.text(f"with this crop “{row['answer']}”", 36)
        plots.show_image(image.crop(row["box"]), right).set_xlabel(said)
    plots.finish(figure)
    return figure
