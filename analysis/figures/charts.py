"""Charts of estimates and counts: each draws into an axes, or makes a figure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import FEWEST
from vicrop import plots
from vicrop.plots import BLUE, CROP, GREY, ORANGE, TRUTH, finish
from vicrop.run.stats import Estimate

Group = TypeVar("Group")

text = partial(plots.text, width=36, most=2)
"""A label of others; a longer one would leave a small chart no place."""

# Okabe and Ito's, apart for colour-blind readers: green is won, grey unchanged.
COLORS = ("#009e73", "#8fd8c0", "#cccccc", "#56b4e9", "#0072b2", "#e69f00", "#d55e00")
FAILED = "#222222"
DARK = ("#0072b2", FAILED)
"""Colours on which numbers are white."""


def panels(
    groups: Mapping[str, Group],
    draw: Callable[[Group, Axes], Any],
    size: tuple[float, float],
    name: Callable[..., Any] = Axes.set_title,
    columns: int = 0,
    **how: Any,
) -> Figure:
    """A panel a group, side by side.

    Args:
        groups: by what their panels are called.
        draw: (group, axes), draws one.
        size: (width, height) of the figure, inches.
        name: how a panel is given its name.
        columns: after which a new line begins; 0 for all in one.
        how: for ``plt.subplots``, such as ``sharey``.
    """
    columns = columns or len(groups)
    lines = -(-len(groups) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=size, squeeze=False, layout="constrained", **how
    )
    for ax, (title, group) in zip(axes.flat, groups.items(), strict=False):
        draw(group, ax)
        name(ax, text(title), fontsize="medium")
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    finish(figure)
    return figure


def _done(ax: Axes) -> Axes:
    """Axes with their labels written, as the functions here give them back."""
    finish(ax.figure)
    return ax


def in_percent(shares: Any) -> Any:
    """Estimates of shares in percent: one, or mappings and lists of them, as deep.

    >>> in_percent({"a": [Estimate(0.5, 0.25, 0.75, 9)]})
    {'a': [Estimate(value=50.0, low=25.0, high=75.0, n=9)]}
    """
    if isinstance(shares, Estimate):
        return shares.times(100)
    if isinstance(shares, Mapping):
        return {key: in_percent(found) for key, found in shares.items()}
    return [in_percent(found) for found in shares]


# Estimates.


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
    for number, (name, estimates) in enumerate(in_percent(series).items()):
        x = np.arange(len(groups)) + (number - (len(series) - 1) / 2) * width
        y = np.array([e.value for e in estimates])
        ends = np.array([[e.low, e.high] for e in estimates]).T
        ax.bar(x, y, width * 0.9, label=text(name), color=colors[number % 4])
        ax.errorbar(x, y, abs(ends - y), fmt="none", color="black", capsize=3, lw=1)
    ax.set_xticks(range(len(groups)), [*map(text, groups)])
    ax.set_ylabel(ylabel)
    ax.legend(frameon=False, ncols=len(series), loc="upper left")
    ax.set_ylim(0, 118)  # room for the legend
    ax.set_yticks(range(0, 101, 20))
    return _done(ax)


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
    ax.set_yticks(range(len(rows)), [*map(text, rows)])
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    return _done(ax)


def compared(
    groups: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    hollow: Collection[str] = (),
    null: float | None = 0,
) -> Figure:
    """Estimates as dots with intervals, a mark a model, a panel a measure.

    Args:
        groups: by measure with its unit, then by model, four at most, then by row; what
            a measure lacks is left blank.
        hollow: models whose marks are.
        null: value of no effect, marked.
    """
    made = [found for series in groups.values() for found in series.items()]
    rows = list(dict.fromkeys(name for _, found in made for name in found))
    models = list(dict.fromkeys(model for model, _ in made))
    draw = partial(_marks, rows, models, hollow, null)
    size = (
        1.3 + max(2.6, 1.8 * len(groups)),
        1.2 + 0.11 * len(rows) * (1 + len(models)),
    )
    figure = panels(groups, draw, size, Axes.set_xlabel, sharey=True)
    figure.axes[0].set_yticks(
        range(len(rows)), [plots.text(row, 22, 3) for row in rows]
    )
    names = figure.axes[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=2, frameon=False)
    finish(figure)
    return figure


def _marks(
    rows: Sequence[str],
    models: Sequence[str],
    hollow: Collection[str],
    null: float | None,
    series: Mapping[str, Mapping[str, Estimate]],
    ax: Axes,
) -> None:
    """One panel of ``compared``."""
    for number, model in enumerate(models):
        color, mark = (BLUE, ORANGE, TRUTH, GREY)[number % 4], "osD^"[number % 4]
        shift = 0.19 * (number - (len(models) - 1) / 2)
        face = "white" if model in hollow else color
        found = series.get(model, {})
        y = [rows.index(name) + shift for name in found]
        for place, one in zip(y, found.values(), strict=True):
            ax.plot([one.low, one.high], [place, place], color=color, lw=1.2)
        x = [one.value for one in found.values()]
        ax.plot(x, y, mark, color=color, mfc=face, ms=5, label=text(model))
    for border in range(1, len(rows)):
        ax.axhline(border - 0.5, color=GREY, lw=0.3)
    if null is not None:
        ax.axvline(null, color="black", lw=0.8, linestyle=":")
    ax.set_ylim(len(rows) - 0.5, -0.5)


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
        y = [e.value for e in estimates]
        ax.plot(x, y, "o-", color=color, label=text(name))
        low, high = [e.low for e in estimates], [e.high for e in estimates]
        ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    if null is not None:
        ax.axhline(null, color="black", lw=0.8, linestyle=":")
    if chosen is not None:
        ax.axvline(chosen, color=CROP, lw=0.8, linestyle="--", label="map's layer")
    ax.set_xticks(range(max(map(len, series.values()))))
    ax.set(xlabel="layer, from 0", ylabel=ylabel)
    ax.legend(frameon=False)
    return _done(ax)


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

    def draw(model: str, ax: Axes) -> None:
        series, own = groups[model], language_layers[model]
        layers(series, ax, chosen[model], ylabel, null)
        if list(series) == [model]:  # the title says so
            ax.legend().remove()
        ax.label_outer()
        count = max(map(len, series.values()))
        if count > own:
            ax.set_xlabel(f"l = m + {own}k")
            for border in range(own, count, own):
                ax.axvline(border - 0.5, color=GREY, lw=0.6)

    named, size = {model: model for model in groups}, (4.2, 2.7 * -(-len(groups) // 2))
    figure = panels(named, draw, size, columns=min(2, len(named)), sharey=True)
    low, high = figure.axes[0].get_ylim()
    figure.axes[0].set_ylim(low, low + 1.5 * (high - low))  # room for the legends
    return figure


def ladders(groups: Mapping[str, Mapping[str, Estimate]], xlabel: str) -> Figure:
    """Values that follow each other as steps, a panel a group.

    Args:
        groups: by title, then by step, first at the top: estimates in [0, 1].
        xlabel: with its unit, percent.
    """
    size = (4.2, 2.4 * -(-len(groups) // 2))
    figure = panels(
        in_percent(groups), ladder, size, columns=min(2, len(groups)), sharey=True
    )
    figure.supxlabel(xlabel, fontsize="medium")
    return figure


def ladder(rungs: Mapping[str, Estimate], ax: Axes) -> Axes:
    """One panel of ``ladders``: what each step adds stands on the step before."""
    values = [found.value for found in rungs.values()]
    before = [0.0, *values[:-1]]
    for y, (start, end) in enumerate(zip(before, values, strict=True)):
        won = BLUE if end >= start else ORANGE
        ax.barh(y, end - start, 0.7, start, color=won if y else GREY)
        if y:
            change = f"{end - start:+.1f}".replace("-", "−")
            ax.text(162, y, change, ha="right", va="center")
            ax.plot([start, start], [y - 0.65, y + 0.35], color="black", lw=0.8)
    for y, found in enumerate(rungs.values()):
        ax.plot([found.low, found.high], [y, y], color="black", lw=1.5)
    ax.set_yticks(range(len(values)), [*map(text, rungs)])
    ax.set(xlim=(0, 166), ylim=(len(values) - 0.5, -0.5), xticks=(0, 50, 100))
    return ax


def _slanted(ax: Axes, names: Sequence[str]) -> None:
    """Labels of the x axis that may be longer than what they stand under is wide."""
    ax.set_xticks(range(len(names)), [*map(text, names)], rotation=30)
    for label in ax.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")


def _whiskers(
    x: Sequence[float], estimates: Sequence[Estimate], ax: Axes, color: str
) -> None:
    for place, found in zip(x, estimates, strict=True):
        faint = 0.35 if found.n < FEWEST else 1
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
    size = (4.2, 3 * -(-len(groups) // 2))
    figure = panels(groups, bins, size, columns=min(2, len(groups)), sharey=True)
    figure.supylabel(ylabel, fontsize="medium")
    figure.supxlabel(xlabel, fontsize="medium")
    return figure


def bins(series: Mapping[str, Mapping[str, Estimate]], ax: Axes) -> Axes:
    """One panel of ``binned``; bins of few are hollow, of no sample left blank."""
    colors = (BLUE, ORANGE, GREY, TRUTH)
    names = list(dict.fromkeys(name for found in series.values() for name in found))
    gap = 0.6 / max(len(series), 1)
    for number, (name, found) in enumerate(series.items()):
        shift = (number - (len(series) - 1) / 2) * gap
        x = [names.index(key) + shift for key in found]
        _whiskers(x, list(found.values()), ax, colors[number % 4])
        color, mark = colors[number % 4], "os^D"[number % 4]
        faces = ["white" if one.n < FEWEST else color for one in found.values()]
        y = [one.value for one in found.values()]
        ax.scatter(x, y, c=faces, edgecolors=color, marker=mark, zorder=3)
        ax.scatter([], [], color=color, marker=mark, label=text(name))
    ax.axhline(0, color="black", lw=0.8, linestyle=":")
    _slanted(ax, names)
    if series:
        ax.legend(frameon=False, fontsize="small")
    return ax


# Counts.


def stacks(groups: Mapping[str, pd.DataFrame], xlabel: str) -> Figure:
    """Counts as stacked bars in percent of their row, a panel a group.

    Args:
        groups: by title: a row a bar (topmost first), a column a part; the columns are
            the same in all groups, eight at most.
        xlabel: with its unit.
    """
    most = max(map(len, groups.values()))
    figure = panels(groups, stack, (2 + 3 * len(groups), 1.8 + 0.36 * most))
    for ax in figure.axes:
        ax.set_xlabel(xlabel)
    names = figure.axes[0].get_legend_handles_labels()
    columns = min(3, 1 + len(groups))
    figure.legend(*names, loc="outside lower center", ncols=columns, frameon=False)
    finish(figure)
    return figure


def stack(counts: pd.DataFrame, ax: Axes) -> Axes:
    """One panel of ``stacks``: numbers are counts, lengths are percent."""
    labels = [text(f"{name}, n = {n}") for name, n in counts.sum(axis=1).items()]
    places = range(len(counts))
    percent = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    left = np.zeros(len(counts))
    for color, name in zip((*COLORS, FAILED), counts.columns, strict=False):
        width = percent[name].to_numpy()
        drawn = ax.barh(places, width, left=left, color=color, label=text(name))
        shown = np.where(width >= 6, counts[name].astype(str), "")
        ink = "white" if color in DARK else "black"
        ax.bar_label(drawn, shown, label_type="center", color=ink, fontsize="small")
        left += width
    ax.set_yticks(places, labels)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    return ax


def shares(counts: pd.DataFrame, ax: Axes, xlabel: str) -> Axes:
    """Counts as parts of a bar each, with their numbers.

    Args:
        counts: a row for each bar, topmost first; a column for each of up to 3 parts.
        ax: where to draw.
        xlabel: what is counted.
    """
    left, places = np.zeros(len(counts)), range(len(counts))
    colors = {BLUE: "white", GREY: "white", ORANGE: "black"}
    for (color, ink), (name, part) in zip(colors.items(), counts.items(), strict=False):
        drawn = ax.barh(places, part, left=left, color=color, label=text(name))
        ax.bar_label(drawn, [n or "" for n in part], label_type="center", color=ink)
        left += part.to_numpy()
    ax.set_yticks(places, [*map(text, counts.index)])
    ax.invert_yaxis()
    ax.set(xlabel=xlabel)
    ax.legend(frameon=False, ncols=len(counts.columns), loc="lower left",
              bbox_to_anchor=(0, 1))  # fmt: skip
    return _done(ax)


def cells(groups: Mapping[str, pd.DataFrame], xlabel: str) -> Figure:
    """Ratios as numbered cells, the bluer above 1 and the redder below, a group each.

    Args:
        groups: by title: ratios, a row and a column each thing.
        xlabel: what the columns are.
    """
    most = max(map(len, groups.values()))
    size = (0.4 + 1.9 * len(groups), 0.8 + 0.19 * most)
    figure = panels(groups, _numbered, size)
    figure.supxlabel(xlabel, fontsize="medium")
    return figure


def _numbered(ratios: pd.DataFrame, ax: Axes) -> None:
    """One panel of ``cells``."""
    doublings = np.log2(ratios.clip(2**-6, 2**6).to_numpy())
    ax.imshow(doublings, cmap="RdBu", vmin=-8, vmax=8, aspect="auto")
    for (row, column), value in np.ndenumerate(ratios.to_numpy()):
        told = f"{value:.0f}" if value >= 10 else f"{value:.1f}"
        ink = "white" if abs(doublings[row, column]) > 5 else "black"
        ax.text(column, row, told, ha="center", va="center", color=ink, size="small")
    ax.set_xticks(range(ratios.shape[1]), [*map(str, ratios)])
    ax.set_yticks(range(len(ratios)), [*map(text, ratios.index)], fontsize="small")


def histogram(
    values: Sequence[float], ax: Axes, marks: Sequence[float], xlabel: str
) -> Axes:
    """Counts over a logarithmic axis, with borders marked."""
    edges = np.geomspace(min(values), max(values), 31)
    ax.hist(values, edges.tolist(), color=BLUE)
    for mark in marks:
        ax.axvline(mark, color=CROP, linestyle="--", lw=1)
    ax.set_xscale("log")
    ax.set(xlabel=text(xlabel), ylabel="questions")
    return _done(ax)


def size_histograms(
    sizes: Mapping[str, Sequence[float]], borders: Sequence[float], columns: int = 3
) -> Figure:
    """Object sizes of several data sets, a histogram each.

    Args:
        sizes: S of every question with a box, by data set.
        borders: of the size groups, marked.
        columns: of the figure.
    """
    told = {f"size S, {name} (n = {len(part)})": part for name, part in sizes.items()}
    draw = partial(histogram, marks=borders, xlabel="")
    size = (12, 2.9 * -(-len(sizes) // columns))
    return panels(told, draw, size, Axes.set_xlabel, columns)


def curves(
    history: Sequence[Mapping[str, float]], names: Sequence[str], ax: Axes
) -> Axes:
    """Training curves: one line a metric over the steps; gaps where none was taken."""
    for name in names:
        points = [(row["step"], row[name]) for row in history if name in row]
        ax.plot(*zip(*points, strict=True), label=text(name), lw=1.2)
    ax.set(xlabel="training step")
    ax.legend(frameon=False, fontsize="small")
    return _done(ax)


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    ax: Axes,
    xlabel: str,
    ylabel: str,
    marks: Mapping[str, tuple[float, float]] | None = None,
) -> Axes:
    """Numbers over others as steps, and single points beside them.

    Args:
        series: by legend entry, up to six: x in order, and y.
        ax: where to draw.
        xlabel: with its unit.
        ylabel: with its unit.
        marks: points by legend entry, up to six.
    """
    for color, (name, (x, y)) in zip("045623", series.items(), strict=False):
        ax.step(x, y, where="post", color=COLORS[int(color)], lw=1, label=text(name))
    for mark, (name, (left, top)) in zip("os^D*P", (marks or {}).items(), strict=False):
        ax.plot(left, top, mark, color="white", mec="black", ms=8, label=text(name))
    ax.set(xlabel=xlabel, ylabel=ylabel)
    return _done(ax)
