"""Charts of the book's pages: each draws into an axes (or makes a figure)."""

import base64
import html
import io
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vicrop.plots import BLUE, CROP, GREY, ORANGE, TRUTH, _beside, show_box, show_image
from vicrop.run.stats import Estimate
from vicrop.types import Region


def fits(
    image: Image.Image,
    shown: Mapping[str, tuple[Region, Image.Image]],
    truth: Sequence[float] = (),
) -> Figure:
    """A column a fit: what of the image is seen (the rest dimmed), the model's input.

    Args:
        image: the original image.
        shown: by fit, the region that is seen and the input (see ``gaze.inputs``).
        truth: box of an object to mark.
    """
    figure, grid = plt.subplots(
        2, len(shown), figsize=(2.6 * len(shown), 4.4), layout="constrained"
    )
    for axes, (fit, (region, picture)) in zip(grid.T, shown.items(), strict=True):
        show_image(image, axes[0]).set_xlabel(f"{fit}: {image.width}×{image.height} px")
        axes[0].imshow(_veil(image, region), extent=(0, image.width, image.height, 0))
        show_box(region, axes[0], BLUE)
        if truth:
            show_box(_beside(truth, image.width), axes[0], TRUTH, linestyle="--")
        show_image(picture, axes[1])
        axes[1].set_xlabel(f"input: {picture.width}×{picture.height} px")
    return figure


def _veil(image: Image.Image, region: Region) -> np.ndarray:
    """(height, width, 4): white over what lies outside a region, nothing over it."""
    veil = np.full((image.height, image.width, 4), (1, 1, 1, 0.75))
    left, top, right, bottom = (round(edge) for edge in region)
    veil[top:bottom, left:right, 3] = 0
    return veil


def bars(
    groups: Sequence[str],
    series: Mapping[str, Sequence[Estimate]],
    ax: Axes,
    ylabel: str = "accuracy, %",
) -> Axes:
    """Grouped bars with intervals, in percent.

    Args:
        groups: along the x axis.
        series: by legend entry, one estimate (in [0, 1]) a group.
        ax: where to draw.
        ylabel: with its unit.
    """
    colors = (GREY, BLUE, ORANGE, TRUTH)
    width = 0.8 / len(series)
    for number, (name, estimates) in enumerate(series.items()):
        x = np.arange(len(groups)) + (number - (len(series) - 1) / 2) * width
        y = np.array([100 * e.value for e in estimates])
        ends = np.array([[100 * e.low, 100 * e.high] for e in estimates]).T
        ax.bar(x, y, width * 0.9, label=name, color=colors[number % 4])
        ax.errorbar(x, y, abs(ends - y), fmt="none", color="black", capsize=3, lw=1)
    ax.set_xticks(range(len(groups)), groups)
    ax.set_ylabel(ylabel)
    ax.legend(frameon=False, ncols=len(series), loc="upper left")
    ax.set_ylim(0, 118)  # room for the legend
    ax.set_yticks(range(0, 101, 20))
    return ax


def forest(
    rows: Mapping[str, Estimate], ax: Axes, xlabel: str, null: float = 0
) -> Axes:
    """Estimates as dots with intervals, one below the other, and where nothing is.

    Args:
        rows: by label, topmost first.
        ax: where to draw.
        xlabel: with its unit.
        null: value of no effect.
    """
    for y, estimate in enumerate(rows.values()):
        color = BLUE if estimate.excludes(null) else GREY
        ax.plot([estimate.low, estimate.high], [y, y], color=color, lw=2)
        ax.plot(estimate.value, y, "o", color=color)
    ax.axvline(null, color="black", lw=0.8, linestyle=":")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    return ax


def forests(
    groups: Mapping[str, Mapping[str, Estimate]], xlabel: str, null: float = 0
) -> Figure:
    """A ``forest`` a group, side by side over the same axis.

    Args:
        groups: by title (a model), then by label. A label that a group lacks is left
            blank there.
        xlabel: with its unit.
        null: value of no effect.
    """
    labels = list(dict.fromkeys(name for rows in groups.values() for name in rows))
    figure, axes = plt.subplots(
        1,
        len(groups),
        figsize=(2 + 2.4 * len(groups), 1.2 + 0.28 * len(labels)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    nothing = Estimate(np.nan, np.nan, np.nan, 0)
    for ax, (title, rows) in zip(axes[0], groups.items(), strict=True):
        forest({name: rows.get(name, nothing) for name in labels}, ax, "", null)
        ax.set_title(title, fontsize="medium")
    axes[0, 0].set_ylim(len(labels) - 0.5, -0.5)
    if np.ptp(axes[0, 0].get_xlim()) < 1e-6:  # all the same: no axis of rounding errors
        axes[0, 0].set_xlim(null - 1, null + 1)
    figure.supxlabel(xlabel, fontsize="medium")
    return figure


def layers(
    series: Mapping[str, Sequence[Estimate]],
    ax: Axes,
    chosen: int | None = None,
    ylabel: str = "attention ratio",
    null: float | None = 1.0,
) -> Axes:
    """One curve a series over the layers, with intervals.

    Args:
        series: by legend entry, one estimate a layer.
        ax: where to draw.
        chosen: the map's layer, marked.
        ylabel: with its unit.
        null: value of no effect, marked.
    """
    colors = (BLUE, ORANGE, GREY, TRUTH)
    for color, (name, estimates) in zip(colors, series.items(), strict=False):
        x = range(len(estimates))
        ax.plot(x, [e.value for e in estimates], "o-", color=color, label=name)
        low, high = [e.low for e in estimates], [e.high for e in estimates]
        ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    if null is not None:
        ax.axhline(null, color="black", lw=0.8, linestyle=":")
    if chosen is not None:
        ax.axvline(chosen, color=CROP, lw=0.8, linestyle="--")
        ax.annotate(
            "map's layer",
            (chosen, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if chosen else 4, -12),
            textcoords="offset points",
            ha="right" if chosen else "left",
            color=CROP,
        )
    ax.set_xticks(range(max(map(len, series.values()))))
    ax.set(xlabel="layer of the language model, from 0", ylabel=ylabel)
    ax.legend(frameon=False)
    return ax


def histogram(
    values: Sequence[float], ax: Axes, marks: Sequence[float], xlabel: str
) -> Axes:
    """Counts over a logarithmic axis, with borders marked."""
    edges = np.geomspace(min(values), max(values), 31)
    ax.hist(values, edges.tolist(), color=BLUE)
    for mark in marks:
        ax.axvline(mark, color=CROP, linestyle="--", lw=1)
    ax.set_xscale("log")
    ax.set(xlabel=xlabel, ylabel="questions")
    return ax


def curves(
    history: Sequence[Mapping[str, float]], names: Sequence[str], ax: Axes
) -> Axes:
    """Training curves: one line a metric over the steps; gaps where none was taken."""
    for name in names:
        points = [(row["step"], row[name]) for row in history if name in row]
        ax.plot(*zip(*points, strict=True), label=name, lw=1.2)
    ax.set(xlabel="training step")
    ax.legend(frameon=False, fontsize="small")
    return ax


def embedded(figure: Figure, alt: str) -> HTML:
    """A figure as an image with a text instead, for pages that glue it elsewhere."""
    file = io.BytesIO()
    figure.savefig(file, format="jpeg", dpi=110, pil_kwargs={"quality": 88})
    data = base64.b64encode(file.getvalue()).decode()
    return HTML(f'<img alt="{html.escape(alt)}" src="data:image/jpeg;base64,{data}">')
