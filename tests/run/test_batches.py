"""Batches over several images, and what happens where memory does not suffice."""

import json
import shutil
import threading

import pytest
import torch

from vicrop.run import batches, loop, provenance
from vicrop.run.batches import Looker
from vicrop.run.records import RunConfig, Sample

METHODS = ["no-crop", "rel-att", "grad-att", "random-crop", "rel-att-high"]


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def config(folder, random_weights, results_folder):
    return RunConfig(dataset=str(folder), max_new_tokens=3)


def several(config, **changes):
    return [config.model_copy(update={"method": m, **changes}) for m in METHODS]


def texts(folders):
    return [folder.records_file.read_text() for folder in folders]


def fresh(monkeypatch, tmp_path, name):
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / name))


@pytest.mark.parametrize("size", [2, 3, 99, "auto"])
def test_batches_give_the_records_of_one_by_one(config, monkeypatch, tmp_path, size):
    alone = texts(loop.run_together(several(config), progress=False))
    fresh(monkeypatch, tmp_path, "together")
    made = loop.run_together(several(config, batch_size=size), progress=False)
    assert texts(made) == alone
    assert all(folder.meta()["notes"] == [] for folder in made)


def test_pure_grad_begins_with_its_own_passes(config, monkeypatch, tmp_path):
    configs = [
        config.model_copy(update={"method": m}) for m in ("pure-grad", "rel-att")
    ]
    alone = texts(loop.run_together(configs, progress=False))
    fresh(monkeypatch, tmp_path, "together")
    monkeypatch.setattr(batches, "describe", None)  # not called
    batched = [one.model_copy(update={"batch_size": 3}) for one in configs]
    made = loop.run_together(batched, progress=False)
    assert texts(made) == alone and made[0].meta()["notes"] == []


def test_batch_needs_fewer_passes(config, monkeypatch, tmp_path):
    alone = loop.run(config, progress=False).meta()["passes"]
    fresh(monkeypatch, tmp_path, "together")
    batched = config.model_copy(update={"batch_size": 3})
    assert loop.run(batched, progress=False).meta()["passes"] <= alone / 2


def out_of_memory(monkeypatch, fits):
    """Let no batch of more than ``fits`` images be answered; sizes that were tried."""
    answer, tried = batches.answer, []

    def tight(asked, max_new_tokens):
        tried.append(len({view for view, *_ in asked}))
        if tried[-1] > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return answer(asked, max_new_tokens)

    monkeypatch.setattr(batches, "answer", tight)
    return tried


@pytest.mark.parametrize(("fits", "tried"), [(1, [3]), (2, [4, 2, 2])])
def test_batch_that_does_not_fit_is_halved_and_nothing_is_lost(
    config, folder, monkeypatch, tmp_path, fits, tried
):
    if fits == 2:  # a fourth image
        shutil.copy(folder / "images/0.png", folder / "images/3.png")
        rows = json.loads((folder / "data.json").read_text())
        rows.append({**rows[0], "id": "3-read", "image_path": "3.png"})
        (folder / "data.json").write_text(json.dumps(rows))
    alone = loop.run(config, progress=False).records_file.read_text()
    fresh(monkeypatch, tmp_path, "together")
    sizes = out_of_memory(monkeypatch, fits)
    made = loop.run(config.model_copy(update={"batch_size": 4}), progress=False)
    assert made.records_file.read_text() == alone
    assert sizes[: len(tried)] == tried and max(sizes[1:], default=1) <= fits
    (note,) = made.meta()["notes"]
    first, left = tried[0], tried[0] // 2
    assert note == (
        f"out of memory with {first} images together; {left} from sample 0-read on"
    )


def test_out_of_memory_alone_is_that_samples_error(config, monkeypatch):
    from vicrop.view import View

    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(View, "importance", full)
    made = loop.run(config.model_copy(update={"batch_size": 3}), progress=False)
    errors = {record.error for record in made.records()}
    assert errors == {"OutOfMemoryError: CUDA out of memory"}
    assert len(list(made.records())) == 6


def test_bad_image_fails_alone_in_its_batch(config, folder, monkeypatch, tmp_path):
    (folder / "images/1.png").write_text("no picture")
    alone = loop.run(config, progress=False).records_file.read_text()
    fresh(monkeypatch, tmp_path, "together")
    made = loop.run(config.model_copy(update={"batch_size": 3}), progress=False)
    assert made.records_file.read_text() == alone
    assert alone.count("is not a readable image") == 2


