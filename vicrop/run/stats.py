"""Intervals and tests for answers to the same questions.

One resampling serves all bootstraps: ``resampled`` draws, ``interval`` reads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import ArrayLike
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 4000

BATCH = 500
"""Resamples that are held at once."""

OfCounts = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A statistic of different values, (levels,), and how often each comes up, (…, levels);
gives (…)."""

MANY = 2000
"""Values from which on a mean is resampled by how often each comes up."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and the number of samples behind it."""

    value: float
    low: float
    high: float
    n: int

    def excludes(self, value: float) -> bool:
        """Whether the interval lies on one side of ``value``."""
        return self.low > value or self.high < value

    def times(self, factor: float) -> "Estimate":
        """The same in another unit, e.g. percent."""
        parts = (self.value * factor, self.low * factor, self.high * factor)
        return Estimate(*parts, self.n)

    def format(self, digits: int = 2, sign: bool = False, scale: float = 1) -> str:
        """As ``value [low, high]``, multiplied by ``scale``."""
        said = self.times(scale)
        spec = f"{'+' if sign else ''}.{digits}f"
        made = f"{said.value:{spec}} [{said.low:{spec}}, {said.high:{spec}}]"
        return made.replace("-", "−")


NOTHING = Estimate(np.nan, np.nan, np.nan, 0)
"""Of no samples."""


def wilson(total: float, count: int) -> Estimate:
    """Mean of so many scores in [0, 1] of this sum, with Wilson's interval."""
    low, high = proportion_confint(total, count, method="wilson")
    return Estimate(float(total / count), float(low), float(high), count)


def accuracy(scores: ArrayLike) -> Estimate:
    """Mean of scores in [0, 1]: Wilson's interval if all are 0 or 1, else bootstrap."""
    scores = np.asarray(scores, float)
    if len(scores) and np.isin(scores, (0, 1)).all():
        return wilson(scores.sum(), len(scores))
    return bootstrap(scores)


def resampled(
    values: np.ndarray, statistic: Callable = np.mean, seed: int | Generator = 0
) -> np.ndarray:
    """A statistic of values that are drawn with replacement, again and again.

    Args:
        values: (samples,), at least one.
        statistic: takes ``axis``.
        seed: of the resampling, or its generator.

    Returns:
        (``RESAMPLES``,).
    """
    rng, n = np.random.default_rng(seed), len(values)
    rounds = range(0, RESAMPLES, BATCH)
    drawn = (values[rng.integers(0, n, (BATCH, n))] for _ in rounds)
    return np.concatenate([statistic(each, axis=-1) for each in drawn])


def interval(value: float, drawn: np.ndarray, n: int) -> Estimate:
    """A value with the middle 95 % of what its resamples gave."""
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high), n)


def bootstrap(values: ArrayLike, statistic=np.mean, seed: int = 0) -> Estimate:
    """A statistic with its percentile bootstrap interval.

    Args:
        values: (samples,).
        statistic: takes ``axis``.
        seed: of the resampling.
    """
    values = np.asarray(values, float)
    center = float(statistic(values)) if len(values) else np.nan
    if len(values) < 2 or np.ptp(values) == 0:
        return Estimate(center, center, center, len(values))
    if statistic is np.mean and len(values) > MANY and len(np.unique(values)) <= MANY:
        return bootstrap_counts(values, _mean_of, seed)
    return interval(center, resampled(values, statistic, seed), len(values))


def bootstrap_counts(
    values: np.ndarray, statistic: OfCounts, seed: int = 0
) -> Estimate:
    """``bootstrap`` for many samples of few different values, without their copies.

    A resample is told by how often each value comes up in it, which is multinomial.

    Args:
        values: (samples,), at least one.
        statistic: see ``OfCounts``.
        seed: of the resampling.
    """
    levels, counts = np.unique(values, return_counts=True)
    center = float(statistic(levels, counts))
    n = int(counts.sum())
    if len(levels) == 1:
        return Estimate(center, center, center, n)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, RESAMPLES)
    return interval(center, statistic(levels, drawn), n)


def _mean_of(levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return counts @ levels / counts.sum(-1)


def gain(before: ArrayLike, after: ArrayLike) -> Estimate:
    """Mean paired difference of scores, with its bootstrap interval over samples.

    Args:
        before: (samples,) scores.
        after: (samples,) scores of the same samples.

    Raises:
        ValueError: if they are not of the same length.
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    if before.shape != after.shape:
        raise ValueError(
            f"paired scores must be of the same samples, got {len(before)} and "
            f"{len(after)}"
        )
    return bootstrap(after - before)


def difference(before: pd.Series, after: pd.Series) -> Estimate:
    """``gain`` of one column over another, on the samples that both have.

    Args:
        before: scores by sample id; missing ones are left out.
        after: the same.
    """
    both = pd.concat([before, after], axis=1, join="inner").dropna()
    return gain(both.iloc[:, 0], both.iloc[:, 1])


def between(
    one: ArrayLike, other: ArrayLike, statistic=np.mean, seed: int = 0
) -> Estimate:
    """Difference of a statistic of two independent groups, bootstrapped in each.

    Args:
        one: (samples,); missing ones are left out.
        other: (samples,) of other samples, whose statistic is subtracted.
        statistic: takes ``axis``.
        seed: of the resampling.

    Returns:
        An ``Estimate`` whose n is of both groups; of nothing if one is empty.
    """
    groups = [np.asarray(group, float) for group in (one, other)]
    first, second = (group[~np.isnan(group)] for group in groups)
    if not (len(first) and len(second)):
        return NOTHING
    rng = np.random.default_rng(seed)
    drawn = resampled(first, statistic, rng) - resampled(second, statistic, rng)
    middle = statistic(first) - statistic(second)
    return interval(middle, drawn, len(first) + len(second))


@dataclass(frozen=True)
class Changes:
    """What a method did to single answers: counts, and McNemar's exact p."""

    fixed: int
    broken: int
    p: float


def changes(before: np.ndarray, after: np.ndarray) -> Changes:
    """Answers fixed and broken (a score counts as right from 0.5 on).

    Source: McNemar (1947); the exact binomial test over the changed pairs.
    """
    was, now = np.asarray(before) >= 0.5, np.asarray(after) >= 0.5
    fixed, broken = int((~was & now).sum()), int((was & ~now).sum())
    found = mcnemar([[0, broken], [fixed, 0]], exact=True)
    return Changes(fixed, broken, float(found.pvalue))


@dataclass(frozen=True)
class Summary:
    """A run in numbers: its answers against the plain ones of the same samples."""

    n: int
    errors: int
    plain: Estimate
    score: Estimate
    gain: Estimate
    changes: Changes


def summary(frame: pd.DataFrame) -> Summary:
    """What a run's table says (see ``results.table``).

    Args:
        frame: one row a sample, with ``score``, ``plain_score`` and ``error``; samples
            that failed or have no score are left out.
    """
    kept = frame.dropna(subset=["plain_score", "score"])
    before, after = kept["plain_score"].to_numpy(), kept["score"].to_numpy()
    return Summary(
        n=len(kept),
        errors=int(frame["error"].notna().sum()),
        plain=accuracy(before),
        score=accuracy(after),
        gain=gain(before, after),
        changes=changes(before, after),
    )


def verdict(estimate: Estimate, null: float = 0) -> str:
    """``positive``, ``negative`` or ``none``: on which side of ``null`` it lies."""
    if not estimate.excludes(null):
        return "none"
    return "positive" if estimate.value > null else "negative"
