import numpy as np
import pandas as pd
import pytest

from analysis import looking
from vicrop import boxes
from vicrop.run import datasets
from vicrop.run.stats import Estimate


@pytest.fixture
def data(write_data, row, picture, scene):
    first, second = scene[0].plates[:2]
    rows = [
        row(id="a", boxes=[first.box], meta={"kind": "digit"}),
        row(id="b", question="is there a red plate?", meta={"kind": "exists"}),
        row(id="c", boxes=[second.box], short_question="plate", meta={"kind": "digit"}),
    ]
    return str(write_data(rows, [picture]))


def test_every_layer_of_every_boxed_sample_is_a_row(vlm, view, data):
    samples = datasets.load(data)
    frame = looking.by_layer(vlm, data, samples)
    assert frame[["id", "layer"]].to_records(index=False).tolist() == [
        (name, layer) for name in "ac" for layer in range(4)
    ]
    asked = {"a": samples[0].question, "c": "plate"}
    for (name, truth), question in zip(
        (("a", samples[0].boxes[0]), ("c", samples[2].boxes[0])),
        asked.values(),
        strict=True,
    ):
        rows = frame[frame["id"] == name]
        for layer, amap in enumerate(view.layer_maps(question)):
            ratio = boxes.attention_ratio(amap, truth, (448, 448))
            crop = boxes.select_box(amap, (448, 448), vlm.crop_px)
            assert rows["ratio"].iloc[layer] == pytest.approx(ratio)
            assert rows["coverage"].iloc[layer] == boxes.coverage(crop, truth)
        assert (rows["size"] == boxes.area(truth) / 448**2).all()


def test_samples_that_share_an_image_share_its_view(vlm, data):
    views = [view for _, view in looking.views(vlm, data, datasets.load(data))]
    assert views[0] is views[1] is views[2]


