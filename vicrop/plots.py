"""Figures: each draws into an axes (or makes a figure) and returns it."""

import textwrap
from collections.abc import Sequence
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text
from PIL import Image

from vicrop.types import Answer, Box, Map, printable

CROP, TRUTH = "#d7263d", "#00a878"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"  # apart for colour-blind readers

LACKED = "□"


def text(said: object, width: int = 60, most: int = 8) -> str:
    """A text of others in at most so many lines of a figure: no markup, no gaps.

    Letters that no installed font has are ``LACKED``; fonts are chosen by ``finish``.
    """
    lines = printable(said).split("\n")
    told = [part for line in lines for part in textwrap.wrap(line, width) or [""]]
    whole = "\n".join([*told[: most - 1], "…"] if len(told) > most else told)
    missing = [ord(one) for one in whole if one != "\n" and _font(one) is None]
    return whole.translate(dict.fromkeys(missing, LACKED) | {ord("$"): r"\$"})


@cache
def _font(letter: str) -> str | None:
    """An installed font that has a letter, empty for the usual; None if none has."""
    usual = str(font_manager.findfont(font_manager.FontProperties()))
    others = ((one.name, one.fname) for one in font_manager.fontManager.ttflist)
    for name, file in (("", usual), *others):
        known = font_manager.get_font(file).get_char_index(ord(letter))
        if known and not name.startswith("Last Resort"):  # which draws boxes
            return name
    return None


def finish(figure: FigureBase) -> None:
    """Give a figure the fonts that its texts need, or a hint that there is none."""
    texts = figure.findobj(Text)
    for one in texts:
        more = {_font(letter) or "" for letter in one.get_text()} - {""}
        one.set(fontfamily=[*one.get_fontfamily(), *sorted(more)], usetex=False)
    told, hint = {one.get_text() for one in texts}, f"{LACKED}: no font here has it"
    if LACKED in "".join(told) and hint not in told:
        figure.legend([], [], title=hint, loc="outside upper left", frameon=False)


def show_image(image: Image.Image, ax: Axes) -> Axes:
    """An image without ticks, in twice the pixels of its place at most."""
    small = image.copy()
    small.thumbnail((2 * max(ax.bbox.size),) * 2)
    ax.imshow(np.asarray(small), extent=(0, image.width, image.height, 0))
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
    show_image(image, axes[0]).set_xlabel(text(f"image: “{answer.plain}”", 36))
    if answer.amap is None:
        axes[1].set_axis_off()
    else:
        show_map(image, answer.amap, axes[1]).set_xlabel("importance map")
        name_seen(image, answer.amap, axes[1])
    show_boxes(image, answer.box, truth, axes[0])
    show_boxes(image, answer.box, (), axes[1])
    show_crop(image, answer, "image and this crop:", axes[2])
    finish(figure)
    return figure


def name_seen(image: Image.Image, amap: Map, ax: Axes) -> None:
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


def show_crop(image: Image.Image, answer: Answer, words: str, ax: Axes) -> None:
    """The crop, over what was said with it; an empty place if there is none."""
    if answer.box is None:
        ax.set_axis_off()
    else:
        crop = image.crop(answer.box)
        show_image(crop, ax).set_xlabel(text(f"{words} “{answer.text}”", 26))
