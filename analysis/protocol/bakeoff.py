"""Every map under one protocol: what ``book/protocol.md`` asks, from records alone."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis import Models, Runs, costs, crops, estimates
from vicrop import boxes
from vicrop.methods import CONTROLS, MAPS
from vicrop.run import stats
from vicrop.run.stats import NOTHING, Estimate
from workflow import studies, tables

RIVAL, TOLD = "rel-att", "human-crop"
"""What every map is held against, and what is told where the object is."""
OVER, HELD = "FLOPs / told", "object in the crop"


def studied(models: Sequence[str], dataset: str, group: str) -> Models:
    """Runs of the long studies on objects of one size, by model and label."""
    found = {m: tables.of_group(studies.tables(m, dataset), group) for m in models}
    return {model: runs for model, runs in found.items() if runs}


def measured(models: Models) -> pd.DataFrame:
    """What the protocol asks of each map and control of one data set and size group.

    Returns:
        A row a model and run, all but the last an ``Estimate``: ``accuracy``; ``gain``
        over no crop; ``ahead``, of rel-att's answers; ``covered``, objects in the crop;
        ``covered_wrong``, of those answered wrongly without; ``overlap``, intersection
        over union with the human crop; ``failed``, questions without an answer.
    """
    rows = {
        (model, name): _measured(name, runs)
        for model, runs in models.items()
        for name in (*MAPS, *CONTROLS)
        if name in runs
    }
    index = pd.MultiIndex.from_tuples(rows, names=["model", "run"])
    return pd.DataFrame(list(rows.values()), index)


def _measured(name: str, runs: Runs) -> dict[str, object]:
    frame, made = runs[name], tables.summary(runs[name])
    pairs = [] if name == RIVAL else [(name, RIVAL)]
    return {
        "accuracy": made.score,
        "gain": made.gain,
        "ahead": next(iter(estimates.over(runs, pairs).values()), NOTHING),
        "covered": crops.share(frame, HELD),
        "covered_wrong": crops.share(frame[frame["plain_score"] < 0.5], HELD),
        "overlap": overlap(frame, runs[TOLD]) if TOLD in runs else NOTHING,
        "failed": made.errors,
    }


def overlap(frame: pd.DataFrame, human: pd.DataFrame) -> Estimate:
    """Mean intersection over union of a run's crops with the human ones."""
    both = frame.assign(human=human["box"]).dropna(subset=["box", "human"])
    pairs = zip(both["box"], both["human"], strict=True)
    return stats.bootstrap([boxes.iou(*pair) for pair in pairs], images=both["image"])


def wide(found: pd.DataFrame, columns: Mapping[str, str], what: str) -> pd.DataFrame:
    """One measure of several runs side by side, in percent, a row a model.

    Args:
        found: see ``measured``.
        columns: run by heading.
        what: column of ``found``.
    """
    rows, runs = found.index.unique("model"), list(columns.values())
    made = found[what].unstack("run").reindex(rows, columns=runs)
    made = made.map(lambda one: one if isinstance(one, Estimate) else NOTHING)
    text = made.map(lambda one: one.format(1, scale=100)).set_axis(
        list(columns), axis=1
    )
    text.insert(0, "n", made.map(lambda one: one.n).max(axis=1))
    return text.reset_index()


def spread(found: pd.DataFrame, columns: Mapping[str, str], what: str) -> pd.DataFrame:
    """As ``wide`` in one row: from the lowest to the highest of a model's seeds."""
    values = found[what].map(lambda one: 100 * one.value).groupby("run")
    ends = (
        values.min().map("{:.1f}".format) + " to " + values.max().map("{:.1f}".format)
    )
    told = {title: ends[name] for title, name in columns.items()}
    count = found.index.unique("model").size
    return pd.DataFrame([{"model": f"its {count} seeds, lowest to highest", **told}])


def prices(
    bench: costs.Measured, dataset: str, alike: Mapping[str, str]
) -> pd.DataFrame:
    """Language-model passes and FLOPs over told's, by model and run.

    Told is the same two answers with a crop that costs nothing to choose.

    Args:
        bench: what was measured.
        dataset: that it was measured on.
        alike: models that have another's shape, and so its costs.
    """
    frame = costs.methods(bench, dataset).rename(columns={"method": "run"})
    copies = [frame[frame["model"] == a].assign(model=b) for b, a in alike.items()]
    frame = pd.concat([frame, *copies], ignore_index=True)
    told = frame[frame["run"] == TOLD].set_index("model")["flops"]
    frame[OVER] = frame["flops"] / frame["model"].map(told)
    return frame.set_index(["model", "run"])[["passes", OVER]]


SHOWN = {
    "gain, points": ("gain", 1, True, 100),
    f"over {RIVAL}": ("ahead", 1, True, 100),
    "object in the crop, %": ("covered", 1, False, 100),
    "of those wrong, %": ("covered_wrong", 1, False, 100),
    "IoU": ("overlap", 2, False, 1),
}
"""Columns of the table of maps: a measure, and how it is written."""


def map_table(found: pd.DataFrame, price: pd.DataFrame) -> pd.DataFrame:
    """All that the protocol asks of every map, as a table to read; ``–``: not known.

    Args:
        found: see ``measured``.
        price: see ``prices``.
    """
    frame = found.drop("no-crop", level="run", errors="ignore").join(price)
    made = {"n": [one.n for one in frame["gain"]], "failed": frame["failed"]}
    for title, (name, *how) in SHOWN.items():
        made[title] = [one.format(*how) for one in frame[name]]
    for title, digits in (("passes", 1), (OVER, 2)):
        made[title] = ["–" if n != n else f"{n:.{digits}f}" for n in frame[title]]
    return pd.DataFrame(made, frame.index).reset_index()


def tally(found: pd.DataFrame) -> pd.DataFrame:
    """Each map over all models and data sets, the largest mean gain first.

    Args:
        found: of several data sets, which are the index's first level.

    Returns:
        ``map``, ``cells`` (models and data sets that have it), ``better`` and ``worse``
        (in which its difference to rel-att excludes 0), ``largest`` (in which no map's
        gain is larger), ``gain`` (mean over cells, points).
    """
    maps = found[found.index.get_level_values("run").isin(MAPS)]
    gain = maps["gain"].map(lambda one: 100 * one.value)
    said = maps["ahead"].map(estimates.verdict)
    cells = [name for name in maps.index.names if name != "run"]
    told = {
        "cells": gain.notna(),
        "better": said == "positive",
        "worse": said == "negative",
        "largest": gain == gain.groupby(cells).transform("max"),
    }
    counts = pd.DataFrame(told).groupby("run").sum()
    made = counts.assign(gain=gain.groupby("run").mean())
    return made.sort_values("gain", ascending=False).rename_axis("map").reset_index()
