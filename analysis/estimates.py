"""Estimates of several runs or groups at once, and what they say, as tables to read."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from vicrop.run import stats
from vicrop.run.stats import Estimate
from workflow.tables import summary

UNTOLD = "cannot be told"
"""The verdict on an estimate without an interval."""


def verdict(estimate: Estimate, null: float = 0) -> str:
    """``positive``, ``negative`` or ``none``: on which side of ``null`` it lies."""
    if np.isnan(estimate.low):
        return UNTOLD
    if not estimate.excludes(null):
        return "none"
    return "positive" if estimate.value > null else "negative"


def sides(found: Iterable[Estimate]) -> list[str]:
    """Verdicts to be counted: what cannot be told is not told apart from none."""
    said = [verdict(one) for one in found]
    return ["none" if one == UNTOLD else one for one in said]


FRACTIONS = {
    "one in twenty": 1 / 20,
    "one in ten": 1 / 10,
    "one in eight": 1 / 8,
    "one in six": 1 / 6,
    "one in four": 1 / 4,
    "one in three": 1 / 3,
    "one in two": 1 / 2,
    "two in three": 2 / 3,
    "three in four": 3 / 4,
    "five in six": 5 / 6,
    "nine in ten": 9 / 10,
    "nineteen in twenty": 19 / 20,
}


def in_words(share: float) -> str:
    """About which part of all a share is; “none” and “all” are exact.

    >>> in_words(0.63), in_words(0.001), in_words(1)
    ('two in three', 'one in twenty', 'all')
    """
    if share in (0, 1):
        return "all" if share else "none"
    return min(FRACTIONS, key=lambda name: abs(FRACTIONS[name] - share))


def spread(shares: Iterable[float | None]) -> str:
    """The least and the greatest of some shares in words; those not there left out.

    >>> spread([0.18, 0.84, None]), spread([0.5]), spread([])
    ('one in six to five in six', 'one in two', '(not measured here)')
    """
    there = sorted(one for one in shares if one is not None and one == one)
    ends = [in_words(one) for one in (*there[:1], *there[-1:])]
    return " to ".join(dict.fromkeys(ends)) or "(not measured here)"


def shown(count: int, total: int) -> str:
    """In how many of all models something holds, with a sign.

    >>> shown(4, 4), shown(3, 4), shown(0, 4)
    ('✓ in 4 of 4 models', '◐ in 3 of 4 models', '○ in 0 of 4 models')
    """
    sign = "○" if not count else "✓" if count == total else "◐"
    return f"{sign} in {count} of {total} models"


def told(count: int, total: int) -> str:
    """A yes or no for something that holds in so many of all models."""
    if count in (0, total):
        return "Yes" if count else "Not here"
    return "Mostly" if 2 * count > total else "Sometimes"


def repaired(frame: pd.DataFrame) -> float:
    """Share of a run's answers, wrong without a crop, that are right with it.

    NaN where none was wrong, or the run is empty.
    """
    wrong = frame[(frame["plain_score"] < 0.5) & frame["score"].notna()]
    return float((wrong["score"] >= 0.5).mean())


def of_column(
    frame: pd.DataFrame, column: str, statistic: Callable = np.mean
) -> Estimate:
    """A statistic of a column, bootstrapped over pictures; missing values left out.

    Args:
        frame: with the ``image`` of each row.
        column: of numbers.
        statistic: such as ``np.median``.
    """
    kept = frame.dropna(subset=[column])
    return stats.bootstrap(kept[column], statistic, images=kept["image"])


def between(one: pd.DataFrame, other: pd.DataFrame, column: str) -> Estimate:
    """Difference of two groups' means, pictures drawn with their samples of both.

    Args:
        one: with ``image``; rows without a value are left out.
        other: of other samples, perhaps about the same pictures; it is subtracted.
        column: of numbers.

    Returns:
        An ``Estimate`` whose n is of both groups; of nothing if one is empty.
    """
    groups = [frame.dropna(subset=[column]) for frame in (one, other)]
    if any(group.empty for group in groups):
        return stats.NOTHING
    both = pd.concat(groups)
    member = np.repeat(np.eye(2), [len(group) for group in groups], axis=0)
    parts = np.hstack([member * both[[column]].to_numpy(float), member])
    drawn = stats.sums(parts, both["image"])
    drawn = drawn[(drawn[:, 2:] > 0).all(1)]  # some of both groups
    first, second = (group[column].mean() for group in groups)
    means = drawn[:, :2] / drawn[:, 2:]
    return stats.interval(first - second, means[:, 0] - means[:, 1], len(both))


def report(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Runs as a table to read: percentages with 95 % intervals, gains in points.

    Args:
        frames: tables of runs (see ``results.table``) by what they are called.
    """
    rows = []
    for name, frame in frames.items():
        made = summary(frame)
        rows.append(
            {
                "run": name,
                "n": made.n,
                "errors": made.errors,
                "no crop, %": made.plain.format(1, scale=100),
                "answer, %": made.score.format(1, scale=100),
                "gain, points": made.gain.format(1, sign=True, scale=100),
                "fixed": made.changes.fixed,
                "broken": made.changes.broken,
                "p": f"{made.changes.p:.1g}",
            }
        )
    return pd.DataFrame(rows)


def reports(runs: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """``report`` of several models, one below the other."""
    parts = []
    for model, frames in runs.items():
        part = report(frames)
        part.insert(0, "model", model)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def gains(frames: Mapping[str, pd.DataFrame]) -> dict[str, Estimate]:
    """Paired gain over the same model without a crop, by run."""
    return {name: summary(frame).gain for name, frame in frames.items()}


def difference(
    before: pd.Series, after: pd.Series, images: pd.Series | None = None
) -> Estimate:
    """``stats.gain`` of one column over another, on the samples that both have.

    Args:
        before: scores by sample id; missing ones are left out.
        after: the same.
        images: by sample id.
    """
    for one in (before, after):
        if not isinstance(one, pd.Series) or not one.index.is_unique:
            raise ValueError(
                f"expected scores by id, each id once, got {type(one).__name__}; give "
                "a table's column, as table['score']"
            )
    both = pd.concat([before, after], axis=1, join="inner").dropna()
    there = None if images is None else images.reindex(both.index)
    return stats.gain(both.iloc[:, 0], both.iloc[:, 1], there)


def against(frames: Mapping[str, pd.DataFrame], method: str) -> dict[str, Estimate]:
    """Paired gain of one method's answers over each other's, on the same samples.

    Args:
        frames: tables of runs by method, indexed by sample id.
        method: which of them.

    Samples that failed in either run are left out of that comparison.
    """
    ours = frames[method]
    return {
        name: difference(frame["score"], ours["score"], ours["image"])
        for name, frame in frames.items()
        if name != method
    }


def over(
    frames: Mapping[str, pd.DataFrame], pairs: Iterable[tuple[str, str]]
) -> dict[str, Estimate]:
    """Paired gain of one run over another, for each pair (run, other) that is there."""
    return {
        f"{name} over {other}": against(
            {name: frames[name], other: frames[other]}, name
        )[other]
        for name, other in pairs
        if name in frames and other in frames
    }


def effects(estimates: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """Differences as a table to read: points with 95 % intervals, and on which side.

    Args:
        estimates: by model, then by what is compared.
    """
    rows = [
        (model, name, found.n, found.format(1, sign=True, scale=100), verdict(found))
        for model, named in estimates.items()
        for name, found in named.items()
    ]
    return pd.DataFrame(rows, columns=["model", "run", "n", "points", "effect"])
