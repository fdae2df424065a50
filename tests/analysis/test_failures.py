import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import failures
from analysis.failures import KINDS, LOOKS
from vicrop.run import results

ROWS = [
    # id, size, coverage, without, with: what was said about it by hand.
    ("a", 0.001, 1.0, 0.0, 1.0, "fixed, looked right"),
    ("b", 0.002, 0.2, 0.0, 1.0, "fixed, looked wrong"),
    ("c", 0.003, 0.0, 1.0, 1.0, "unchanged right"),
    ("d", 0.004, 0.9, 0.0, 0.0, "unchanged wrong, looked right"),
    ("e", 0.001, 0.89, 0.0, 0.3, "unchanged wrong, looked wrong"),
    ("f", 0.002, 1.0, 1.0, 0.3, "broken, looked right"),
    ("g", 0.003, 0.5, 1.0, 0.0, "broken, looked wrong"),
    ("h", 0.004, None, 0.0, None, "failed"),
    ("i", None, None, 0.0, 1.0, None),
    ("j", None, None, 0.0, None, None),
]


def table(rows=ROWS, **changes):
    """As ``results.table`` makes it."""
    ids, sizes, covered, before, after, *_ = zip(*rows, strict=True)
    columns = {"size": sizes, "coverage": covered, "plain_score": before}
    frame = pd.DataFrame({**columns, "score": after}, index=list(ids), dtype=float)
    failed = frame["score"].isna()
    frame["error"] = [("ValueError: no map" if bad else None) for bad in failed]
    frame["group"] = frame["size"].map(results.size_group)
    frame["plain"] = "4"
    frame["box"] = [None if math.isnan(c) else (0, 0, 9, 9) for c in frame["coverage"]]
    return frame.assign(**changes)


def test_every_sample_is_diagnosed_as_by_hand():
    found = failures.diagnose(table())
    assert found["kind"].tolist() == [row[-1] for row in ROWS]


def test_threshold_is_how_much_the_crop_must_hold():
    strict = failures.diagnose(table(), threshold=0.95)
    assert strict.loc["d", "look"] == "looked wrong"
    loose = failures.diagnose(table(), threshold=0.5)
    assert loose.loc[["e", "g"], "look"].tolist() == ["looked right"] * 2


OUTCOMES = st.tuples(
    st.sampled_from([0.001, None]),
    st.sampled_from([0.0, 0.5, 0.9, 1.0, None]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.49, 0.5, 1.0, None]),
)


def plain_kind(size, coverage, before, after):
    """The diagnosis of one sample, question by question."""
    if size is None:
        return None
    if after is None:
        return "failed"
    if before >= 0.5 and after >= 0.5:
        return "unchanged right"
    if coverage is None:
        return None
    if before < 0.5 and after < 0.5:
        fate = "unchanged wrong"
    else:
        fate = "fixed" if after >= 0.5 else "broken"
    return f"{fate}, looked {'right' if coverage >= 0.9 else 'wrong'}"


@given(outcomes=st.lists(OUTCOMES, min_size=1, max_size=20))
def test_diagnoses_equal_questions_asked_one_by_one(outcomes):
    rows = [(str(number), *row) for number, row in enumerate(outcomes)]
    found = failures.diagnose(table(rows))
    assert found["kind"].tolist() == [plain_kind(*row) for row in outcomes]
    crossed = failures.crossed(found)
    assert crossed.to_numpy().sum() == len(rows)  # nobody is lost


def test_counts_have_every_kind_and_the_crossed_ones_every_fate():
    found = failures.diagnose(table())
    counts = failures.counts({"m": found, "none": found.iloc[:0]})
    assert list(counts.columns) == list(KINDS)
    assert counts.loc["m"].tolist() == [1] * 8 and counts.loc["none"].sum() == 0
    crossed = failures.crossed(found)
    assert list(crossed.index) == list(LOOKS)
    assert crossed.loc["looked right"].tolist() == [1, 1, 0, 1, 0]
    assert crossed.loc["looked wrong"].tolist() == [1, 1, 1, 1, 0]
    assert crossed.loc["no crop", "failed"] == 1
    assert crossed.loc["no object"].tolist() == [1, 0, 0, 0, 1]


