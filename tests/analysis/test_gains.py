import math

import numpy as np
import pandas as pd
import pytest

from analysis import gains
from vicrop.run import stats
from vicrop.run.stats import Estimate


def run(scores, ids="abcd", coverage=1.0, box=(0, 0, 10, 10), plain=0.0):
    rows = len(ids)
    return pd.DataFrame(
        {
            "score": np.array(scores, float),
            "plain_score": np.full(rows, plain),
            "coverage": np.full(rows, coverage) if np.isscalar(coverage) else coverage,
            "box": [box] * rows,
            "image": list(ids),
        },
        index=list(ids),
    )


@pytest.fixture
def runs():
    return {
        "no-crop": run([0, 0, 0, 0]),
        "full-twice": run([1, 0, 0, 0]),
        "random-crop": run([0, 0, 1, 0]),
        "center-crop": run([0, 0, 0, 0]),
        "rel-att": run([1, 1, 0, 0]),
        "human-crop": run([1, 1, 1, 1]),
    }


@pytest.mark.parametrize(
    ("coverage", "name"),
    [
        (0, "nothing"),
        (0.01, "under half"),
        (0.5, "most"),
        (0.899, "most"),
        (0.9, "all"),
        (1, "all"),
    ],
)
def test_bins_of_coverage(coverage, name):
    assert gains.coverage_bin(coverage) == name


def test_crops_are_a_row_each_without_failed_ones(runs):
    runs["rel-att"].loc["b", ["score", "coverage"]] = np.nan
    crops = gains.crops_of(runs)
    assert crops.groupby(["kind", "run"]).size().to_dict() == {
        ("blind", "center-crop"): 4,
        ("blind", "random-crop"): 4,
        ("maps", "rel-att"): 3,
    }
    assert crops["side"].unique() == [10]
    nothing = gains.crops_of({})
    assert list(nothing.columns) == list(crops.columns) and nothing.empty
    assert gains.by_coverage(nothing) == gains.by_side(nothing) == {}


def slow_clustered(values, ids, resamples=4000):
    """Questions drawn one by one, each with all of its crops."""
    rng = np.random.default_rng(3)
    by_id = {name: [] for name in ids}
    for value, name in zip(values, ids, strict=True):
        by_id[name].append(value)
    names, means = list(by_id), []
    for _ in range(resamples):
        drawn = [by_id[names[i]] for i in rng.integers(0, len(names), len(names))]
        means.append(np.mean([value for crops in drawn for value in crops]))
    return np.percentile(means, (2.5, 97.5))


def test_clustered_interval_equals_drawing_questions_in_a_loop(rng):
    ids = [str(number) for number in rng.integers(0, 25, 80)]
    shift = {name: rng.normal() for name in sorted(set(ids))}
    values = [shift[name] + 0.2 * rng.normal() for name in ids]
    crops = pd.DataFrame({"gain": values, "id": ids, "image": ids})
    found = gains.mean_gain(crops)
    assert found.value == pytest.approx(np.mean(values))
    assert found.n == len(set(ids))
    slow = slow_clustered(values, ids)
    assert (found.low, found.high) == pytest.approx(tuple(slow), abs=0.05)
    alone = stats.bootstrap(values)
    assert found.high - found.low > 1.3 * (alone.high - alone.low)


def test_mean_gain_is_the_bootstrap_where_each_question_has_one_crop(rng):
    values, ids = rng.normal(size=50), [str(n) for n in range(50)]
    found = gains.mean_gain(pd.DataFrame({"gain": values, "id": ids, "image": ids}))
    plain = stats.bootstrap(values)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_mean_gain_of_no_crop_is_not_a_number():
    found = gains.mean_gain(gains.crops_of({}))
    assert math.isnan(found.value) and found.n == 0


def test_gain_by_coverage_is_of_each_kinds_crops():
    runs = {
        "rel-att": run([1, 1, 0, 0], coverage=[1.0, 0.95, 0.0, 0.3]),
        "random-crop": run([0, 1, 1, 0], coverage=[0.0, 0.0, 1.0, 0.6]),
    }
    found = gains.by_coverage(gains.crops_of(runs))
    maps = {name: (bin.value, bin.n) for name, bin in found["maps"].items() if bin.n}
    assert maps == {"nothing": (0, 1), "under half": (0, 1), "all": (1, 2)}
    blind = {name: (bin.value, bin.n) for name, bin in found["blind"].items() if bin.n}
    assert blind == {"nothing": (0.5, 2), "most": (0, 1), "all": (1, 1)}
    assert list(found["maps"]) == list(gains.BINS)


