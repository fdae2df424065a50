"""What is measured of a claim: tables in, an estimate out.

Differences of accuracy, in points, unless said.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis import looking
from vicrop.run import stats
from vicrop.run.stats import Estimate


def gain(run: pd.DataFrame) -> Estimate:
    """Paired gain of a method over the image alone."""
    return stats.gain(run["plain_score"], run["score"]).times(100)


def fall(small: pd.DataFrame, large: pd.DataFrame) -> Estimate:
    """How much more is right of large objects than of small ones, image alone."""
    one, other = (frame["plain_score"].to_numpy() for frame in (large, small))
    return stats.between(one, other).times(100)


def gains_apart(one: pd.DataFrame, other: pd.DataFrame) -> Estimate:
    """A gain on one group of questions less that on another group."""
    first, second = ((f["score"] - f["plain_score"]).to_numpy() for f in (one, other))
    return stats.between(first, second).times(100)


def over(one: pd.DataFrame, other: pd.DataFrame) -> Estimate:
    """Paired difference of two methods' answers to the same questions."""
    return stats.difference(other["score"], one["score"]).times(100)


def gains_over(one: pd.DataFrame, other: pd.DataFrame) -> Estimate:
    """Paired difference of two models' gains on the same questions."""
    ours, theirs = (f["score"] - f["plain_score"] for f in (one, other))
    return stats.difference(theirs, ours).times(100)


def found_when_wrong(run: pd.DataFrame, control: pd.DataFrame) -> Estimate:
    """How much more often a crop than a control's holds what was answered wrongly."""
    wrong = run[run["plain_score"] < 0.5]
    held, by_chance = (
        (f["coverage"] >= looking.COVERED).astype(float) for f in (wrong, control)
    )
    return stats.difference(by_chance, held).times(100)


def read_when_found(
    run: pd.DataFrame, crop: pd.DataFrame, control: pd.DataFrame
) -> Estimate:
    """What a true crop repairs beyond a second image, where the map was right already.

    On questions that were answered wrongly although the run's crop holds the object.
    """
    missed = run[(run["plain_score"] < 0.5) & (run["coverage"] >= looking.COVERED)]
    one, other = (f["score"].reindex(missed.index) for f in (crop, control))
    return stats.difference(other, one).times(100)


def missed_when_left(run: pd.DataFrame) -> Estimate:
    """Of what a method leaves wrong, the share whose crop missed the object, percent.

    Those without a crop are left out.
    """
    left = run[(run["score"] < 0.5) & run["coverage"].notna()]
    return stats.accuracy(left["coverage"] < looking.COVERED).times(100)


def oracle(*runs: pd.DataFrame) -> Estimate:
    """How much the best answer of several methods beats the best method's."""
    scores = pd.concat([run["score"] for run in runs], axis=1, join="inner").dropna()
    best = scores.iloc[:, int(scores.mean().to_numpy().argmax())]
    return stats.gain(best, scores.max(axis=1)).times(100)


def named(one: str, other: str, column: str = "score") -> Callable[..., Estimate]:
    """Measure of a probe: paired difference of one name over another, points."""

    def measure(probe: pd.DataFrame) -> Estimate:
        wide = probe.pivot(index="id", columns="name", values=column)
        return stats.difference(wide[other], wide[one]).times(100)

    return measure


def mean_ratio(layer: pd.DataFrame) -> Estimate:
    """Mean attention ratio, as the paper's Figure 3 has it."""
    return stats.bootstrap(layer["ratio"].dropna())


def wrong_over_right(layer: pd.DataFrame) -> Estimate:
    """Difference of the mean base-2 logarithm of the ratio, wrong minus right."""
    logs = np.log2(layer["ratio"].where(layer["ratio"] > 0))
    wrong, right = (logs[layer["answer"] == n].dropna() for n in ("wrong", "right"))
    return stats.between(wrong, right)


def layers_above(layers: pd.DataFrame) -> Estimate:
    """Mean share of layers whose ratio of a question is above 1, percent."""
    known = layers.dropna(subset=["ratio"])
    shares = (known["ratio"] > 1).groupby(known["id"]).mean()
    return stats.bootstrap(shares.to_numpy()).times(100)


def answer_tokens(cost: pd.DataFrame) -> Estimate:
    """What a map and its second answer add to a plain one, in answer tokens' time."""
    both, plain = (cost["tokens"][cost["what"] == n] for n in ("map", "plain"))
    return stats.between(both, plain, np.median)
