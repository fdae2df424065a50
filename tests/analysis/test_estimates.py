import numpy as np
import pandas as pd
import pytest

from analysis import estimates
from vicrop.run.stats import Estimate


def frame(rows):
    made = pd.DataFrame(rows, columns=["plain_score", "score", "error"])
    return made.assign(image=made.index)


def test_report_has_a_row_a_run():
    rows = [(0.0, 1.0, None), (1.0, 1.0, None), (None, None, "ValueError: x")]
    report = estimates.report({"first": frame(rows), "second": frame(rows[1:])})
    assert report["run"].tolist() == ["first", "second"]
    assert report["n"].tolist() == [2, 1] and report["errors"].tolist() == [1, 1]
    assert report["no crop, %"][0].startswith("50.0 [")
    assert report["gain, points"][0].startswith("+50.0 [")
    assert report["fixed"].tolist() == [1, 0]


def scored(before, after):
    """A run's table with these scores."""
    frame = pd.DataFrame({"plain_score": before, "score": after})
    return frame.assign(error=None, image=frame.index)


RUNS = {
    "no-crop": scored([0, 0, 1, 1], [0, 0, 1, 1]),
    "rel-att": scored([0, 0, 1, 1], [1, 1, 1, 1]),
    "random-crop": scored([0, 0, 1, 1], [0, 1, 1, 0]),
}


def test_gains_are_over_the_same_models_plain_answers():
    found = estimates.gains(RUNS)
    assert [found[name].value for name in RUNS] == [0, 0.5, 0]


def test_over_pairs_runs_that_are_there():
    pairs = [("rel-att", "random-crop"), ("rel-att", "nothing"), ("x", "no-crop")]
    found = estimates.over(RUNS, pairs)
    assert list(found) == ["rel-att over random-crop"]
    wanted = estimates.against(RUNS, "rel-att")["random-crop"]
    assert found["rel-att over random-crop"] == wanted


def test_reports_are_each_models_report_one_below_the_other():
    made = estimates.reports({"m": RUNS, "n": {"no-crop": RUNS["no-crop"]}})
    assert made["model"].tolist() == ["m", "m", "m", "n"]
    pd.testing.assert_frame_equal(
        made.drop(columns="model").iloc[:3], estimates.report(RUNS)
    )


def test_effects_say_on_which_side_of_nothing_each_difference_is():
    made = {
        "up": Estimate(0.2, 0.1, 0.3, 9),
        "none": Estimate(0.1, -0.1, 0.3, 9),
        "down": Estimate(-0.2, -0.3, -0.1, 9),
    }
    table = estimates.effects({"m": made})
    assert table["effect"].tolist() == ["positive", "none", "negative"]
    assert table.loc[0, "points"] == "+20.0 [+10.0, +30.0]"
    assert set(table["model"]) == {"m"} and set(table["n"]) == {9}


def test_methods_are_compared_on_the_samples_that_both_answered():
    frames = {
        "rel-att": pd.DataFrame(
            {"score": {"a": 1.0, "b": 1.0, "c": np.nan}, "image": None}
        ),
        "no-crop": pd.DataFrame({"score": {"b": 0.0, "a": 1.0, "c": 0.0, "d": 0.0}}),
    }
    gains = estimates.against(frames, "rel-att")
    assert list(gains) == ["no-crop"]
    assert (gains["no-crop"].value, gains["no-crop"].n) == (0.5, 2)


@pytest.mark.parametrize(
    ("low", "high", "null", "words"),
    [
        (0.1, 0.2, 0, "positive"),
        (-0.2, -0.1, 0, "negative"),
        (-0.1, 0.2, 0, "none"),
        (1.1, 1.3, 1, "positive"),
        (0.0, 0.2, 0, "none"),
    ],
)
def test_verdict_is_the_side_on_which_the_interval_lies(low, high, null, words):
    assert estimates.verdict(Estimate((low + high) / 2, low, high, 9), null) == words


def test_difference_is_of_the_samples_that_both_have():
    before = pd.Series({"a": 0.0, "b": 1.0, "c": np.nan, "d": 0.0})
    after = pd.Series({"d": 1.0, "b": 1.0, "c": 1.0, "x": 0.0})
    found = estimates.difference(before, after)
    assert (found.value, found.n) == (0.5, 2)
    assert found.low <= 0 and found.high == 1


@pytest.mark.parametrize(
    ("share", "said"),
    [(0, "none"), (1, "all"), (0.63, "two in three"), (0.001, "one in twenty")],
)
def test_shares_in_words(share, said):
    assert estimates.in_words(share) == said


def test_every_fraction_is_what_its_words_say():
    numbers = "zero one two three four five six seven eight nine ten".split()
    larger = {"nineteen": 19, "twenty": 20}
    for words, value in estimates.FRACTIONS.items():
        part, whole = words.split(" in ")
        part, whole = (larger.get(one) or numbers.index(one) for one in (part, whole))
        assert value == part / whole


def test_a_spread_leaves_out_what_is_not_there():
    assert estimates.spread([0.84, None, 0.18, np.nan]) == "one in six to five in six"
    assert estimates.spread([0.5, 0.51]) == "one in two"
    assert estimates.spread([None]) == "(not measured here)"


@pytest.mark.parametrize(
    ("count", "sign", "word"),
    [(4, "✓", "Yes"), (3, "◐", "Mostly"), (2, "◐", "Sometimes"), (0, "○", "Not here")],
)
def test_in_how_many_models_something_holds(count, sign, word):
    assert estimates.shown(count, 4) == f"{sign} in {count} of 4 models"
    assert estimates.told(count, 4) == word


def test_of_what_was_wrong_how_much_is_repaired():
    frame = pd.DataFrame(
        {"plain_score": [0.0, 0.0, 0.0, 1.0], "score": [1.0, 0.0, np.nan, 0.0]}
    )
    assert estimates.repaired(frame) == 0.5
    assert np.isnan(estimates.repaired(frame.iloc[3:]))
