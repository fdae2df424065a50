import numpy as np
import pandas as pd
import pytest

import vicrop
from analysis import layerwise, looking
from analysis.figures import panels
from vicrop import adapters, boxes, plots
from vicrop.run import datasets, stats


@pytest.fixture(scope="module")
def blip():
    return vicrop.load("tiny-instructblip")


@pytest.fixture
def data(write_data, row, picture, scene):
    rows = [row(id="a", boxes=[scene[0].plates[0].box]), row(id="b")]
    return str(write_data(rows, [picture]))


def test_pairs_are_the_ratios_that_a_model_of_each_connector_layer_has(blip, data):
    """The twin loads the model anew for each layer of the Q-Former."""
    samples = datasets.load(data)
    frame = layerwise.by_pair(blip, data, samples).set_index("pair")["ratio"]
    depth = len(blip.attention)
    assert frame.index.tolist() == list(range(3 * depth))
    image = datasets.image_path(data, samples[0])
    for number in range(3):
        other = vicrop.load("tiny-instructblip", qformer_layer=number)
        for layer, amap in enumerate(other.look(image).layer_maps(samples[0].question)):
            ratio = boxes.attention_ratio(amap, samples[0].boxes[0], (448, 448))
            assert frame[layer + number * depth] == pytest.approx(ratio, rel=1e-4)


def test_the_maps_own_pair_is_what_a_run_reads(blip, data):
    samples = datasets.load(data)
    frame = layerwise.by_pair(blip, data, samples)
    own = looking.by_layer(blip, data, samples)
    chosen = frame[frame["pair"] == layerwise.chosen(blip)]
    assert chosen["connector"].tolist() == [blip.connector_layer]
    at = own[own["layer"] == blip.layer]["ratio"].tolist()
    assert chosen["ratio"].tolist() == pytest.approx(at)


def test_a_connector_without_attention_is_one_layer(vlm, data):
    samples = datasets.load(data)
    frame = layerwise.by_pair(vlm, data, samples)
    own = looking.by_layer(vlm, data, samples)
    pd.testing.assert_frame_equal(frame[list(own)], own)
    assert frame["pair"].tolist() == own["layer"].tolist()
    assert layerwise.chosen(vlm) == vlm.layer


def test_a_model_in_memory_is_read_with_its_own_weights(blip):
    for number, one in enumerate(blip.by_connector()):
        assert one.model is blip.model and one.layer == blip.layer
        assert one.connector_layer == number
    assert isinstance(one, adapters.FAMILIES["instructblip"])


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
    return pd.DataFrame(rows, columns=["id", "pair", "answer", "group", "ratio"])


def test_means_are_by_answer_and_layer():
    frame = table(2.0, 5.0)
    frame.loc[frame.index[0], "ratio"] = np.nan  # cut off by the processor
    made = layerwise.means(frame)
    assert list(made) == ["right, n = 12", "wrong, n = 12"]
    for name, answer in zip(made, ("right", "wrong"), strict=True):
        for pair, found in enumerate(made[name]):
            rows = frame[(frame["answer"] == answer) & (frame["pair"] == pair)]
            assert found == stats.bootstrap(rows["ratio"].dropna())
    assert list(layerwise.means(frame[frame["answer"] == "wrong"])) == ["wrong, n = 12"]


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
    made = layerwise.counted({"m": table(right, wrong)})
    assert made["model"].tolist()[0] == "the paper's 4"
    assert made.loc[1, list(layerwise.HEADS)].tolist() == ["2", *said]
    assert made.loc[2].tolist()[2:] == made.loc[1].tolist()[2:]  # all are small
    assert made.loc[0, "layers"] == "32 to 192"


def test_answers_are_compared_only_where_there_are_enough_of_both():
    frame = table(2.0, 5.0, ("small", "large"))
    few = frame[(frame["group"] == "small") | (frame["answer"] == "right")]
    made = layerwise.at_chosen({"m": (few, 1)}).set_index("objects")
    assert made.loc["small", "wrong minus right"].startswith("+3.0 [")
    assert made.loc["small", "effect"] == "positive"
    assert made.loc["large", ["wrong", "wrong minus right"]].tolist() == [
        "n = 0",
        "too few",
    ]


def test_panels_of_pairs_say_what_their_axis_is():
    line = [stats.Estimate(2, 1, 3, 9)]
    groups = {"one": {"right": line * 3}, "two": {"right": line * 6}}
    deep = {"one": 3, "two": 3}
    figure = panels.by_layers(groups, {"one": 2, "two": 5}, "mean ratio", deep)
    first, second = figure.axes
    assert first.get_xlabel() == "layer of the language model, from 0"
    assert second.get_xlabel() == "l = m + 3k (m: language, k: connector)"
    plots.plt.close(figure)
