"""Intervals and tests for answers to the same questions.

Answers about one picture are not independent: pictures are drawn, each with all of its
samples. ``resampled`` draws, ``interval`` reads.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import ArrayLike
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

RESAMPLES, BATCH = 4000, 100
"""Resamples in all, and those that are held at once."""

Images = ArrayLike | None
"""(samples,) the picture of each; None, for one or all, is a picture of its own."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, NaN where none can be told, and its samples."""

    value: float
    low: float
    high: float
    n: int

    def excludes(self, value: float) -> bool:
        """Whether the interval lies on one side of ``value``; False without one."""
        return self.low > value or self.high < value

    def times(self, factor: float) -> "Estimate":
        """The same in another unit, e.g. percent."""
        parts = (self.value * factor, self.low * factor, self.high * factor)
        return Estimate(*parts, self.n)

    def format(self, digits: int = 2, sign: bool = False, scale: float = 1) -> str:
        """As ``value [low, high]``, multiplied by ``scale``; ``–`` of no samples."""
        if not self.n:
            return "–"
        said = self.times(scale)
        spec = f"{'+' if sign else ''}.{digits}f"
        ends = f"[{said.low:{spec}}, {said.high:{spec}}]"
        ends = f"(n = {self.n}, no interval)" if np.isnan(self.low) else ends
        return f"{said.value:{spec}} {ends}".replace("-", "−")


NOTHING = Estimate(np.nan, np.nan, np.nan, 0)
"""Of no samples."""


def _numbers(values: ArrayLike) -> np.ndarray:
    """Values as (samples,) floats, if they are one finite number a sample."""
    given = np.asarray(values)
    if given.ndim == 1:  # None among numbers makes objects of them
        given = pd.Series(given).infer_objects().to_numpy()
    if given.ndim != 1 or (len(given) and given.dtype.kind not in "biuf"):
        raise ValueError(
            f"expected a number a sample, got {type(values).__name__} of shape "
            f"{given.shape} and type {given.dtype}; give one column, as table['score']"
        )
    made = given.astype(float)
    if not np.isfinite(made).all():
        raise ValueError(
            f"{(~np.isfinite(made)).sum()} of {len(made)} values are missing or not "
            "finite; leave those samples out, as table['score'].dropna() does"
        )
    return made


def _numbered(images: Images, count: int) -> np.ndarray:
    """(samples,) the number of each sample's picture, from 0."""
    given = np.full(count, None) if images is None else np.asarray(images, object)
    if given.shape != (count,):
        raise ValueError(f"{count} values have pictures of shape {given.shape}")
    codes, names = pd.factorize(given)
    own = codes < 0
    codes[own] = len(names) + np.arange(own.sum())
    return codes


def wilson(total: float, count: float) -> Estimate:
    """Mean of so many scores in [0, 1] of this sum, with Wilson's interval."""
    low, high = proportion_confint(total, count, method="wilson")
    return Estimate(float(total / count), float(low), float(high), round(count))


def accuracy(scores: ArrayLike, images: Images = None) -> Estimate:
    """Mean of scores in [0, 1]: Wilson's interval if all are 0 or 1, else bootstrap.

    Wilson's is of as many independent scores as would vary like these pictures' do; if
    no picture differs from the mean, of as many as there are pictures.

    Source: effective sample size, Kish (1965); in Wilson's, Korn and Graubard (1998).
    A bootstrap is too narrow near 0 and 1.
    """
    made = _numbers(scores)
    if len(made) and not 0 <= made.min() <= made.max() <= 1:
        raise ValueError(
            f"scores lie in [0, 1], got {made.min():g} to {made.max():g}; divide "
            "percentages by 100"
        )
    if not len(made) or not np.isin(made, (0, 1)).all():
        return bootstrap(made, images=images)
    mean, n, codes = made.mean(), len(made), _numbered(images, len(made))
    spread = (np.bincount(codes, made - mean) ** 2).sum() / n**2
    varies = spread > 1e-15  # not a rounding error
    alike = min(n, mean * (1 - mean) / spread) if varies else codes.max() + 1
    return replace(wilson(mean * alike, alike), n=n)


def sums(parts: np.ndarray, images: Images, seed: int | Generator = 0) -> np.ndarray:
    """(``RESAMPLES``, columns) sums over samples, their pictures drawn at random.

    How often one of the pictures that add the same is drawn is multinomial.

    Args:
        parts: (samples, columns) what each adds; at least one sample.
        images: drawn with all of their samples.
        seed: of the resampling, or its generator.
    """
    rng, codes = np.random.default_rng(seed), _numbered(images, len(parts))
    each = np.stack([np.bincount(codes, column) for column in parts.T], axis=1)
    # Rounded: sums of equal scores in another order differ in their last bits.
    kinds, counts = np.unique(each.round(12), axis=0, return_counts=True)
    rounds, n = range(0, RESAMPLES, BATCH), len(each)
    drawn = (rng.multinomial(n, counts / n, BATCH) for _ in rounds)
    return np.concatenate([often @ kinds for often in drawn])


