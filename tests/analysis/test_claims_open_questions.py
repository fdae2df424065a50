"""Measures that answer what the paper leaves open, on small tables."""

import numpy as np
import pandas as pd
import pytest

from analysis.claims import open_questions
from vicrop.run import stats


def test_an_interval_of_too_few_samples_is_none():
    few, enough = stats.bootstrap([4.0] * 3), stats.bootstrap([4.0] * 10)
    told = {"m": {"few": few, "enough": enough, "none": stats.NOTHING}}
    table = open_questions.told(told, "×", null=1)
    assert table["effect"].tolist() == ["too few", "cannot be told", "no samples"]
    assert table["×, 95 %"].tolist() == ["4.0", "4.0 (n = 10, no interval)", "–"]


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
