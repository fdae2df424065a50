"""Measures that answer what the paper leaves open, on small tables."""

import numpy as np
import pandas as pd
import pytest

from analysis.claims import open_questions
from vicrop.run import stats


def layer_of(ratios, answers, sizes):
    groups = ["small"] * len(sizes)
    return pd.DataFrame(
        {"ratio": ratios, "answer": answers, "size": sizes, "group": groups}
    ).assign(image=range(len(sizes)))


def test_a_difference_that_is_only_of_size_vanishes_at_like_sizes(rng):
    """Ratio follows size exactly; wrong answers are about smaller objects."""
    sizes = rng.uniform(0.0001, 0.005, 800)
    wrong = rng.random(800) > sizes / 0.005
    layer = layer_of(1 / sizes, np.where(wrong, "wrong", "right"), sizes)
    logs = np.log2(layer["ratio"])
    raw = logs[wrong].mean() - logs[~wrong].mean()
    like = open_questions.like_sized(layer, bins=16)
    assert raw > 0.8
    assert abs(like.value) < 0.15
    assert like.n <= 800


def test_bins_of_few_answers_are_left_out():
    layer = layer_of([1.0, 2.0, 3.0, 4.0], ["right", "wrong"] * 2, [1, 2, 3, 4])
    found = open_questions.like_sized(layer)
    assert found.n == 0
    assert open_questions.told({"m": {"x": found}})["effect"].tolist() == ["no samples"]


def test_an_interval_of_too_few_samples_is_none():
    few, enough = stats.bootstrap([4.0] * 3), stats.bootstrap([4.0] * 10)
    table = open_questions.told({"m": {"few": few, "enough": enough}}, "×", null=1)
    assert table["effect"].tolist() == ["too few", "cannot be told"]
    assert table["×, 95 %"].tolist() == ["4.0", "4.0 (n = 10, no interval)"]


def test_scorers_differ_where_the_label_is_in_a_longer_answer():
    run = pd.DataFrame(
        {
            "error": [None] * 2,
            "plain": ["x", "x"],
            "answer": ["a cat", "cat"],
            "labels": [("cat",)] * 2,
            "question": ["q"] * 2,
            "image": ["0", "1"],
            "score": [0.0, 1.0],
        }
    )
    found = open_questions.scorers(run)
    assert found["equality"].value == 50
    assert found["label in answer"].value == 100
    assert found["label in answer over equality"].value == 50


def test_a_ratio_of_medians_is_resampled_in_each():
    over, under = np.array([2.0, 2.2, 1.8]), np.array([1.0, 1.1, 0.9])
    found = open_questions.times(over, under)
    assert found.value == pytest.approx(2)
    assert found.low < 2 < found.high


def test_half_a_width_shrinks_with_the_root_of_n():
    one = pd.DataFrame({"score": [0.0, 1, 1, 0] * 10})
    other = pd.DataFrame({"score": [0.0, 0, 1, 1] * 10})
    wide = open_questions.half_width(one, other, 100)
    assert open_questions.half_width(one, other, 400) == pytest.approx(wide / 2)


def test_every_question_is_measured_or_says_what_it_needs():
    table = open_questions.listed()
    assert list(table["question"]) == list(range(1, 14))
    assert (table["measured here"] == "yes").sum() >= 9
    assert (table["needs, or leaves open"] != "").all()


def test_differences_of_a_probe_are_paired():
    table = pd.DataFrame(
        {"id": ["a", "a", "b", "b"], "name": ["x", "y"] * 2, "score": [1, 0, 1, 1]}
    ).assign(image=["a", "a", "b", "b"])
    [found] = open_questions.by_name(table, [("x", "y")]).values()
    assert (found.value, found.n) == (50, 2)
    shares = open_questions.scores(table)
    assert shares["x"].value == 100
    assert isinstance(shares["y"], stats.Estimate)
