import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import failures
from analysis.failures import KINDS, LOOKS
from vicrop.run import results, stats
from vicrop.run.stats import Estimate

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
    frame["plain"], frame["image"] = "4", frame.index
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
    known = found["look"].isin(LOOKS) & found["fate"].isin(failures.FATES)
    assert known.all()


def test_counts_have_every_kind():
    found = failures.diagnose(table())
    counts = failures.counts({"m": found, "none": found.iloc[:0]})
    assert list(counts.columns) == list(KINDS)
    assert counts.loc["m"].tolist() == [1] * 8 and counts.loc["none"].sum() == 0


def test_readable_counts_have_their_share_of_the_row():
    rows = pd.DataFrame({"fate": ["fixed", *["broken"] * 3], "image": range(4)})
    made = failures.readable({"one": rows, "none": rows.iloc[:0]}, "fate", "what")
    assert made["n"].tolist() == [4, 0]
    assert made.loc[0, "broken"] == "3: 75 [30, 95] %"  # Wilson, as in test_stats
    assert made.loc[1, "fixed"] == ""


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


def test_one_methods_tables_leave_out_models_without_it():
    runs = {"m": {"rel-att": failures.diagnose(table())}, "n": {}}
    frames = failures.of_method(runs, "rel-att")
    assert list(frames) == ["m"]


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


LOOK, FATE = (
    ["looked right"] * 6 + ["looked wrong"] * 4,
    (
        "fixed fixed fixed unchanged-wrong broken unchanged-right"
        " fixed unchanged-wrong unchanged-wrong unchanged-right"
    )
    .replace("-", " ")
    .replace("unchanged ", "unchanged-")
    .split(),
)


@pytest.fixture
def frame():
    fates = [fate.replace("-", " ") for fate in FATE]
    kinds = [failures.kind_of(*pair) for pair in zip(LOOK, fates, strict=True)]
    made = pd.DataFrame({"look": LOOK, "fate": fates, "kind": kinds})
    names = list("abcdefghij")
    return made.assign(image=names).set_index(pd.Index(names))


def test_chance_is_among_those_that_could_change(frame):
    repaired = failures.chance(frame, "repaired", "looked right")
    assert (repaired.value, repaired.n) == (0.75, 4)  # three of a, b, c, d
    assert failures.chance(frame, "repaired", "looked wrong").value == 1 / 3
    broken = failures.chance(frame, "broken", "looked right")
    assert (broken.value, broken.n) == (0.5, 2)
    assert failures.chance(frame, "broken", "no crop").n == 0


def share(part, whole):
    return stats.accuracy([1] * part + [0] * (whole - part))


def test_contrast_is_newcombes_from_wilsons_limits():
    # Newcombe's first example: 56 of 70 against 48 of 80; 0.2 [0.0524, 0.3339].
    one, other = share(56, 70), share(48, 80)
    found = failures.contrast(one, other)
    assert found.value == pytest.approx(0.2) and found.n == 150
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    low = math.hypot(one.value - one.low, other.high - other.value)
    assert found.value - found.low == pytest.approx(low, abs=1e-6)


def test_contrast_of_all_and_none_has_a_width_and_of_nothing_is_not_a_number():
    found = failures.contrast(share(5, 5), share(0, 5))
    assert found.value == 1 and found.low < 0.6
    assert math.isnan(failures.contrast(Estimate(1, 1, 1, 3), share(0, 0)).low)


def test_chance_table_is_blank_where_nothing_could_happen(frame):
    made = failures.chance_table({"m": {"x": frame.iloc[:4], "y": frame}}, "repaired")
    assert made["n looked wrong"].tolist() == [0, 3]
    assert made["repaired, looked wrong, %"].iloc[0] == ""
    assert made["difference, points"].iloc[0] == ""
    assert made["difference, points"].iloc[1].startswith("+41.7 [")


def test_other_runs_are_asked_about_the_same_questions(frame):
    frame = frame.assign(score=0.0)
    right = pd.DataFrame({"score": [1.0, 1.0, np.nan]}, index=["d", "h", "i"])
    right["image"] = right.index
    runs = {"m": {"rel-att": frame, "human-crop": right}, "n": {"grad-att": frame}}
    others = ["human-crop", "grad-att", "rel-att"]
    made = failures.repaired_by(runs, "rel-att", others)
    assert made["diagnosis"].tolist() == [
        "unchanged wrong, looked right",
        "unchanged wrong, looked wrong",
        "broken, looked right",
    ]
    assert set(made["model"]) == {"m"} and made["n"].tolist() == [1, 2, 1]
    column = made["right with human-crop, %"].tolist()
    assert [text.split()[0] for text in column[:2]] == ["100.0", "100.0"]
    assert column[2] == "" and set(made["right with grad-att, %"]) == {""}
    assert made.shape[1] == 5
    assert failures.repaired_by({"n": {}}, "rel-att", others).empty


def test_blame_counts_what_is_left_wrong_by_where_the_crop_was(frame):
    made = failures.blame({"m": frame, "none": frame[:3]}).set_index("model")
    cells = made.loc["m", ["looked right", "looked wrong", "failed"]]
    # One unchanged, one broken, of either look.
    assert [cell.split(":")[0] for cell in cells] == ["2", "2", "0"]
    assert made["n"].tolist() == [4, 0] and made.loc["none", "failed"] == ""
