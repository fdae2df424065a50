"""Figures of many maps at once, and of what crops cost and cover."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from analysis import figures
from vicrop import plots
from vicrop.run.stats import Estimate
from vicrop.types import Box, Map

HIGHEST = 99.5
"""Percentile of a map from which on it is drawn alike: single pixels can be huge."""


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
        line[0].set_ylabel(model)
        for ax, (name, (amap, box)) in zip(line, row.items(), strict=False):
            plots.show_map(image, _capped(amap), ax, opacity).set_xlabel(name)
            _outline(image, box, truth, ax)
        for ax in line[len(row) :]:
            ax.set_axis_off()
    return figure


def _capped(amap: Map) -> Map:
    top = np.percentile(amap.values, HIGHEST)
    return Map(np.minimum(amap.values, top), amap.region) if top > 0 else amap


def _outline(
    image: Image.Image, box: Box | None, truth: Sequence[Sequence[float]], ax: Axes
) -> None:
    out = 0.01 * image.width  # so that the outline does not hide a small object
    for left, top, right, bottom in truth:
        outside = (left - out, top - out, right + out, bottom + out)
        plots.show_box(outside, ax, plots.TRUTH, linestyle="--")
    if box is not None:
        plots.show_box(box, ax)


def by_layers(
    groups: Mapping[str, Mapping[str, Sequence[Estimate]]],
    chosen: Mapping[str, int],
    ylabel: str,
    language_layers: Mapping[str, int],
    null: float | None = 1.0,
) -> Figure:
    """A panel a model: curves over its layers; all over the same values.

    Args:
        groups: by model, then by legend entry: one estimate a layer.
        chosen: by model, the map's layer, marked.
        ylabel: with its unit.
        language_layers: by model; where a panel has more, they are pairs with those
            of a connector.
        null: value of no effect, marked.
    """
    size = (3.4 * len(groups), 3.4)
    figure, axes = plt.subplots(
        1, len(groups), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (model, series) in zip(axes[0], groups.items(), strict=True):
        figures.layers(series, ax, chosen[model], ylabel, null)
        if list(series) == [model]:  # the title says so
            ax.get_legend().remove()
        ax.label_outer()
        ax.set_title(model, fontsize="medium")
        count, own = max(map(len, series.values())), language_layers[model]
        if count > own:
            ax.set_xlabel(f"l = m + {own}k (m: language, k: connector)")
            for border in range(own, count, own):
                ax.axvline(border - 0.5, color=plots.GREY, lw=0.6)
    return figure


def trade(
    series: Mapping[str, Mapping[str, tuple[Estimate, Estimate]]],
    ax: Axes,
    marks: Mapping[str, str],
) -> Axes:
    """How much crops cover against how large they are; a curve a model.

    Args:
        series: by model, then by way to choose the crop: its side in pixels, and the
            share of objects in it.
        ax: where to draw.
        marks: markers of the ways that are drawn apart from the curve.
    """
    colors = (plots.BLUE, plots.ORANGE, plots.GREY, plots.TRUTH)
    for color, (model, ways) in zip(colors, series.items(), strict=False):
        fixed = [ways[name] for name in ways if name not in marks]
        x, y = [side.value for side, _ in fixed], [100 * s.value for _, s in fixed]
        ax.plot(x, y, ".-", color=color, lw=1, label=model)
        for name, mark in marks.items():
            side, share = ways[name]
            ends = 100 * np.array(
                [[share.value - share.low], [share.high - share.value]]
            )
            ax.errorbar(
                side.value,
                100 * share.value,
                ends,
                fmt=mark,
                ms=9,
                color=color,
                capsize=3,
                mec="black",
            )
    for name, mark in marks.items():
        ax.plot([], [], mark, color="white", mec="black", ms=9, label=name)
    ax.set(xlabel="mean side of the crop, px", ylabel="small objects in the crop, %")
    ax.legend(frameon=False, fontsize="small")
    return ax


def shares(counts: pd.DataFrame, ax: Axes, xlabel: str) -> Axes:
    """Counts as parts of a bar each, with their numbers.

    Args:
        counts: a row for each bar, topmost first; a column for each of up to 3 parts.
        ax: where to draw.
        xlabel: what is counted.
    """
    left = np.zeros(len(counts))
    colors = {plots.BLUE: "white", plots.GREY: "white", plots.ORANGE: "black"}
    for (color, ink), (name, part) in zip(colors.items(), counts.items(), strict=False):
        drawn = ax.barh(counts.index, part, left=left, color=color, label=str(name))
        numbers = [n or "" for n in part]
        ax.bar_label(drawn, numbers, label_type="center", color=ink)
        left += part.to_numpy()
    ax.invert_yaxis()
    ax.set(xlabel=xlabel)
    ax.legend(frameon=False, ncols=len(counts.columns), loc="lower left",
              bbox_to_anchor=(0, 1))  # fmt: skip
    return ax


def size_histograms(
    sizes: Mapping[str, Sequence[float]], borders: Sequence[float], columns: int = 3
) -> Figure:
    """Object sizes of several data sets, a histogram each.

    Args:
        sizes: S of every question with a box, by data set.
        borders: of the size groups, marked.
        columns: of the figure.
    """
    rows = -(-len(sizes) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(12, 2.9 * rows), layout="constrained", squeeze=False
    )
    for ax, (name, values) in zip(axes.flat, sizes.items(), strict=False):
        figures.histogram(values, ax, borders, f"size S, {name} (n = {len(values)})")
    for ax in axes.flat[len(sizes) :]:
        ax.set_axis_off()
    return figure