def test_question_that_fails_makes_its_batch_go_one_by_one(config, folder):
    rows = json.loads((folder / "data.json").read_text())
    rows[2]["question"] = "what digit " * 900
    (folder / "data.json").write_text(json.dumps(rows))
    made = loop.run(config.model_copy(update={"batch_size": 3}), progress=False)
    failed = [record.id for record in loop.failures(made)]
    assert failed == [rows[2]["id"]]
    (note,) = made.meta()["notes"]
    assert (
        "3 images from sample 0-read on one by one" in note and "at most 1024" in note
    )


def test_size_that_is_found_is_a_gpus(config):
    class Task:
        def __init__(self, kind, size):
            self.config = RunConfig(batch_size=size)
            self.vlm = type("", (), {"device": torch.device(kind)})

    assert batches._size(Task("cpu", "auto")) == 1
    assert batches._size(Task("cuda", "auto")) == batches.AUTO
    assert batches._size(Task("cuda", 5)) == 5


def test_saved_maps_choose_the_boxes_that_were_recorded(config):
    """Without a model: the boxes that the maps choose are those of the records."""
    from vicrop import boxes

    made = loop.run(config.model_copy(update={"save_maps": True}), progress=False)
    maps = made.maps()
    found = {
        r.id: boxes.select_box(maps[r.id], (448, 448), provenance.load(config).crop_px)
        for r in made.records()
    }
    assert found == {record.id: record.box for record in made.records()}


# Images read ahead.


class Named(str):
    """An image, and its view, that is a name."""

    fit, size = "squash", (1, 1)


class Shown:
    """A model that shows its view of an image: the image."""

    def look(self, image, fit, geometry):
        return image


@pytest.fixture
def looker(row, monkeypatch):
    """Makes a looker at images that this loads, and samples of them by name."""

    def make(load, names, ahead=3):
        monkeypatch.setattr(batches, "AHEAD", ahead)
        monkeypatch.setattr(batches.datasets, "image_path", lambda _, s: s.image_path)
        monkeypatch.setattr(batches.images, "load", load)
        monkeypatch.setattr(batches.Views, "get", lambda self, key, make: make())
        samples = {n: Sample(**row(id=n, image_path=n)) for n in [*names, "z"]}
        look = Looker(Shown(), RunConfig(), [samples[name] for name in names])
        return look, samples

    return make


@pytest.fixture
def loaded():
    """Names as they were loaded, and what loads them."""
    names = []

    def load(name, tell):
        names.append(name)
        if name == "bad":
            raise OSError("cannot be read")
        return Named(name.upper())

    return names, load


def test_each_image_is_read_once_in_any_order(loaded, looker):
    names, load = loaded
    look, samples = looker(load, "abcdef", ahead=2)
    assert [look(samples[name]) for name in "abcdef"] == list("ABCDEF")
    assert sorted(names) == list("abcdef")
    look.close()


def test_no_more_images_wait_than_may(loaded, looker):
    names, load = loaded
    look, samples = looker(load, "abcdef")
    look(samples["a"])
    look._pool.shutdown()
    assert sorted(names) == list("abcd")


def test_reading_goes_on_while_others_work(looker):
    met = threading.Barrier(2, timeout=10)

    def load(name, tell):
        met.wait()
        return Named(name)

    look, samples = looker(load, "ab")
    # Neither came without the other.
    assert (look(samples["a"]), look(samples["b"])) == ("a", "b")
    look.close()


def test_image_that_cannot_be_read_fails_where_it_is_looked_at(loaded, looker):
    _, load = loaded
    look, samples = looker(load, ["a", "bad", "b"])
    assert look(samples["a"]) == "A"
    with pytest.raises(OSError, match="cannot be read"):
        look(samples["bad"])
    assert look(samples["b"]) == "B"
    look.close()


def test_image_that_was_not_to_come_is_read_now(loaded, looker):
    names, load = loaded
    look, samples = looker(load, "a", ahead=1)
    assert (look(samples["z"]), look(samples["z"])) == ("Z", "Z")
    look.close()
    assert names.count("z") == 2
