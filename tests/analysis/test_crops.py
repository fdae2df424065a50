import numpy as np
import pandas as pd
import pytest

from analysis import crops, looking
from vicrop import boxes, methods
from vicrop.run import datasets, stats
from vicrop.types import Box, Map


@pytest.fixture
def data(write_data, row, picture):
    small, large = [200, 200, 216, 216], [10, 10, 200, 200]
    rows = [
        row(id="a", boxes=[small]),
        row(id="b", boxes=[large]),
        row(id="c", question="is there a red plate?"),
        row(id="d", boxes=[small], short_question="plate"),
        row(id="e", boxes=[small]),
    ]
    return str(write_data(rows, [picture]))


def ids(samples):
    return [sample.id for sample in samples]


def test_small_samples_are_about_small_objects_in_their_order(data):
    assert ids(crops.small_samples(data)) == ["a", "d", "e"]
    assert ids(crops.small_samples(data, n=9)) == ["a", "d", "e"]


def test_choice_of_small_samples_is_the_seeds(data):
    chosen = {tuple(ids(crops.small_samples(data, 2, seed))) for seed in range(20)}
    assert chosen == {("a", "d"), ("a", "e"), ("d", "e")}
    assert crops.small_samples(data, 2) == crops.small_samples(data, 2)


def test_data_without_small_objects_are_refused(write_data, row, picture):
    folder = str(write_data([row(boxes=[[0, 0, 300, 300]])], [picture]))
    with pytest.raises(ValueError, match="has no small object"):
        crops.small_samples(folder)


def bright(x, y):
    """A map of 14 × 14 cells over 448 pixels with one bright square."""
    values = np.full((14, 14), 0.01)
    values[y : y + 2, x : x + 2] = 1
    return Map(values)


class Model:
    """What the crops need of a model."""

    crop_px, layer = 64, 1


def test_crops_of_every_map_are_measured(vlm, data):
    samples = datasets.load(data)[:1] + datasets.load(data)[3:4]
    asked = []

    def maps_of(view, question):
        asked.append(question)
        return {"hit": bright(6, 6), "miss": bright(0, 0)}

    frame = crops.measure(vlm, data, samples, maps_of)
    assert asked == [samples[0].question, "plate"]
    assert frame["id"].tolist() == ["a", "a", "d", "d"]
    assert frame["coverage"].tolist() == [1, 0, 1, 0]
    crop = boxes.select_box(bright(6, 6), (448, 448), vlm.crop_px)
    assert frame["side"].iloc[0] == crop.width


@pytest.fixture
def looked(data):
    """One question, two layers: the first misses, the map's layer hits."""
    sample = datasets.load(data)[0]
    return [looking.Looked(sample, (448, 448), [bright(0, 0), bright(6, 6)])]


def test_windows_are_of_the_maps_layer_and_as_large_as_they_say(looked):
    frame = crops.windows(Model(), looked).set_index("name")
    assert list(frame.index) == list(crops.WINDOWS)
    assert (frame["coverage"] == 1).all()
    fixed = [f"{ratio:.1f} only" for ratio in boxes.RATIOS]
    assert frame.loc[fixed, "side"].tolist() == [64, 76, 88, 102, 114, 128]
    assert frame.loc["all, sharpest", "side"] == 64
    assert frame.loc["all, largest sum", "side"] > 64


def test_mean_of_layers_is_beside_the_maps_layer(looked):
    looked[0].maps[0] = Map(3 * looked[0].maps[0].values)  # outweighs the other layer
    frame = crops.averaged(Model(), looked).set_index("name")
    assert frame["coverage"].to_dict() == {crops.ONE: 1, crops.ALL: 0}


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "id": ["a", "a", "b", "b", "c", "c", "d", "d"],
            "image": ["a", "a", "b", "b", "c", "c", "d", "d"],
            "name": ["second", "first"] * 4,
            "coverage": [1, 0.89, 0.9, 0.9, 1, 0, 0, 0],
            "side": [10.0, 20] * 4,
        }
    )


def test_shares_count_objects_from_nine_tenths_on_in_the_order_given(frame):
    found = crops.shares(frame)
    assert {name: (one.value, one.n) for name, one in found.items()} == {
        "second": (0.75, 4),
        "first": (0.25, 4),
    }
    assert list(found) == ["second", "first"]
    assert crops.sides(frame)["first"].value == 20


def test_differences_are_paired_by_sample(frame):
    shuffled = frame.sample(frac=1, random_state=1)
    found = crops.apart(shuffled, [("second", "first")])
    expected = stats.gain([0, 1, 0, 0], [1, 1, 1, 0])
    assert found == {"second over first": expected}


def test_scores_of_a_probe_are_paired_as_they_are(frame):
    scored = frame.drop(columns="coverage").assign(score=[1, 0, 0.5, 1, 1, 0, 0, 0])
    found = crops.one_over(scored, "second", "first")
    assert found == stats.gain([0, 1, 0, 0], [1, 0.5, 1, 0])
    assert crops.shares(scored)["second"].value == 0.625


