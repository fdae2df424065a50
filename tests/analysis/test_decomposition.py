import numpy as np
import pandas as pd
import pytest

from analysis import decomposition
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


def test_broken_are_right_answers_made_wrong():
    crop = run([1, 0, np.nan, 1], plain=1.0)
    crop.loc["d", "plain_score"] = 0
    made = decomposition.broken({"m": {"no-crop": crop, "rel-att": crop}, "n": {}})
    (row,) = made.to_dict("records")
    assert (row["run"], row["right without a crop"], row["broken"]) == ("rel-att", 2, 1)
    assert row["broken, %"].startswith("50.0 [")