def test_readable_counts_have_their_share_of_the_row():
    counts = pd.DataFrame({"x": [1, 0], "y": [3, 0]}, index=["one", "none"])
    made = failures.readable(counts, "what")
    assert made["n"].tolist() == [4, 0]
    assert made.loc[0, "y"] == "3: 75 [30, 95] %"  # Wilson, as in test_stats
    assert made.loc[1, "x"] == ""


def test_run_that_is_not_there_is_named_with_those_that_are():
    runs = {"a": {"rel-att": pd.DataFrame()}, "b": {"grad-att": pd.DataFrame()}}
    assert failures.of_run(runs, "a", "rel-att", "d") is runs["a"]["rel-att"]
    for model, method in (("a", "grad-att"), ("c", "rel-att")):
        said = f"{model} with {method}.*a rel-att, b grad-att.*--method {method} --dat"
        with pytest.raises(ValueError, match=f"{said}aset d`"):
            failures.of_run(runs, model, method, "d")


def test_failed_samples_get_from_other_runs_what_their_records_lack():
    whole = table()
    torn = table(size=np.nan, group=None, plain_score=np.nan, plain=None)
    torn.loc["a":"g"] = whole.loc["a":"g"]
    runs = failures.mended({"torn": torn, "whole": whole})
    names = ["size", "group", "plain_score", "plain"]
    assert runs["torn"].loc["h", names].tolist() == [0.004, "small", 0.0, "4"]
    pd.testing.assert_frame_equal(runs["whole"], whole)


def test_group_without_objects_says_what_there_is():
    runs = {"m": {"rel-att": failures.diagnose(table())}}
    assert len(failures.of_group(runs, "small")["m"]["rel-att"]) == 8
    with pytest.raises(ValueError, match="no run has large objects; known groups: sm"):
        failures.of_group(runs, "large")


def test_one_methods_tables_by_group_leave_out_models_without_it():
    runs = {"m": {"rel-att": failures.diagnose(table())}, "n": {}}
    frames = failures.of_method(runs, "rel-att")
    assert list(frames) == ["m"]
    found = failures.by_group(frames)
    assert list(found) == ["small"] and list(found["small"]) == ["m"]


def test_worst_are_those_with_the_largest_object():
    sizes = {"a": 1e-3, "b": 3e-3, "c": 2e-3}
    rows = [(name, size, 0, 0, 0) for name, size in sizes.items()]
    frame = failures.diagnose(table(rows))
    kind = "unchanged wrong, looked wrong"
    found = failures.worst({"m": frame, "n": frame[:1]}, kind, 2)
    assert found == [("m", "b"), ("m", "c"), ("n", "a")]
    assert failures.worst({"m": frame}, "failed", 2) == []


def test_errors_are_counted_by_group():
    frame = failures.diagnose(table())
    made = failures.errors({"m": {"grad-att": frame, "rel-att": frame.iloc[:3]}})
    assert made.to_numpy().tolist() == [
        ["m", "grad-att", "small", "ValueError: no map", 1],
        ["m", "grad-att", "no object", "ValueError: no map", 1],
    ]
    assert failures.errors({"m": {"rel-att": frame.iloc[:3]}}).empty


def test_first_failed_sample_has_an_object():
    frame = failures.diagnose(table())
    runs = {"m": {"rel-att": frame.iloc[:3]}, "n": {"grad-att": frame[::-1]}}
    assert failures.first_failed(runs) == [("n", "h")]
    assert failures.first_failed({"m": {"rel-att": frame.iloc[:3]}}) == []
