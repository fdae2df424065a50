import math

import numpy as np
import pandas as pd
import pytest

from vicrop import decomposition, stats
from vicrop.stats import Estimate


def run(scores, ids="abcd", coverage=1.0, box=(0, 0, 10, 10), plain=0.0):
    rows = len(ids)
    return pd.DataFrame(
        {
            "score": np.array(scores, float),
            "plain_score": np.full(rows, plain),
            "coverage": np.full(rows, coverage) if np.isscalar(coverage) else coverage,
            "box": [box] * rows,
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


def test_parts_are_one_thing_more_each(runs):
    found = {n: e.value for n, e in decomposition.parts(runs, "rel-att").items()}
    assert found == {
        "second image": 0.25,
        "any crop": 0.0,
        "right place": 0.25,
        "what is left": 0.5,
        "all together": 1.0,
    }


def test_parts_add_up_whatever_failed_where(rng):
    ids = [f"{number}" for number in range(40)]
    names = decomposition.rungs("rel-att")
    runs = {name: run(rng.integers(0, 2, 40), ids) for name in names}
    for number, frame in enumerate(runs.values()):
        frame.loc[ids[number], "score"] = np.nan  # another one in each
    found = decomposition.parts(runs, "rel-att")
    whole = found.pop("all together")
    assert sum(part.value for part in found.values()) == pytest.approx(whole.value)
    assert {part.n for part in found.values()} == {35}


def test_part_is_the_paired_difference_in_a_loop(runs):
    found = decomposition.parts(runs, "rel-att")["right place"]
    gains = [
        runs["rel-att"].loc[name, "score"] - runs["random-crop"].loc[name, "score"]
        for name in "abcd"
    ]
    assert found == stats.bootstrap(gains)


def test_parts_whose_runs_are_missing_are_left_out(runs):
    del runs["full-twice"], runs["center-crop"]
    found = decomposition.parts(runs, "rel-att")
    assert list(found) == ["right place", "what is left", "all together"]
    assert list(decomposition.every_part(runs)) == [
        "rel-att over random-crop",
        "human-crop over rel-att",
        "human-crop over no-crop",
    ]
    assert decomposition.parts({}, "rel-att") == {}


def test_every_part_is_on_the_same_samples(runs):
    runs["center-crop"].loc["d", "score"] = np.nan
    found = decomposition.every_part(runs)
    assert {part.n for part in found.values()} == {3}
    assert found["center-crop over full-twice"].value == pytest.approx(-1 / 3)
    assert found["random-crop over full-twice"].value == 0


def test_accuracies_are_those_of_the_rungs(runs):
    found = decomposition.accuracies(runs, "rel-att")
    assert [e.value for e in found.values()] == [0, 0.25, 0.25, 0.5, 1]
    assert list(found) == decomposition.rungs("rel-att")


def test_portions_are_of_a_whole_that_is_apart_from_nothing():
    whole = Estimate(0.5, 0.3, 0.7, 9)
    parts = {"second image": Estimate(-0.1, -0.2, 0, 9), "all together": whole}
    assert decomposition.portions(parts) == {"second image": -0.2}
    none = parts | {"all together": Estimate(0.1, -0.1, 0.3, 9)}
    assert decomposition.portions(none) == {} == decomposition.portions({})
    made = decomposition.part_table({"m": parts, "n": none})
    assert made["of the whole, %"].tolist() == ["−20", "", "", ""]


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
    assert decomposition.coverage_bin(coverage) == name


def test_crops_are_a_row_each_without_failed_ones(runs):
    runs["rel-att"].loc["b", ["score", "coverage"]] = np.nan
    crops = decomposition.crops_of(runs)
    assert crops.groupby(["kind", "run"]).size().to_dict() == {
        ("blind", "center-crop"): 4,
        ("blind", "random-crop"): 4,
        ("maps", "rel-att"): 3,
    }
    assert crops["side"].unique() == [10]
    nothing = decomposition.crops_of({})
    assert list(nothing.columns) == list(crops.columns) and nothing.empty
    assert decomposition.by_coverage(nothing) == decomposition.by_side(nothing) == {}


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
    found = decomposition.clustered(values, ids)
    assert found.value == pytest.approx(np.mean(values))
    assert found.n == len(set(ids))
    slow = slow_clustered(values, ids)
    assert (found.low, found.high) == pytest.approx(tuple(slow), abs=0.05)
    alone = stats.bootstrap(values)
    assert found.high - found.low > 1.3 * (alone.high - alone.low)


def test_clustered_is_the_bootstrap_where_each_question_has_one_crop(rng):
    values = rng.normal(size=50)
    found = decomposition.clustered(values, [str(n) for n in range(50)])
    plain = stats.bootstrap(values)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_clustered_of_nothing_is_not_a_number():
    found = decomposition.clustered([], [])
    assert math.isnan(found.value) and found.n == 0


def test_gain_by_coverage_is_of_each_kinds_crops():
    runs = {
        "rel-att": run([1, 1, 0, 0], coverage=[1.0, 0.95, 0.0, 0.3]),
        "random-crop": run([0, 1, 1, 0], coverage=[0.0, 0.0, 1.0, 0.6]),
    }
    found = decomposition.by_coverage(decomposition.crops_of(runs))
    maps = {name: (bin.value, bin.n) for name, bin in found["maps"].items() if bin.n}
    assert maps == {"nothing": (0, 1), "under half": (0, 1), "all": (1, 2)}
    blind = {name: (bin.value, bin.n) for name, bin in found["blind"].items() if bin.n}
    assert blind == {"nothing": (0.5, 2), "most": (0, 1), "all": (1, 1)}
    assert list(found["maps"]) == list(decomposition.BINS)
    assert decomposition.told(found, "blind", "most") == "+0.0 [+0.0, +0.0]"
    assert decomposition.told(found, "maps", "most") == "(no such crop)"
    made = decomposition.binned_table({"m": found}, "in the crop")
    assert len(made) == 6


def test_gain_by_side_is_of_crops_that_hold_the_object_small_first():
    runs = {
        "random-crop": run([1, 1, 1, 0], coverage=[1, 1, 0.5, 1], box=(0, 0, 90, 90)),
        "center-crop": run([0, 1, 0, 0], box=(0, 0, 40, 90)),
    }
    found = decomposition.by_side(decomposition.crops_of(runs))["blind"]
    assert list(found) == ["60 px", "90 px"]
    assert found["60 px"].value == 0.25 and found["90 px"].value == pytest.approx(2 / 3)


def test_many_sides_are_put_into_bins_of_equal_number():
    sides = pd.Series(np.arange(100, 160, dtype=float))
    bins = decomposition.side_bins(sides)
    assert bins.value_counts().tolist() == [10] * 6
    assert bins.iloc[0] == "100–110 px"
    few = decomposition.side_bins(pd.Series([96.2, 95.9, 192.0]))
    assert few.tolist() == ["96 px", "96 px", "192 px"]


def test_held_says_what_is_in_each_runs_crops():
    runs = {"rel-att": run([1] * 4, coverage=[1.0, 0.95, 0.0, 0.3])}
    made = decomposition.held({"m": runs, "n": {}})
    (row,) = made.to_dict("records")
    assert (row["model"], row["run"], row["n"]) == ("m", "rel-att", 4)
    assert row["object in the crop, %"].startswith("50.0 [")
    assert row["nothing of it, %"].startswith("25.0 [")
    assert row["mean side, px"] == "10 [10, 10]"
