import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import vicrop
from analysis import looking
from vicrop import adapters, boxes
from vicrop.run import datasets, stats
from vicrop.run.stats import Estimate
from vicrop.types import Map

QUESTION = "what digit is on the red plate?"

# The attention ratio.


def slow_ratio(values, target, cell, steps):
    """Attention ratio by counting pixels: each cell is drawn as cell × cell pixels."""
    drawn = np.kron(values, np.ones((cell, cell)))
    left, top, right, bottom = target
    width, height = right - left, bottom - top
    stride = cell // steps
    sums = [
        drawn[y : y + height, x : x + width].sum()
        for y in range(0, drawn.shape[0] - height + 1, stride)
        for x in range(0, drawn.shape[1] - width + 1, stride)
    ]
    return drawn[top:bottom, left:right].sum() / np.mean(sums)


@pytest.mark.parametrize(
    "target", [(0, 0, 8, 8), (12, 8, 28, 20), (4, 4, 40, 12), (0, 0, 48, 40)]
)
def test_attention_ratio_equals_dense_sampling_of_pixels(rng, target):
    values = rng.uniform(0.1, 1, (5, 6)).astype(np.float32)
    amap = Map(values)
    ratio = looking.attention_ratio(amap, target, (48, 40), steps=4)
    assert ratio == pytest.approx(slow_ratio(values, target, cell=8, steps=4), rel=1e-6)


def test_attention_ratio_does_not_round_the_target_to_cells(rng):
    values = rng.uniform(0.1, 1, (4, 4)).astype(np.float32)
    target = (3, 5, 14, 19)  # across the borders of 8-pixel cells
    ratio = looking.attention_ratio(Map(values), target, (32, 32), steps=8)
    assert ratio == pytest.approx(slow_ratio(values, target, cell=8, steps=8), rel=0.02)


def test_attention_ratio_uses_the_maps_region(rng):
    values = rng.uniform(0.1, 1, (4, 4)).astype(np.float32)
    plain = looking.attention_ratio(Map(values), (8, 8, 16, 24), (32, 32))
    moved = Map(values, region=(100, 10, 132, 42))
    assert looking.attention_ratio(moved, (108, 18, 116, 34), (232, 52)) == plain


EDGES = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@given(across=EDGES, down=EDGES)
def test_uniform_map_has_ratio_one(across, down):
    target = (90 * across[0], 60 * down[0], 90 * across[1], 60 * down[1])
    assume(target[2] - target[0] > 0.5 and target[3] - target[1] > 0.5)
    ratio = looking.attention_ratio(Map(np.ones((6, 9))), target, (90, 60))
    assert ratio == pytest.approx(1, rel=1e-6)


def test_ratio_is_above_one_where_the_map_is_bright():
    values = np.ones((6, 6))
    values[2, 3] = 10
    bright, dark = (30, 20, 40, 30), (0, 0, 10, 10)
    assert looking.attention_ratio(Map(values), bright, (60, 60)) > 5
    assert looking.attention_ratio(Map(values), dark, (60, 60)) < 1


def test_target_outside_the_maps_region_has_no_ratio():
    amap = Map(np.ones((4, 4)), region=(50, 0, 150, 100))
    assert math.isnan(looking.attention_ratio(amap, (40, 10, 60, 30), (200, 100)))
    assert looking.attention_ratio(amap, (50, 0, 150, 100), (200, 100)) == 1


# Layer by layer.


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
        for layer, amap in enumerate(looking.layer_maps(view, question)):
            ratio = looking.attention_ratio(amap, truth, (448, 448))
            crop = boxes.select_box(amap, (448, 448), vlm.crop_px)
            assert rows["ratio"].iloc[layer] == pytest.approx(ratio)
            assert rows["coverage"].iloc[layer] == boxes.coverage(crop, truth)
        assert (rows["size"] == boxes.area(truth) / 448**2).all()


def test_samples_that_share_an_image_share_its_view(vlm, data):
    views = [view for _, view in looking.views(vlm, data, datasets.load(data))]
    assert views[0] is views[1] is views[2]