def test_gain_by_side_is_of_crops_that_hold_the_object_small_first():
    runs = {
        "random-crop": run([1, 1, 1, 0], coverage=[1, 1, 0.5, 1], box=(0, 0, 90, 90)),
        "center-crop": run([0, 1, 0, 0], box=(0, 0, 40, 90)),
    }
    found = gains.by_side(gains.crops_of(runs))["blind"]
    assert list(found) == ["up to 66 px", "66–90 px"]
    assert found["up to 66 px"].value == 0.25
    assert found["66–90 px"].value == pytest.approx(2 / 3)


def test_sides_are_put_into_bins_by_how_many_times_the_smallest_they_are():
    sides = pd.Series([30.0] + [100.0] * 30 + [109, 120, 150, 180, 210, 211, 448])
    bins = gains.side_bins(sides)
    assert bins.iloc[0] == bins.iloc[1] == bins.iloc[31] == "up to 110 px"
    assert bins.iloc[32:34].tolist() == ["110–150 px"] * 2
    assert bins.iloc[34:36].tolist() == ["150–210 px"] * 2
    assert bins.iloc[36:].tolist() == ["over 210 px"] * 2


@pytest.fixture
def ladder(runs):
    """All rungs of the method."""
    more = {
        "rel-att, swapped": run([0, 0, 0, 0]),
        "rel-att, mask": run([0, 1, 1, 0]),
    }
    return runs | more


def test_parts_are_one_thing_more_each(ladder):
    found = {n: e.value for n, e in gains.parts(ladder, "rel-att").items()}
    assert found == {
        "second image": 0.25,
        "any crop": 0.0,
        "wrong crop": -0.25,
        "right place": 0.5,
        "right crop": 0.0,
        "what is left": 0.5,
        "all together": 1.0,
    }


def test_parts_add_up_whatever_failed_where(rng):
    ids = [f"{number}" for number in range(40)]
    names = gains.rungs("rel-att").values()
    runs = {name: run(rng.integers(0, 2, 40), ids) for name in names}
    for number, frame in enumerate(runs.values()):
        frame.loc[ids[number], "score"] = np.nan  # another one in each
    found = gains.parts(runs, "rel-att")
    whole = found.pop("all together")
    assert sum(part.value for part in found.values()) == pytest.approx(whole.value)
    assert {part.n for part in found.values()} == {33}


def test_part_is_the_paired_difference_in_a_loop(ladder):
    found = gains.parts(ladder, "rel-att")["right place"]
    before, after = ladder["rel-att, swapped"], ladder["rel-att, mask"]
    apart = [after.loc[n, "score"] - before.loc[n, "score"] for n in "abcd"]
    assert found == stats.bootstrap(apart)


def test_parts_are_over_the_rung_before_that_is_there(runs):
    del runs["full-twice"]
    found = {n: e.value for n, e in gains.parts(runs, "rel-att").items()}
    assert found == {
        "any crop": 0.25,
        "right crop": 0.25,
        "what is left": 0.5,
        "all together": 1.0,
    }
    assert gains.parts({}, "rel-att") == {}
    assert gains.parts({"no-crop": runs["no-crop"]}, "rel-att") == {}


def test_accuracies_are_those_of_the_rungs(ladder):
    found = gains.accuracies(ladder, "rel-att")
    assert [e.value for e in found.values()] == [0, 0.25, 0.25, 0, 0.5, 0.5, 1]
    assert list(found) == list(gains.rungs("rel-att"))


def test_portions_are_of_a_whole_that_is_apart_from_nothing():
    whole = Estimate(0.5, 0.3, 0.7, 9)
    parts = {"second image": Estimate(-0.1, -0.2, 0, 9), "all together": whole}
    assert gains.portions(parts) == {"second image": -0.2}
    none = parts | {"all together": Estimate(0.1, -0.1, 0.3, 9)}
    assert gains.portions(none) == {} == gains.portions({})
    made = gains.part_table({"m": parts, "n": none})
    assert made["of the whole, %"].tolist() == ["−20", "", "", ""]
