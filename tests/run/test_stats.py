import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop.run import stats
from vicrop.run.stats import Estimate

SCORES = st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=40)


def test_medians_of_resamples_are_those_of_repeated_samples(rng):
    values, images = rng.gamma(1, 5, 40).round(1), rng.integers(0, 15, 40).astype(str)
    codes = pd.factorize(images)[0]
    again, n = np.random.default_rng(7), codes.max() + 1
    one_by_one = []
    for _ in range(stats.RESAMPLES):
        often = np.bincount(again.integers(0, n, n), minlength=n)
        one_by_one.append(np.median(np.repeat(values, often[codes])))
    found = stats.resampled(values, np.median, np.random.default_rng(7), images)
    np.testing.assert_allclose(found, one_by_one, rtol=1e-12)


def test_no_other_statistic_is_resampled():
    with pytest.raises(ValueError, match="known: numpy's mean and median"):
        stats.resampled(np.ones(3), np.max)


def test_accuracy_of_right_and_wrong_has_wilsons_interval():
    estimate = stats.accuracy([1, 1, 1, 0])
    # Wilson, by hand: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    z, n, p = 1.959964, 4, 0.75
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert estimate.value == 0.75 and estimate.n == 4
    assert estimate.low == pytest.approx(middle - half, abs=1e-6)
    assert estimate.high == pytest.approx(middle + half, abs=1e-6)


def test_accuracy_of_partial_scores_is_bootstrapped():
    scores = np.array([0, 0.3, 1, 1, 0.6, 0.9])
    assert stats.accuracy(scores) == stats.bootstrap(scores)


def test_accuracy_of_nothing_is_not_a_number():
    assert stats.accuracy([]) == stats.NOTHING


@given(scores=SCORES)
def test_interval_holds_the_value(scores):
    estimate = stats.accuracy(scores)
    assert estimate.n == len(scores)
    if scores.count(0.3) == len(scores):
        assert math.isnan(estimate.low)
    else:
        assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9


def slow_bootstrap(values, resamples=20_000):
    """Percentile interval of the mean, one resample after the other."""
    rng = np.random.default_rng(7)
    means = sorted(rng.choice(values, len(values)).mean() for _ in range(resamples))
    return means[int(0.025 * resamples)], means[int(0.975 * resamples)]


def test_bootstrap_equals_resampling_in_a_loop(rng):
    values = rng.normal(3, 2, 60)
    estimate = stats.bootstrap(values)
    low, high = slow_bootstrap(values)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(low, abs=0.05)
    assert estimate.high == pytest.approx(high, abs=0.05)


def test_bootstrap_of_two_values_can_be_counted():
    # Resamples of (0, 1): means 0, ½, ½, 1 in equal shares, so the interval is [0, 1].
    assert stats.bootstrap([0, 1]) == Estimate(0.5, 0.0, 1.0, 2)


def test_bootstrap_takes_another_statistic(rng):
    values = rng.normal(size=101)
    estimate = stats.bootstrap(values, np.median)
    assert estimate.value == np.median(values)
    assert estimate.low < estimate.value < estimate.high


def test_bootstrap_is_the_same_every_time(rng):
    values = rng.normal(size=30)
    assert stats.bootstrap(values) == stats.bootstrap(values)
    assert stats.bootstrap(values, seed=1) != stats.bootstrap(values, seed=2)


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0, 2.0]])
def test_values_that_do_not_vary_have_no_width(values):
    assert stats.bootstrap(values) == Estimate(2.0, np.nan, np.nan, len(values))


def test_bootstrap_of_nothing_is_not_a_number():
    assert math.isnan(stats.bootstrap([]).value)


def test_gain_is_paired():
    before, after = np.array([0, 0, 1, 1.0]), np.array([1, 1, 1, 0.0])
    assert stats.gain(before, after) == stats.bootstrap(np.array([1, 1, 0, -1.0]))
    assert stats.gain(before, after).value == 0.25


def test_gain_of_equal_answers_is_exactly_zero():
    scores = np.array([0, 1, 1, 0.3])
    found = stats.gain(scores, scores)
    assert (found.value, found.n) == (0, 4)
    assert found.format(1, sign=True, scale=100) == "+0.0 (n = 4, no interval)"


def test_gain_of_different_samples_is_refused():
    with pytest.raises(ValueError, match="same samples, got 3 and 2"):
        stats.gain(np.zeros(3), np.zeros(2))


def slow_mcnemar(fixed, broken):
    """Exact two-sided binomial p, by counting outcomes of fair coins."""
    flips = fixed + broken
    rarer = min(fixed, broken)
    ways = sum(math.comb(flips, heads) for heads in range(rarer + 1))
    return min(1.0, 2 * ways / 2**flips)


@pytest.mark.parametrize(
    ("fixed", "broken"), [(5, 1), (1, 5), (8, 0), (0, 1), (3, 3), (20, 7), (0, 0)]
)
def test_mcnemar_equals_counting_coins(fixed, broken):
    before = [0] * fixed + [1] * broken + [1, 1, 0]
    after = [1] * fixed + [0] * broken + [1, 1, 0]
    changes = stats.changes(before, after)
    assert (changes.fixed, changes.broken) == (fixed, broken)
    assert changes.p == pytest.approx(slow_mcnemar(fixed, broken))


def test_five_fixed_and_one_broken_has_the_p_of_a_table():
    changes = stats.changes([0] * 5 + [1], [1] * 5 + [0])
    assert changes.p == pytest.approx(0.21875)


def test_a_score_counts_as_right_from_a_half_on():
    changes = stats.changes([0.49, 0.5, 0.3], [0.5, 0.4, 0.4])
    assert (changes.fixed, changes.broken) == (1, 1)


def test_estimate_is_written_with_its_interval():
    estimate = Estimate(0.1234, -0.05, 0.3, 10)
    assert estimate.format() == "0.12 [−0.05, 0.30]"
    assert estimate.format(1, sign=True, scale=100) == "+12.3 [−5.0, +30.0]"


@pytest.mark.parametrize(
    ("value", "excluded"), [(0.0, True), (0.1, False), (0.2, False), (0.3, True)]
)
def test_interval_excludes_what_lies_outside(value, excluded):
    assert Estimate(0.15, 0.1, 0.2, 9).excludes(value) == excluded


def test_interval_of_nothing_excludes_nothing():
    nothing = stats.bootstrap([])
    assert not nothing.excludes(0)
    assert nothing.format() == "–"


def test_estimate_in_another_unit_keeps_its_n():
    assert Estimate(0.5, 0.4, 0.6, 9).times(100) == Estimate(50, 40, 60, 9)
