"""Figures of what a whole is made of: diagnoses, steps of a gain, bins."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vicrop import plots
from vicrop.run.records import Sample
from vicrop.run.stats import Estimate
from vicrop.types import Answer

# Okabe and Ito's, apart for colour-blind readers: green is won, grey unchanged.
COLORS = ("#009e73", "#8fd8c0", "#cccccc", "#56b4e9", "#0072b2", "#e69f00", "#d55e00")
FAILED = "#222222"
DARK = ("#0072b2", FAILED)
"""Colours on which numbers are white."""
FEW = 10
"""Samples below which an estimate is drawn hollow: its interval says little."""


def stacks(groups: Mapping[str, pd.DataFrame], xlabel: str) -> Figure:
    """Counts as stacked bars in percent of their row, a panel a group.

    Args:
        groups: by title: a row a bar (topmost first), a column a part; the columns are
            the same in all groups, eight at most.
        xlabel: with its unit.
    """
    most = max(map(len, groups.values()))
    figure, axes = plt.subplots(
        1,
        len(groups),
        figsize=(2 + 3 * len(groups), 1.8 + 0.36 * most),
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, counts) in zip(axes[0], groups.items(), strict=True):
        stack(counts, ax).set_title(title, fontsize="medium")
        ax.set_xlabel(xlabel)
    names = axes[0, 0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def stack(counts: pd.DataFrame, ax: Axes) -> Axes:
    """One panel of ``stacks``: numbers are counts, lengths are percent."""
    labels = [f"{name}, n = {n}" for name, n in counts.sum(axis=1).items()]
    percent = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    left = np.zeros(len(counts))
    for color, name in zip((*COLORS, FAILED), counts.columns, strict=False):
        width = percent[name].to_numpy()
        drawn = ax.barh(labels, width, left=left, color=color, label=str(name))
        shown = [
            f"{n}" if part >= 6 else ""
            for n, part in zip(counts[name], width, strict=True)
        ]
        ink = "white" if color in DARK else "black"
        ax.bar_label(drawn, shown, label_type="center", color=ink, fontsize="small")
        left += width
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    return ax


def heat(groups: Mapping[str, pd.DataFrame]) -> Figure:
    """Counts as tables whose cells are the darker the larger their share, a group each.

    Args:
        groups: by title: counts, a row and a column each thing.
    """
    figure, axes = plt.subplots(
        1,
        len(groups),
        figsize=(1.5 + 3.4 * len(groups), 2.8),
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, counts) in zip(axes[0], groups.items(), strict=True):
        numbers = counts.to_numpy(int)
        n = int(numbers.sum())
        share = 100 * numbers / max(n, 1)
        rows, columns = (np.arange(count + 1) - 0.5 for count in share.shape)
        ax.pcolormesh(columns, rows, share, cmap="Blues", vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(share):
            text = f"{numbers[row, column]}\n{value:.0f} %"
            ink = "white" if value > 60 else "black"
            ax.text(column, row, text, ha="center", va="center", color=ink)
        _slanted(ax, list(counts.columns))
        ax.set_yticks(range(counts.shape[0]), list(counts.index))
        ax.invert_yaxis()
        ax.set_title(f"{title}, n = {n}", fontsize="medium")
    return figure


def ladders(groups: Mapping[str, Mapping[str, Estimate]], ylabel: str) -> Figure:
    """Values that follow each other as steps, a panel a group.

    Args:
        groups: by title, then by step, lowest first: estimates in [0, 1].
        ylabel: with its unit, percent.
    """
    figure, axes = plt.subplots(
        1,
        len(groups),
        figsize=(1 + 3.2 * len(groups), 3.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, rungs) in zip(axes[0], groups.items(), strict=True):
        ladder(rungs, ax).set_title(title, fontsize="medium")
    axes[0, 0].set_ylabel(ylabel)
    return figure


def ladder(rungs: Mapping[str, Estimate], ax: Axes) -> Axes:
    """One panel of ``ladders``: what each step adds stands on the step before."""
    values = [100 * found.value for found in rungs.values()]
    before = [0.0, *values[:-1]]
    for x, (start, end) in enumerate(zip(before, values, strict=True)):
        won = plots.BLUE if end >= start else plots.ORANGE
        ax.bar(x, end - start, 0.7, start, color=won if x else plots.GREY)
        if x:
            text = f"{end - start:+.1f}".replace("-", "−")
            ax.text(x, 2, text, ha="center", fontsize="small")
            ax.plot([x - 0.65, x + 0.35], [start, start], color="black", lw=0.8)
    _whiskers(range(len(values)), [e.times(100) for e in rungs.values()], ax, "black")
    _slanted(ax, list(rungs))
    ax.set_ylim(0, 105)
    return ax


def _slanted(ax: Axes, names: Sequence[str]) -> None:
    """Labels of the x axis that may be longer than what they stand under is wide."""
    ax.set_xticks(range(len(names)), names, rotation=30)
    for label in ax.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")


def _whiskers(
    x: Sequence[float], estimates: Sequence[Estimate], ax: Axes, color: str
) -> None:
    for place, found in zip(x, estimates, strict=True):
        faint = 0.35 if found.n < FEW else 1
        ends = [found.low, found.high]
        ax.plot([place, place], ends, color=color, lw=1.5, alpha=faint)


def binned(
    groups: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Estimates by bin as dots with intervals, a panel a group, a colour a series.

    Args:
        groups: by title, then by legend entry (four at most), then by bin, in order.
        xlabel: what the bins are of.
        ylabel: with its unit.
    """
    figure, axes = plt.subplots(
        1,
        len(groups),
        figsize=(1 + 3.4 * len(groups), 3.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (title, series) in zip(axes[0], groups.items(), strict=True):
        bins(series, ax).set_title(title, fontsize="medium")
    axes[0, 0].set_ylabel(ylabel)
    figure.supxlabel(xlabel, fontsize="medium")
    return figure


def in_points(
    groups: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Binned estimates in points, for ``binned``."""
    return {
        title: {
            name: {key: one.times(100) for key, one in found.items()}
            for name, found in series.items()
        }
        for title, series in groups.items()
    }


def bins(series: Mapping[str, Mapping[str, Estimate]], ax: Axes) -> Axes:
    """One panel of ``binned``; bins of ``FEW`` are hollow, of no sample left blank."""
    colors = (plots.BLUE, plots.ORANGE, plots.GREY, plots.TRUTH)
    names = list(dict.fromkeys(name for found in series.values() for name in found))
    gap = 0.6 / max(len(series), 1)
    for number, (name, found) in enumerate(series.items()):
        shift = (number - (len(series) - 1) / 2) * gap
        x = [names.index(key) + shift for key in found]
        _whiskers(x, list(found.values()), ax, colors[number % 4])
        color, mark = colors[number % 4], "os^D"[number % 4]
        faces = ["white" if one.n < FEW else color for one in found.values()]
        y = [one.value for one in found.values()]
        ax.scatter(x, y, c=faces, edgecolors=color, marker=mark, zorder=3)
        ax.scatter([], [], color=color, marker=mark, label=name)
    ax.axhline(0, color="black", lw=0.8, linestyle=":")
    _slanted(ax, names)
    if series:
        ax.legend(frameon=False, fontsize="small")
    return ax


def gallery(
    shown: Mapping[str, tuple[Image.Image, Answer, Sample]], none: str
) -> Figure:
    """``plots.gallery`` with labelled rows, or a line that says that there are none.

    Args:
        shown: by label, as ``slices.replays`` makes it; may be empty.
        none: what to say then.
    """
    if shown:
        figure = plots.gallery(list(shown.values()))
        for label, ax in zip(shown, figure.axes[::3], strict=True):
            ax.set_ylabel(label)
        return figure
    figure, ax = plt.subplots(figsize=(6, 0.6))
    ax.set_axis_off()  # Jupyter shows no figure without axes
    ax.text(0.5, 0.5, none, ha="center", va="center")
    return figure