def test_views_of_small_models_are_kept_and_of_large_ones_not(vlm, data, monkeypatch):
    def asked():
        return [view for _, view in looking.views(vlm, data, datasets.load(data))]

    assert asked() == asked()
    monkeypatch.setattr(looking, "SMALL", 0)
    assert asked() != asked()


def layers(**columns):
    """A frame of one row a sample and layer, layers 0 and 1 in turn."""
    count = len(next(iter(columns.values())))
    ids = [str(number // 2) for number in range(count)]
    named = {"id": ids, "image": ids, "layer": [0, 1] * (count // 2)}
    return pd.DataFrame(named | columns)


def test_best_layer_covers_most_objects():
    frame = layers(coverage=[0.95, 0.9, 0.5, 1.0, 0.89, 0.0])
    assert looking.covered_share(frame).tolist() == [1 / 3, 2 / 3]
    assert looking.best_layer(frame) == 1


def test_of_equally_good_layers_the_lowest_is_best():
    assert looking.best_layer(layers(coverage=[1.0, 1.0, 0.0, 0.0])) == 0


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


# Layers of a connector too.


@pytest.fixture(scope="module")
def blip():
    return vicrop.load("tiny-instructblip")


def test_layer_maps_equal_importance_layer_by_layer(vlm, picture, monkeypatch):
    for method in ("rel-att", "raw-att", "floor-att"):
        maps = looking.layer_maps(
            vlm.look(picture), "what digit is on the red plate?", method
        )
        assert len(maps) == 4
        for layer, amap in enumerate(maps):
            monkeypatch.setattr(vlm, "layer", layer)
            wanted = vlm.look(picture).importance(
                "what digit is on the red plate?", method
            )
            np.testing.assert_allclose(amap.values, wanted.values, rtol=1e-4)
            assert amap.region == wanted.region
        assert any((maps[0].values != amap.values).any() for amap in maps[1:])


@pytest.mark.parametrize("method", ["grad-att", "pure-grad"])
def test_layer_maps_are_of_attention_only(vlm, picture, method):
    with pytest.raises(ValueError, match=f"{method} is no attention map of one layer"):
        looking.layer_maps(vlm.look(picture), QUESTION, method)


@pytest.fixture
def pair(write_data, row, picture, scene):
    rows = [row(id="a", boxes=[scene[0].plates[0].box]), row(id="b")]
    return str(write_data(rows, [picture]))


def test_pairs_are_the_ratios_that_a_model_of_each_connector_layer_has(blip, pair):
    """The twin loads the model anew for each layer of the Q-Former."""
    samples = datasets.load(pair)
    frame = looking.by_pair(blip, pair, samples).set_index("pair")["ratio"]
    depth = len(blip.attention)
    assert frame.index.tolist() == list(range(3 * depth))
    image = datasets.image_path(pair, samples[0])
    for number in range(3):
        other = vicrop.load("tiny-instructblip", qformer_layer=number)
        maps = looking.layer_maps(other.look(image), samples[0].question)
        for layer, amap in enumerate(maps):
            ratio = looking.attention_ratio(amap, samples[0].boxes[0], (448, 448))
            assert frame[layer + number * depth] == pytest.approx(ratio, rel=1e-4)


def test_the_maps_own_pair_is_what_a_run_reads(blip, pair):
    samples = datasets.load(pair)
    frame = looking.by_pair(blip, pair, samples)
    own = looking.by_layer(blip, pair, samples)
    chosen = frame[frame["pair"] == looking.chosen_pair(blip)]
    assert chosen["connector"].tolist() == [blip.connector_layer]
    at = own[own["layer"] == blip.layer]["ratio"].tolist()
    assert chosen["ratio"].tolist() == pytest.approx(at)


def test_a_connector_without_attention_is_one_layer(vlm, pair):
    samples = datasets.load(pair)
    frame = looking.by_pair(vlm, pair, samples)
    own = looking.by_layer(vlm, pair, samples)
    pd.testing.assert_frame_equal(frame[list(own)], own)
    assert frame["pair"].tolist() == own["layer"].tolist()
    assert looking.chosen_pair(vlm) == vlm.layer


def test_a_model_in_memory_is_read_with_its_own_weights(blip):
    for number, one in enumerate(looking.by_connector(blip)):
        assert one.model is blip.model and one.layer == blip.layer
        assert one.connector_layer == number
    assert isinstance(one.facts, adapters.FAMILIES["instructblip"].facts)


def table(right, wrong, groups=("small",)):
    """Ratios of 12 right and 12 wrong answers, shifted a little, in two layers."""
    rows = []
    for group in groups:
        for answer, ratio in (("right", right), ("wrong", wrong)):
            rows += [
                (f"{group}{answer}{n}", pair, answer, group, ratio + 0.01 * n)
                for n in range(12)
                for pair in (0, 1)
            ]
    made = pd.DataFrame(rows, columns=["id", "pair", "answer", "group", "ratio"])
    return made.assign(image=made["id"])


def test_means_are_by_answer_and_layer():
    frame = table(2.0, 5.0)
    frame.loc[frame.index[0], "ratio"] = np.nan  # cut off by the processor
    made = looking.mean_by_pair(frame)
    assert list(made) == ["right, n = 12", "wrong, n = 12"]
    for name, answer in zip(made, ("right", "wrong"), strict=True):
        for pair, found in enumerate(made[name]):
            rows = frame[(frame["answer"] == answer) & (frame["pair"] == pair)]
            assert found == stats.bootstrap(rows["ratio"].dropna())
    assert list(looking.mean_by_pair(frame[frame["answer"] == "wrong"])) == [
        "wrong, n = 12"
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (2.0, 5.0, ["12", "2", "12", "2", "0", "2"]),
        (5.0, 2.0, ["12", "2", "12", "2", "2", "0"]),
        (2.0, 2.0, ["12", "2", "12", "2", "0", "0"]),
        (0.1, 0.1, ["12", "0", "12", "0", "0", "0"]),
    ],
)
def test_layers_are_counted_by_their_intervals(right, wrong, said):
    made = looking.counted_layers({"m": table(right, wrong)})
    assert made["model"].tolist()[0] == "the paper's 4"
    assert made.loc[1, list(looking.HEADS)].tolist() == ["2", *said]
    assert made.loc[2].tolist()[2:] == made.loc[1].tolist()[2:]  # all are small
    assert made.loc[0, "layers"] == "32 to 192"


def test_answers_are_compared_only_where_there_are_enough_of_both():
    frame = table(2.0, 5.0, ("small", "large"))
    few = frame[(frame["group"] == "small") | (frame["answer"] == "right")]
    made = looking.at_map_layer({"m": (few, 1)}).set_index("objects")
    assert made.loc["small", "wrong minus right"].startswith("+3.0 [")
    assert made.loc["small", "effect"] == "positive"
    assert made.loc["large", ["wrong", "wrong minus right"]].tolist() == [
        "n = 0",
        "too few",
    ]


def layer_of(ratios, answers, sizes):
    columns = {"ratio": ratios, "answer": answers, "size": sizes}
    return pd.DataFrame(columns).assign(image=range(len(sizes)))


def test_a_difference_that_is_only_of_size_vanishes_at_like_sizes(rng):
    """Ratio follows size exactly; wrong answers are about smaller objects."""
    sizes = rng.uniform(0.0001, 0.005, 800)
    wrong = rng.random(800) > sizes / 0.005
    layer = layer_of(1 / sizes, np.where(wrong, "wrong", "right"), sizes)
    logs = np.log2(layer["ratio"])
    raw = logs[wrong].mean() - logs[~wrong].mean()
    like = looking.like_sized(layer, bins=16)
    assert raw > 0.8
    assert abs(like.value) < 0.15
    assert like.n <= 800


def test_bins_of_few_answers_are_left_out():
    layer = layer_of([1.0, 2.0, 3.0, 4.0], ["right", "wrong"] * 2, [1, 2, 3, 4])
    assert looking.like_sized(layer).n == 0