def test_table_has_a_row_a_model_and_name(frame):
    table = crops.covered({"one": frame, "other": frame})
    assert table["model"].tolist() == ["one", "one", "other", "other"]
    assert table["object in the crop, %"][0].startswith("75.0 [")
    assert table["mean side, px"][1] == "20 (n = 4, no interval)"


def run_table(places, coverage):
    found = [None if x is None else Box(x, 0, x + 10, 10) for x in places]
    columns = {"box": pd.Series(found, dtype=object), "coverage": coverage}
    columns["image"] = list("abcd")
    return pd.DataFrame(columns).set_axis(list("abcd"), axis=0)


def test_agreement_counts_boxes_that_both_methods_have():
    one = run_table([0, 0, 0, 0], [1.0, 1.0, 0.2, None])
    other = run_table([2, 4, 20, None], [1.0, 0.5, 0.0, None])
    table = crops.agreement({"m": {"x": one, "y": other}}, keys=("x", "y"))
    row = table.iloc[0]
    assert (row["model"], row["methods"], row["n"]) == ("m", "x, y", 3)
    # 8 of 12 columns in common, 6 of 14, none.
    assert row["IoU ≥ 0.5, %"].startswith("33.3 [")
    assert row["both cover, %"].startswith("33.3 [")
    assert row["neither covers, %"].startswith("33.3 [")
    assert row["both, were they independent, %"] == "22.2"


def test_every_pair_of_the_three_methods_is_a_row():
    run = run_table([0, 0, 0, 0], [1.0, 1.0, 1.0, 1.0])
    table = crops.agreement({"m": dict.fromkeys(methods.PAPER, run)})
    pairs = ["rel-att, grad-att", "rel-att, pure-grad", "grad-att, pure-grad"]
    assert table["methods"].tolist() == pairs
    assert table["both cover, %"][0].startswith("100.0 [")


def test_held_by_counts_any_and_all():
    places = [0, 0, 0, None]
    runs = {
        "x": run_table(places, [1.0, 1.0, 0.0, None]),
        "y": run_table(places, [1.0, 0.0, 0.0, None]),
    }
    found = crops.held_by(runs, keys=("x", "y"))
    assert {name: round(3 * one.value, 6) for name, one in found.items()} == {
        "x": 2,
        "y": 1,
        "any of them": 2,
        "all of them": 1,
    }
    assert found["x"].n == 3


def scored(plain, score):
    columns = {"plain_score": plain, "score": score, "image": range(4)}
    return pd.DataFrame(columns, index=list("abcd"), dtype=float)


def test_models_are_compared_on_the_same_questions():
    ours = {
        "no-crop": scored([1, 1, 1, 0], [1, 1, 1, 0]),
        "rel-att": scored([1, 1, 1, 0], [1, 1, 1, 1]),
        "own": scored([0, 0, 0, 0], [0, 0, 0, 0]),
    }
    theirs = {
        "no-crop": scored([0, 0, 1, None], [0, 0, 1, None]),
        "rel-att": scored([0, 0, 1, None], [1, 1, 0, None]),
    }
    found = crops.beside(ours, theirs)
    assert list(found) == ["no-crop", "gain of rel-att"]
    assert found["no-crop"] == stats.gain([0, 0, 1], [1, 1, 1])
    assert found["gain of rel-att"] == stats.gain([1, 1, -1], [0, 0, 0])


def answered_run(coverage, score):
    """A run's table of samples a, b, c, …"""
    ids = list("abcdef"[: len(score)])
    columns = {"coverage": coverage, "score": score, "plain_score": [0.0] * len(ids)}
    return pd.DataFrame(columns, index=ids, dtype=float).assign(image=ids)


def test_runs_are_compared_sample_by_sample_and_measure_by_measure():
    before = answered_run([0.9, 0.5, None, 0.0], [1, 0, 0, 0])
    after = answered_run([0.8, 1.0, None, 1.0], [1, 1, 0, 0])
    found = crops.compare(before, after)
    assert {name: (round(e.value, 6), e.n) for name, e in found.items()} == {
        "share of the object in the crop": (round((2.8 - 1.4) / 3, 6), 3),
        "object in the crop": (round(1 / 3, 6), 3),
        "right with the crop": (0.25, 4),
        "right without": (0, 4),
    }


def test_comparison_has_a_row_a_measure_and_run():
    frames = {
        "exact": answered_run([1, 1], [1, 1]),
        "other": answered_run([0, 0], [0, 0]),
    }
    table = crops.comparison(frames, "exact")
    assert table["run"].tolist() == ["exact", "other"] * 4
    assert table["measure"].tolist()[::2] == list(crops.outcomes(frames["exact"]))
    other = table[table["run"] == "other"].set_index("measure")
    assert other["effect"].tolist() == ["cannot be told"] * 4
    apart = other.loc["object in the crop", "against exact, points"]
    assert apart == "−100.0 (n = 2, no interval)"
    assert (table[table["run"] == "exact"]["effect"] == "").all()
