"""What pages measure beside the runs, with a small random model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import crops, looking, probes
from analysis.probes import Probes
from vicrop import boxes
from vicrop.run import datasets
from vicrop.types import Box, Map


@pytest.fixture
def data(write_data, row, picture):
    rows = [
        row(id="a", boxes=[[200, 200, 216, 216]]),
        row(id="b", boxes=[[40, 60, 60, 80]], question="what digit is on it?"),
    ]
    return str(write_data(rows, [picture]))


@pytest.fixture
def samples(data):
    return datasets.load(data)


def test_a_zoom_ends_near_the_object_and_starts_with_the_whole_image(samples):
    views = probes._zooms(samples[0], (448, 448))
    assert views[0] == Box(0, 0, 448, 448)
    sides = [view.width for view in views]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] <= 2 * 16 + 4
    assert all(boxes.coverage(view, samples[0].boxes[0]) == 1 for view in views)


def test_a_zoom_gives_a_probability_a_view(vlm, data, samples):
    table = probes.zoom(vlm, data, samples)
    assert list(table["name"]) == [f"step {n}" for n in range(probes.ZOOMS)] * 2
    assert table["score"].between(0, 1).all()


def test_the_chance_of_an_answer_is_the_softmax_of_its_first_token(vlm, picture):
    view = vlm.look(picture)
    said = view.ask("what digit is on the red plate?", max_new_tokens=1).plain
    if not said:
        pytest.skip("the random model begins with a special token")
    (best,) = probes.chances(vlm, [view], "what digit is on the red plate?", said)
    (other,) = probes.chances(vlm, [view], "what digit is on the red plate?", "7")
    assert 0 <= other <= best <= 1


def test_every_layers_crop_is_answered_and_the_means(vlm, data, samples):
    looked = looking.looks(vlm, data, samples)
    table = probes.layer_answers(vlm, data, looked)
    count = len(looked[0].maps)
    names = [*(probes.layer_name(number) for number in range(count)), crops.ALL]
    assert list(table["name"][: count + 1]) == names
    assert len(table) == 2 * (count + 1)
    assert table["score"].isin([0, 1]).all()


def test_a_crop_is_shown_alone_beside_what_the_run_recorded(vlm, data, samples):
    run = pd.DataFrame(
        {
            "error": [None, None],
            "box": [(180, 180, 244, 244), None],
            "score": [1.0, 0.0],
            "plain_score": [0.0, 0.0],
        },
        index=["a", "b"],
    )
    table = probes.alone(vlm, data, samples, run)
    assert set(table["id"]) == {"a"}
    scores = dict(zip(table["name"], table["score"], strict=True))
    assert (scores["image and crop"], scores["image alone"]) == (1, 0)
    assert scores["crop alone"] in (0, 1)


def test_the_ratio_is_taken_in_every_way(vlm, data, samples):
    table = probes.ratios(vlm, data, samples)
    ways = [probes.DEFINED, probes.ROUNDED, probes.POOLED, probes.RAW]
    assert list(table["name"][:4]) == ways
    looked = looking.looks(vlm, data, samples)[0]
    expected = looking.attention_ratio(
        looked.maps[vlm.layer], samples[0].boxes[0], looked.image_size
    )
    assert table["ratio"][0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("pool", [np.sum, np.max])
def test_a_uniform_map_has_ratio_one_in_every_way(pool):
    assert (
        probes.cell_ratio(Map(np.ones((6, 6))), (10, 10, 25, 25), (60, 60), pool) == 1
    )


def test_touched_cells_are_pooled_like_in_a_loop(rng):
    """The box touches rows 1 and 2 of 5, columns 2 to 4 of 7; a cell is 10 pixels."""
    amap = Map(rng.random((5, 7)))
    every = [
        amap.values[top : top + 2, left : left + 3].sum()
        for top in range(4)
        for left in range(5)
    ]
    expected = amap.values[1:3, 2:5].sum() / np.mean(every)
    found = probes.cell_ratio(amap, (21, 10, 50, 29), (70, 50), np.sum)
    assert found == pytest.approx(expected)


def test_a_box_outside_the_map_has_no_ratio():
    amap = Map(np.ones((4, 4)), (20, 0, 40, 20))
    assert np.isnan(probes.cell_ratio(amap, (0, 0, 10, 10), (60, 20), np.sum))


@pytest.fixture
def one(monkeypatch, vlm, data, tmp_path):
    """Probes of a model in memory, kept in an empty folder."""
    monkeypatch.setattr(crops, "small_samples", lambda of, n: datasets.load(of))
    made = probes.of("tiny-llava", data)
    made.__dict__["vlm"] = vlm
    monkeypatch.setattr(Probes, "folder", tmp_path / "kept")
    return made


def test_a_table_is_measured_once_and_read_as_it_was(one, monkeypatch):
    for name in ("zoom", "layers", "tokens", "maps", "windows", "phrasing"):
        first = one.table(name)
        again = probes.of(one.model, one.dataset)
        monkeypatch.setitem(probes.TABLES, name, lambda _: pytest.fail("measured"))
        pd.testing.assert_frame_equal(again.table(name), first)
    measured = probes.zoom(one.vlm, one.dataset, one.samples)
    pd.testing.assert_frame_equal(one.table("zoom"), measured)


def test_what_is_known_of_the_model_is_kept_too(one):
    about = one.about
    assert about == probes.of(one.model, one.dataset).about
    assert (about["layer"], about["crop_px"]) == (one.vlm.layer, one.vlm.crop_px)
    assert about["layers"] == len(one.vlm.attention)


def test_other_weights_data_and_numbers_are_kept_elsewhere(data):
    made = [("tiny-llava", data, 0), ("tiny-llava", data, 3)]
    made += [("tiny-llava-unmasked", data, 0)]
    found = {probes.of(*each).folder for each in made}
    found.add(probes.of("tiny-llava", data, dtype="bfloat16").folder)
    with (Path(data) / "data.json").open("a") as file:
        file.write("\n")  # the same name, drawn anew
    found.add(probes.of("tiny-llava", data).folder)
    assert len(found) == len(made) + 2


def test_what_was_cut_off_is_measured_again(one, monkeypatch):
    def torn(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(probes.TABLES, "windows", torn)
    with pytest.raises(KeyboardInterrupt):
        one.table("windows")
    assert not list(one.folder.glob("windows*"))


def test_tables_are_read_without_torch(one):
    """Nor does importing what pages make of them load it."""
    names = "probes words looking crops phrasing failures figures"
    code = "import sys; " + "; ".join(f"import analysis.{n}" for n in names.split())
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
