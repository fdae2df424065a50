"""Figures: each draws into an axes (or makes a figure) and returns it."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from vicrop.run.records import Sample
from vicrop.types import Answer, Box, Map

CROP, TRUTH = "#d7263d", "#00a878"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"  # apart for colour-blind readers


def show_image(image: Image.Image, ax: Axes) -> Axes:
    """An image without ticks."""
    ax.imshow(np.asarray(image), extent=(0, image.width, image.height, 0))
    ax.set(xticks=[], yticks=[], xlim=(0, image.width), ylim=(image.height, 0))
    return ax


def show_box(box: Sequence[float], ax: Axes, color: str = CROP, **style) -> Axes:
    """The outline of (left, top, right, bottom)."""
    left, top, right, bottom = box
    patch = Rectangle(
        (left, top), right - left, bottom - top, fill=False, color=color, lw=2, **style
    )
    ax.add_patch(patch)
    return ax


def show_boxes(
    image: Image.Image, crop: Box | None, truth: Sequence[Sequence[float]], ax: Axes
) -> None:
    """Ground-truth boxes (dashed green), then the crop (red), if there is one."""
    out = 0.01 * image.width  # a line must not hide a small object
    for left, top, right, bottom in truth:
        around = (left - out, top - out, right + out, bottom + out)
        show_box(around, ax, TRUTH, linestyle="--")
    if crop is not None:
        show_box(crop, ax)


def show_map(image: Image.Image, amap: Map, ax: Axes, opacity: float = 0.65) -> Axes:
    """An importance map over its image, each cell where it lies.

    Args:
        image: the original image.
        amap: the map; scaled to its own range.
        ax: where to draw.
        opacity: of the map.
    """
    show_image(image, ax)
    left, top, right, bottom = amap.region or (0, 0, *image.size)
    ax.imshow(
        amap.values,
        extent=(left, right, bottom, top),
        cmap="magma",
        alpha=opacity,
        interpolation="nearest",
    )
    ax.set(xlim=(0, image.width), ylim=(image.height, 0))
    return ax


def answer_panel(
    image: Image.Image, answer: Answer, truth: Sequence[Sequence[float]] = ()
) -> Figure:
    """Image with boxes, importance map, crop: what was seen and said, side by side."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
    show_image(image, axes[0]).set_xlabel(f"image: “{answer.plain}”")
    if answer.amap is None:
        axes[1].set_axis_off()
    else:
        show_map(image, answer.amap, axes[1]).set_xlabel("importance map")
        _name_seen(image, answer.amap, axes[1])
    show_boxes(image, answer.box, truth, axes[0])
    show_boxes(image, answer.box, (), axes[1])
    _show_crop(image, answer, "image and this crop:", axes[2])
    return figure


def gallery(shown: Sequence[tuple[Image.Image, Answer, Sample]]) -> Figure:
    """A row a sample: image; map with crop (red) and truth (dashed green); crop.

    Args:
        shown: a sample each: its picture, what was said of it, and itself.
    """
    rows = len(shown)
    figure, grid = plt.subplots(
        rows, 3, figsize=(9, 3.2 * rows), layout="constrained", squeeze=False
    )
    for axes, (image, answer, sample) in zip(grid, shown, strict=True):
        asked = textwrap.fill(sample.question, 40)
        show_image(image, axes[0]).set_xlabel(asked)
        if answer.amap is None:
            show_image(image, axes[1])
        else:
            show_map(image, answer.amap, axes[1])
            _name_seen(image, answer.amap, axes[1])
        axes[1].set_xlabel(f"label “{sample.labels[0]}”, image alone “{answer.plain}”")
        show_boxes(image, answer.box, sample.boxes, axes[1])
        _show_crop(image, answer, "with this crop", axes[2])
    return figure


def _name_seen(image: Image.Image, amap: Map, ax: Axes) -> None:
    """Say above a map that covers a part of its image what the dark stripe is."""
    left, top, right, bottom = amap.region or (0, 0, *image.size)
    seen = (right - left) * (bottom - top) / (image.width * image.height)
    if seen < 1:
        dark = Patch(
            color=plt.colormaps["magma"](0.1), label=f"seen by the model: {seen:.0%}"
        )
        ax.legend(
            handles=[dark], loc="lower left", bbox_to_anchor=(0, 1), frameon=False
        )


def _show_crop(image: Image.Image, answer: Answer, words: str, ax: Axes) -> None:
    """The crop, over what was said with it; an empty place if there is none."""
    if answer.box is None:
        ax.set_axis_off()
    else:
        crop = image.crop(answer.box)
        show_image(crop, ax).set_xlabel(f"{words} “{answer.text}”")