def layers(**columns):
    """A frame of one row a sample and layer, layers 0 and 1 in turn."""
    count = len(next(iter(columns.values())))
    ids = [str(number // 2) for number in range(count)]
    return pd.DataFrame({"id": ids, "layer": [0, 1] * (count // 2), **columns})


def test_best_layer_covers_most_objects():
    frame = layers(coverage=[0.95, 0.9, 0.5, 1.0, 0.89, 0.0])
    assert looking.covered_share(frame).tolist() == [1 / 3, 2 / 3]
    assert looking.best_layer(frame) == 1


def test_of_equally_good_layers_the_lowest_is_best():
    assert looking.best_layer(layers(coverage=[1.0, 1.0, 0.0, 0.0])) == 0


def test_covered_by_layer_is_in_percent():
    made = looking.covered_by_layer(layers(coverage=[1.0, 0.0, 0.0, 0.0]))
    assert [(one.value, one.n) for one in made] == [(50, 2), (0, 2)]


def test_median_ratio_leaves_out_objects_that_were_cut_off():
    frame = layers(ratio=[1.0, 5.0, 3.0, np.nan, 2.0, 7.0])
    assert [one.value for one in looking.ratio_by_layer(frame)] == [2, 6]
    assert [one.n for one in looking.ratio_by_layer(frame)] == [3, 2]


def test_answers_are_joined_by_id_and_failures_left_out():
    frame = layers(size=[0.001, 0.001, 0.2, 0.2, 0.01, 0.01], ratio=[1.0] * 6)
    table = pd.DataFrame({"plain_score": {"1": 1.0, "0": 0.0, "2": np.nan}})
    joined = looking.with_answers(frame, table)
    assert joined["id"].tolist() == ["0", "0", "1", "1"]
    assert joined["answer"].tolist() == ["wrong", "wrong", "right", "right"]
    assert joined["group"].tolist() == ["small", "small", "large", "large"]
    assert looking.ratios(joined, "wrong", layer=1).tolist() == [1.0]


def test_ratio_by_kind_counts_its_samples(data):
    frame = pd.DataFrame({"id": ["a", "b", "c"], "ratio": [1.0, 2.0, 4.0]})
    made = looking.ratio_by_kind(frame, data)
    assert {name: one.value for name, one in made.items()} == {
        "digit, n = 2": 2.5,
        "exists, n = 1": 2.0,
    }


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(1.1, 2, "above 1"), (0.9, 2, "not apart from 1"), (0.2, 0.9, "below 1")],
)
def test_ratio_is_compared_with_one_in_words(low, high, words):
    assert looking.above(Estimate((low + high) / 2, low, high, 9)) == words


@pytest.fixture
def wide(write_data, row, picture):
    rows = [
        row(id="in", boxes=[[150, 10, 170, 30]]),
        row(id="none"),
        row(id="out", boxes=[[0, 10, 20, 30]]),
    ]
    return str(write_data(rows, [picture.resize((400, 200))]))


def test_object_that_is_cut_off_is_found_with_its_image(wide):
    image, sample = looking.cut_off(wide)
    assert sample.id == "out" and image.size == (400, 200)
    with pytest.raises(ValueError, match="pad leaves out no object of"):
        looking.cut_off(wide, "pad")


def test_inputs_are_what_each_fit_shows(picture):
    shown = looking.inputs(picture.resize((400, 100)), side=96)
    assert {fit: region for fit, (region, _) in shown.items()} == {
        "squash": (0, 0, 400, 100),
        "centre-crop": (150, 0, 250, 100),
        "pad": (0, 0, 400, 100),
        "native": (0, 0, 400, 100),
    }
    sizes = {fit: small.size for fit, (_, small) in shown.items()}
    assert sizes.pop("native") == (192, 48)
    assert set(sizes.values()) == {(96, 96)}
    assert shown["pad"][1].getpixel((48, 3)) == looking.GREY


def test_objects_kept_in_view_are_counted_by_fit(wide):
    kept = looking.views_kept(wide).set_index("fit")
    assert kept["objects"].tolist() == [2] * 4
    assert kept.loc["centre-crop", "wholly seen, %"].startswith("50.0 [")
    assert kept.loc["centre-crop", "not seen, %"].startswith("50.0 [")
    assert kept.loc["pad", "wholly seen, %"].startswith("100.0 [")


def run_table(coverage, score):
    """A run's table of samples a, b, c, …"""
    ids = list("abcdef"[: len(score)])
    columns = {"coverage": coverage, "score": score, "plain_score": [0.0] * len(ids)}
    return pd.DataFrame(columns, index=ids, dtype=float)


def test_runs_are_compared_sample_by_sample_and_measure_by_measure():
    before = run_table([0.9, 0.5, None, 0.0], [1, 0, 0, 0])
    after = run_table([0.8, 1.0, None, 1.0], [1, 1, 0, 0])
    found = looking.compare(before, after)
    assert {name: (round(e.value, 6), e.n) for name, e in found.items()} == {
        "share of the object in the crop": (round((2.8 - 1.4) / 3, 6), 3),
        "object in the crop": (round(1 / 3, 6), 3),
        "right with the crop": (0.25, 4),
        "right without": (0, 4),
    }


def test_comparison_has_a_row_a_measure_and_run():
    frames = {"exact": run_table([1, 1], [1, 1]), "other": run_table([0, 0], [0, 0])}
    table = looking.comparison(frames, "exact")
    assert table["run"].tolist() == ["exact", "other"] * 4
    assert table["measure"].tolist()[::2] == list(looking.measured(frames["exact"]))
    other = table[table["run"] == "other"].set_index("measure")
    assert other["effect"].tolist() == ["negative", "negative", "negative", "none"]
    apart = other.loc["object in the crop", "against exact, points"]
    assert apart == "−100.0 [−100.0, −100.0]"
    assert (table[table["run"] == "exact"]["effect"] == "").all()