def resampled(
    values: np.ndarray,
    statistic: Callable = np.mean,
    seed: int | Generator = 0,
    images: Images = None,
) -> np.ndarray:
    """(``RESAMPLES``,) means or medians, a ValueError for others; see ``sums``."""
    if statistic is np.mean:
        total, count = sums(np.stack([values, np.ones(len(values))], 1), images, seed).T
        return total / count
    if statistic is not np.median:
        raise ValueError(f"no resamples of {statistic}; known: numpy's mean and median")
    rng, codes = np.random.default_rng(seed), _numbered(images, len(values))
    order, n = np.argsort(values, kind="stable"), codes.max() + 1
    rows, medians = np.arange(BATCH)[:, None] * n, []  # a row a resample
    for _ in range(0, RESAMPLES, BATCH):
        drawn = (rng.integers(0, n, (BATCH, n)) + rows).ravel()
        often = np.bincount(drawn, minlength=BATCH * n).reshape(BATCH, n)
        upto = often[:, codes[order]].cumsum(1)
        middle = [(upto > (upto[:, -1:] - odd) // 2).argmax(1) for odd in (1, 0)]
        medians.append(np.asarray(values)[order][middle].mean(0))
    return np.concatenate(medians)


def interval(value: float, drawn: np.ndarray, n: int) -> Estimate:
    """A value with the middle 95 % of what its resamples gave; none without width."""
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    if np.isclose(low, high, rtol=1e-9, atol=1e-12):
        low = high = np.nan
    return Estimate(float(value), float(low), float(high), n)


def bootstrap(
    values: ArrayLike, statistic=np.mean, seed: int = 0, images: Images = None
) -> Estimate:
    """A statistic with its percentile bootstrap interval over pictures.

    Args:
        values: (samples,).
        statistic: see ``resampled``.
        seed: of the resampling.
        images: of the samples.
    """
    made = _numbers(values)
    if not len(made):
        return NOTHING
    drawn = resampled(made, statistic, seed, images)
    return interval(statistic(made), drawn, len(made))


def _pair(before: ArrayLike, after: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of numbers of the same samples."""
    made = _numbers(before), _numbers(after)
    if made[0].shape != made[1].shape:
        raise ValueError(
            f"paired scores must be of the same samples, got {len(made[0])} and "
            f"{len(made[1])}"
        )
    ids = [one.index for one in (before, after) if isinstance(one, pd.Series)]
    if len(ids) == 2 and not ids[0].equals(ids[1]):
        raise ValueError("paired scores have other ids; join the tables first")
    return made


def gain(before: ArrayLike, after: ArrayLike, images: Images = None) -> Estimate:
    """Mean paired difference of scores, with its bootstrap interval over pictures.

    Args:
        before: (samples,) scores.
        after: (samples,) scores of the same samples.
        images: of the samples.

    Raises:
        ValueError: if they are not of the same samples.
    """
    was, now = _pair(before, after)
    return bootstrap(now - was, images=images)


@dataclass(frozen=True)
class Changes:
    """What a method did to single answers: counts, and the exact p of ``flips``."""

    fixed: int
    broken: int
    p: float


def changes(before: ArrayLike, after: ArrayLike, images: Images = None) -> Changes:
    """Answers fixed and broken (a score counts as right from 0.5 on)."""
    was, now = (scores >= 0.5 for scores in _pair(before, after))
    net = now.astype(int) - was
    each = np.bincount(_numbered(images, len(net)), net).astype(int)  # of a picture
    return Changes(int((net > 0).sum()), int((net < 0).sum()), flips(each))


def flips(net: np.ndarray) -> float:
    """Exact two-sided p of the sum of pictures' net changes, their signs being chance.

    Args:
        net: (pictures,) answers fixed less those broken, whole numbers.

    Source: a sign-flip test; McNemar's (1947) with one question a picture.
    """
    sizes, counts = np.unique(abs(net[net != 0]), return_counts=True)
    parts = [np.ones(1)]
    for size, count in zip(sizes, counts, strict=True):
        part = np.zeros(size * count + 1)  # chances that 0, 1, … of it are positive
        part[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        parts.append(part)
    chances = reduce(np.convolve, parts)
    apart = abs(2 * np.arange(len(chances)) - len(chances) + 1)
    return min(1.0, float(chances[apart >= abs(net.sum())].sum()))
