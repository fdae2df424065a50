"""One forest of several groups below each other, narrow enough for a phone."""

from collections.abc import Collection, Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.charts import text
from vicrop.plots import BLUE, finish
from vicrop.run.stats import Estimate

WIDTH = 4.2
"""Inches: letters of 10 points are larger than 9 pixels where 340 pixels are there."""


def stacked(
    groups: Mapping[str, Mapping[str, Estimate]],
    xlabel: str,
    colors: Mapping[str, str],
    hollow: Collection[str] = (),
    null: float = 0,
) -> Figure:
    """Estimates as dots with intervals, a group below the other, over one axis.

    Args:
        groups: by title, topmost first, then by label: estimates.
        xlabel: with its unit.
        colors: by label; blue for others.
        hollow: titles of groups whose dots are.
        null: value of no effect.
    """
    titles, count = list(groups), sum(1 + len(rows) for rows in groups.values())
    size = (WIDTH, 0.9 + 0.22 * count)
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    names = [name for title in titles for name in (title, *groups[title])]
    y = iter(range(count))
    for title, rows in groups.items():
        ax.axhline(next(y) - 0.5, color="#dddddd", lw=0.8)
        for label, found in rows.items():
            color = colors.get(label, BLUE)
            face = "white" if title in hollow else color
            _dot(found, next(y), ax, color, face)
    ax.axvline(null, color="black", lw=0.8, linestyle=":")
    ax.set_yticks(range(count), [*map(text, names)])
    for name, tick in zip(names, ax.get_yticklabels(), strict=True):
        tick.set(weight="bold" if name in titles else "normal")
    ax.set(ylim=(count - 0.5, -0.5), xlabel=xlabel)
    ax.tick_params("y", length=0)
    finish(figure)
    return figure


def _dot(found: Estimate, y: int, ax: Axes, color: str, face: str) -> None:
    ax.plot([found.low, found.high], [y, y], color=color, lw=2, zorder=1)
    ax.plot(found.value, y, "o", color=color, mfc=face, zorder=2)
