"""When to crop at all: what a gate's feature and threshold give, from records alone."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import figures
from vicrop.gate import Gate
from vicrop.run import stats
from vicrop.run.stats import Estimate


def answered(frame: pd.DataFrame) -> pd.DataFrame:
    """The questions with both scores and features."""
    kept = frame.dropna(subset=["score", "plain_score"])
    return kept[kept["features"].map(bool)]


def repaired(frame: pd.DataFrame) -> pd.Series:
    """Whether each question is wrong without a crop and right with it."""
    return (frame["plain_score"] < 0.5) & (frame["score"] >= 0.5)


def calibrated(calibration: pd.DataFrame, feature: str, alpha: float) -> Gate:
    """The gate that a run on validation data gives (see ``Gate.calibrated``)."""
    kept = answered(calibration)
    values = [one[feature] for one in kept[repaired(kept)]["features"]]
    return Gate.calibrated(feature, values, alpha)


def traded(frame: pd.DataFrame, feature: str) -> pd.DataFrame:
    """What every threshold of a feature gives, from cropping none to cropping all.

    Returns:
        ``cropped`` (share of questions), ``accuracy`` of all answers, ``risk`` (share
        of the plain answers kept that are wrong; NaN of none). Equal values are cropped
        together.
    """
    kept = answered(frame)
    values = kept["features"].map(lambda one: one[feature]).to_numpy(float)
    order = np.argsort(values, kind="stable")
    plain, score = (kept[name].to_numpy()[order] for name in ("plain_score", "score"))
    n, counts = len(kept), np.arange(len(kept) + 1)
    right = plain.sum() + np.append(0, np.cumsum(score - plain))
    risk = np.append(1 - plain[::-1].cumsum()[::-1] / (n - counts[:-1]), np.nan)
    ends = np.concatenate([[True], np.diff(values[order]) > 0, [True]])
    made = {"cropped": counts / n, "accuracy": right / n, "risk": risk}
    return pd.DataFrame(made)[ends].reset_index(drop=True)


def outcomes(frame: pd.DataFrame, gate: Gate) -> dict[str, dict[str, Estimate]]:
    """Never cropping, the gate, always cropping, and the oracle of both answers.

    Returns:
        By way: ``accuracy``; ``cropped``, share of questions; ``missed``, share of
        repairable answers that are kept; ``gain`` over always, paired.
    """
    kept = answered(frame)
    score, plain, images = kept["score"], kept["plain_score"], kept["image"]
    mends = repaired(kept)
    ways = {
        "never": pd.Series(False, kept.index),
        "gate": kept["features"].map(gate.crops).astype(bool),
        "always": pd.Series(True, kept.index),
        "oracle": score > plain,
    }
    return {
        way: {
            "accuracy": stats.accuracy(plain.mask(crop, score), images),
            "cropped": stats.accuracy(crop, images),
            "missed": stats.accuracy(~crop[mends], images[mends]),
            "gain": stats.gain(score, plain.mask(crop, score), images),
        }
        for way, crop in ways.items()
    }


def table(found: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> pd.DataFrame:
    """Ways of several models or groups as a table to read, in percent and points."""
    rows = []
    for model, ways in found.items():
        for way, one in ways.items():
            named = {"model": model, "crops": way, "n": one["accuracy"].n}
            for name in ("accuracy", "cropped", "missed"):
                named[f"{name}, %"] = one[name].format(1, scale=100)
            gain = one["gain"].format(1, sign=True, scale=100)
            rows.append({**named, "over always, points": gain})
    return pd.DataFrame(rows)


def panels(
    groups: Mapping[str, tuple[Mapping, Mapping]], xlabel: str, ylabel: str
) -> Figure:
    """Curves and marks of ``figures.lines``, a panel a model; one legend."""
    figure = figures.panels(
        groups,
        lambda one, ax: figures.lines(one[0], ax, xlabel, ylabel, one[1]).label_outer(),
        (5.2, 0.9 + 2.1 * -(-len(groups) // 2)),
        columns=2,
        sharex=True,
        sharey=True,
    )
    names = figure.axes[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=3, frameon=False)
    return figure
