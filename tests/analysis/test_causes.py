import math

import numpy as np
import pandas as pd
import pytest

from analysis import causes, failures
from vicrop.run import datasets
from vicrop.run.stats import Estimate
from vicrop.types import Map

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
    return made.set_index(pd.Index(list("abcdefghij")))


def test_chance_is_among_those_that_could_change(frame):
    repaired = causes.chance(frame, "repaired", "looked right")
    assert (repaired.value, repaired.n) == (0.75, 4)  # three of a, b, c, d
    assert causes.chance(frame, "repaired", "looked wrong").value == 1 / 3
    broken = causes.chance(frame, "broken", "looked right")
    assert (broken.value, broken.n) == (0.5, 2)
    assert causes.chance(frame, "broken", "no crop").n == 0


def test_chances_leave_out_what_nothing_could_happen_to(frame):
    found = causes.chances({"m": frame.iloc[:4]}, "repaired")
    assert list(found) == ["m, looked right"]


def test_contrast_is_newcombes_from_wilsons_limits():
    # Newcombe's first example: 56 of 70 against 48 of 80; 0.2 [0.0524, 0.3339].
    one, other = failures.share(56, 70), failures.share(48, 80)
    found = causes.contrast(one, other)
    assert found.value == pytest.approx(0.2) and found.n == 150
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    low = math.hypot(one.value - one.low, other.high - other.value)
    assert found.value - found.low == pytest.approx(low, abs=1e-6)


def test_contrast_of_all_and_none_has_a_width_and_of_nothing_is_not_a_number():
    found = causes.contrast(failures.share(5, 5), failures.share(0, 5))
    assert found.value == 1 and found.low < 0.6
    assert math.isnan(causes.contrast(Estimate(1, 1, 1, 3), failures.share(0, 0)).low)


def test_chance_table_is_blank_where_nothing_could_happen(frame):
    made = causes.chance_table({"m": {"x": frame.iloc[:4], "y": frame}}, "repaired")
    assert made["n looked wrong"].tolist() == [0, 3]
    assert made["repaired, looked wrong, %"].iloc[0] == ""
    assert made["difference, points"].iloc[0] == ""
    assert made["difference, points"].iloc[1].startswith("+41.7 [")


def test_other_runs_are_asked_about_the_same_questions(frame):
    frame = frame.assign(score=0.0)
    right = pd.DataFrame({"score": [1.0, 1.0, np.nan]}, index=["d", "h", "i"])
    runs = {"m": {"rel-att": frame, "human-crop": right}, "n": {"grad-att": frame}}
    others = ["human-crop", "grad-att", "rel-att"]
    made = causes.repaired_by(runs, "rel-att", others)
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
    assert causes.repaired_by({"n": {}}, "rel-att", others).empty


def test_blame_counts_what_is_left_wrong_by_where_the_crop_was(frame):
    made = causes.blame({"m": frame, "none": frame[:3]})
    assert made.loc["m"].to_dict() == {
        "looked right": 2,  # one unchanged, one broken
        "looked wrong": 2,
        "failed": 0,
    }
    assert made.loc["none"].sum() == 0


def test_peak_is_a_cell_of_the_maps_region():
    values = np.ones((2, 4))
    values[1, 2] = values[1, 3] = 5
    assert causes.peak(Map(values), (80, 40)) == (40, 20, 60, 40)
    part = Map(values, region=(20, 0, 60, 40))
    assert causes.peak(part, (80, 40)) == (40, 20, 50, 40)


def test_pointed_is_asked_of_boxed_samples_among_the_ids(
    vlm, view, write_data, row, picture, scene
):
    first, second = scene[0].plates[:2]
    rows = [
        row(id="a", boxes=[first.box]),
        row(id="b"),
        row(id="c", boxes=[second.box]),
        row(id="d", boxes=[second.box]),
    ]
    data = str(write_data(rows, [picture]))
    found = causes.pointed(vlm, data, ["a", "b", "c"], "rel-att")
    assert list(found.index) == ["a", "c"] and found.dtype == bool
    samples = {sample.id: sample for sample in datasets.load(data)}
    for name, touched in found.items():
        cell = causes.peak(view.importance(samples[name].question), (448, 448))
        truth = samples[name].boxes[0]
        apart = (
            cell[2] <= truth[0]
            or truth[2] <= cell[0]
            or cell[3] <= truth[1]
            or truth[3] <= cell[1]
        )
        assert touched == (not apart)


def test_both_ways_to_have_looked_right_are_crossed(frame):
    touched = pd.Series([True, False, True], index=["a", "b", "g"])
    frame = frame.assign(group=["large", *["small"] * 9])
    made = causes.two_ways(frame, touched)
    assert made["fixed"].to_dict() == {
        "small, looked right, peak elsewhere": 1,
        "small, looked wrong, peak on the object": 1,
        "large, looked right, peak on the object": 1,
    }
    assert made.index[-1].startswith("large")
    assert made.to_numpy().sum() == 3
