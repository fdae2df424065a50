"""The bake-off's tables from records that can be reckoned by hand."""

import numpy as np
import pandas as pd
import pytest

from analysis.costs import Measured
from analysis.protocol import bakeoff
from vicrop.run import stats
from workflow import studies

BOXES = {"whole": (0, 0, 20, 20), "part": (0, 0, 10, 10), "apart": (30, 30, 40, 40)}


def run(scores, coverage=1.0, box="part", plain=(0, 0, 1, 1), errors=(None,) * 4):
    return pd.DataFrame(
        {
            "score": np.array(scores, float),
            "plain_score": np.where(np.isnan(scores), np.nan, plain),
            "coverage": np.broadcast_to(coverage, 4).astype(float),
            "box": [BOXES[box]] * 4,
            "image": list("abcd"),
            "error": list(errors),
            "group": ["small", "small", "small", "large"],
        },
        index=list("abcd"),
    )


@pytest.fixture
def runs():
    lost = [np.nan, 1, 1, 0]
    failed = ("ValueError: a map of zeros", None, None, None)
    return {
        "no-crop": run([0, 0, 1, 1], coverage=np.nan),
        "rel-att": run([1, 0, 1, 0], coverage=[1, 0, 0.95, 0.2]),
        "word-att": run(lost, coverage=[np.nan, 1, 1, 0.5], errors=failed),
        "human-crop": run([1, 1, 1, 1], box="whole"),
        "word-att, mask": run([0, 0, 0, 0]),
    }


@pytest.fixture
def found(runs):
    return bakeoff.measured({"m": runs})


def test_measures_are_those_of_the_protocol(runs, found):
    assert list(found.loc["m"].index) == [
        "rel-att",
        "word-att",
        "no-crop",
        "human-crop",
    ]
    rel, words = found.loc[("m", "rel-att")], found.loc[("m", "word-att")]
    assert (rel.accuracy.value, rel.gain.value, rel.failed) == (0.5, 0, 0)
    assert rel.ahead.n == 0, "a map is not held against itself"
    assert rel.covered.value == 0.5 and rel.covered_wrong.value == 0.5
    assert rel.overlap.value == 0.25, "a quarter of the human crop"
    assert (words.gain.n, words.failed) == (3, 1)
    assert words.ahead.value == pytest.approx(1 / 3), "on what both answered"
    assert words.covered.value == pytest.approx(2 / 3)
    assert words.covered_wrong.value == 1, "of b alone: a failed"


def test_difference_to_the_rival_is_the_paired_one_in_a_loop(runs, found):
    apart = [runs["word-att"]["score"][n] - runs["rel-att"]["score"][n] for n in "bcd"]
    assert found.loc[("m", "word-att")].ahead == stats.bootstrap(apart)


def test_a_run_that_gave_nothing_says_nothing(runs):
    runs["grad-att"] = run([np.nan] * 4, np.nan, errors=("no gradient",) * 4)
    made = bakeoff.measured({"m": runs}).loc[("m", "grad-att")]
    assert made.failed == 4 and made.gain.n == made.ahead.n == made.covered.n == 0


def test_measures_side_by_side(found):
    columns = {"alone": "no-crop", "words": "word-att", "never run": "grad-att"}
    (row,) = bakeoff.wide(found, columns, "accuracy").to_dict("records")
    assert row["model"] == "m" and row["n"] == 4 and row["never run"] == "–"
    assert row["alone"].startswith("50.0 [") and row["words"].startswith("66.7 [")


def test_spread_is_from_the_lowest_to_the_highest_seed(runs):
    again = runs | {"rel-att": run([1, 1, 1, 0])}
    found = bakeoff.measured({"m": runs, "m-2": again, "m-3": runs})
    (row,) = bakeoff.spread(found, {"rel": "rel-att"}, "accuracy").to_dict("records")
    assert row == {"model": "its 3 seeds, lowest to highest", "rel": "50.0 to 75.0"}


@pytest.fixture
def price():
    rows = [
        {"model": "m", "dataset": "plates", "method": method, "flops": flops * 1e9}
        | {"passes": 3.0, "seconds": [1.0], "peak_bytes": 1}
        for method, flops in (("human-crop", 10), ("rel-att", 11))
    ]
    parts = {"methods": rows}
    return bakeoff.prices(Measured({}, parts), "plates", {"twin": "m"})


def test_prices_are_over_told_and_of_models_of_one_shape(price):
    assert price.loc[("m", "rel-att"), bakeoff.OVER] == 1.1
    assert price.loc[("twin", "human-crop"), bakeoff.OVER] == 1
    assert len(price) == 4


def test_table_of_maps_says_what_is_not_known(found, price):
    made = bakeoff.map_table(found, price).set_index("run")
    assert list(made.index) == ["rel-att", "word-att", "human-crop"]
    assert made.loc["rel-att", bakeoff.OVER] == "1.10"
    assert made.loc["word-att", bakeoff.OVER] == made.loc["word-att", "passes"] == "–"
    assert made.loc["rel-att", "over rel-att"] == "–"
    assert made.loc["word-att", ["n", "failed"]].tolist() == [3, 1]
    assert made["IoU"].str.startswith("0.25").tolist() == [True, True, False]


def test_tally_counts_cells_and_names_controls_nowhere():
    many = {n: pd.concat([run(s)] * 5) for n, s in (("a", [0] * 4), ("b", [1] * 4))}
    for frame in many.values():
        frame.index = frame["image"] = [str(n) for n in range(20)]
    mixed = many["b"].assign(score=[1.0, 1, 1, 0] * 5)
    runs = {"no-crop": many["a"], "rel-att": many["a"], "word-att": mixed}
    other = runs | {"rel-att": mixed, "word-att": many["a"], "raw-att": mixed}
    cells = {"x": bakeoff.measured({"m": runs}), "y": bakeoff.measured({"m": other})}
    made = bakeoff.tally(pd.concat(cells, names=["dataset"])).set_index("map")
    assert made.loc["word-att", ["cells", "better", "worse"]].tolist() == [2, 1, 1]
    assert made.loc["raw-att", ["cells", "better", "largest"]].tolist() == [1, 0, 1]
    assert made.index[0] == "raw-att" and "no-crop" not in made.index
    assert made.loc["word-att", "gain"] == pytest.approx((25 - 50) / 2)


def test_studied_are_the_studies_of_one_size(runs, monkeypatch):
    monkeypatch.setattr(studies, "tables", lambda m, d: runs if m == "m" else {})
    found = bakeoff.studied(["m", "n"], "plates", "large")
    assert list(found) == ["m"] and list(found["m"]["rel-att"].index) == ["d"]
