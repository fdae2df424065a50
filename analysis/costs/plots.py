"""Figures of costs: ratios with intervals, and accuracy for the price."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import figures
from analysis.costs import counts
from vicrop import plots

MARKS = "osD^v<>Xp*hP"


def pair(frame: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Ratios of each case and map as dots with intervals, a panel a ratio.

    Args:
        frame: of ``costs.seconds``.
        names: of the ratios, columns.
    """
    figure, axes = plt.subplots(1, len(names), figsize=(11, 3.4), squeeze=False)
    for number, (ax, name) in enumerate(zip(axes[0], names, strict=True)):
        rows = {
            f"{row['model']}, {row['map']}": row[name]
            for row in frame.to_dict("records")
        }
        figures.forest(rows, ax, name, null=1)
        if number:
            ax.set_yticklabels([])
    figure.tight_layout()
    return figure


def fronts(frame: pd.DataFrame, cost: str) -> Figure:
    """Accuracy against a cost, a panel a model; the Pareto front as a line.

    Args:
        frame: of ``costs.with_accuracy``.
        cost: key of ``costs.COSTS``.
    """
    models = list(dict.fromkeys(frame.model))
    figure, axes = plt.subplots(
        1, len(models), figsize=(11, 3.6), sharey=True, squeeze=False
    )
    for ax, model in zip(axes[0], models, strict=True):
        front(frame[frame.model == model], cost, ax).set_title(model)
    axes[0, 0].set_ylabel("accuracy, %")
    _legend(figure, axes[0])
    return figure


def prices(frame: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Accuracy of one model's methods against several costs, a panel a cost."""
    figure, axes = plt.subplots(
        1, len(names), figsize=(11, 3.4), sharey=True, squeeze=False
    )
    for ax, cost in zip(axes[0], names, strict=True):
        front(frame, cost, ax)
    axes[0, 0].set_ylabel("accuracy, %")
    _legend(figure, axes[0])
    return figure


def front(frame: pd.DataFrame, cost: str, ax: Axes) -> Axes:
    """Methods as marks with intervals, those on the Pareto front joined."""
    on = counts.front(frame, cost)
    best = frame[on].sort_values(cost)
    heights = [100 * found.value for found in best.accuracy]
    ax.step(best[cost], heights, where="post", color=plots.GREY, lw=1, zorder=0)
    rows = zip(on, frame.iterrows(), strict=True)
    for number, (leads, (_, row)) in enumerate(rows):
        found = row.accuracy.times(100)
        # Wilson's interval of a mean of 0 or 1 ends there, less what floats lose.
        ends = [[max(found.value - found.low, 0)], [max(found.high - found.value, 0)]]
        ax.errorbar(
            row[cost],
            found.value,
            ends,
            fmt=MARKS[number % len(MARKS)],
            color=plt.get_cmap("tab10")(number % 10),
            mec="black" if leads else "none",
            capsize=2,
            lw=1,
            label=row.method,
        )
    ax.set_xlabel(counts.COSTS[cost])
    ax.set_xlim(0, 1.08 * float(np.max(frame[cost])))
    return ax


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One for all panels: the panel with most methods has all."""
    most = max(axes, key=lambda ax: len(ax.containers))
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.legend(
        *most.get_legend_handles_labels(),
        loc="lower center",
        ncols=6,
        frameon=False,
        fontsize="small",
    )


def speedups(frames: dict[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """How much faster many workers are, beside as many times.

    Args:
        frames: of ``scaling.simulate``, by what they are called.
        ax: where to draw.
    """
    ax = plt.figure(figsize=(5.5, 4)).add_subplot() if ax is None else ax
    most = max(frame["workers"].max() for frame in frames.values())
    ax.loglog([1, most], [1, most], color="0.6", linestyle=":", label="as many times")
    for mark, (name, frame) in zip(MARKS, frames.items(), strict=False):
        ax.loglog(frame["workers"], frame["times faster"], marker=mark, label=name)
    ticks = frames[next(iter(frames))]["workers"]
    ax.set_xticks(ticks, map(str, ticks))
    ax.set(xlabel="workers", ylabel="times faster than one worker")
    ax.legend(frameon=False)
    return ax
