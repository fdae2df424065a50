"""What runs need is looked for before the first of them."""

import json
import shutil

import pytest
import torch

from vicrop import adapters, paths
from vicrop.adapters import registry
from vicrop.run.records import RunConfig
from workflow import preflight


def row(number, **more):
    plain = {"question": "what?", "labels": ["a"], "image_path": "a.png"}
    return {"id": str(number), **plain, **more}


BOX = [[0, 0, 2, 2]]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Writes a data set's rows, or text as it is."""
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))

    def write(key, rows):
        (tmp_path / key).mkdir()
        text = rows if isinstance(rows, str) else json.dumps(rows)
        (tmp_path / key / "data.json").write_text(text)

    return write


@pytest.fixture
def no_weights(monkeypatch):
    monkeypatch.setattr(registry, "try_to_load_from_cache", lambda *a, **k: None)


def runs(*methods, **settings):
    return [RunConfig(method=method, **settings) for method in methods]


def test_nothing_is_missing_where_all_is_here(data):
    data("plates", [row(0), row(1, boxes=BOX), row(2)])
    found = preflight.survey(runs("no-crop", "rel-att", "human-crop"))
    assert (found.questions, found.answers) == ({"plates": 3}, 3 + 3 + 1)
    assert found.missing == []
    counts = [found.count(one) for one in runs("grad-att", "human-crop-tight")]
    assert counts == [3, 1] and found.count(RunConfig(limit=1)) is None


def test_subset_counts_as_many_questions_as_it_has(data):
    data("plates", [row(0), row(1), row(2)])
    found = preflight.survey([*runs("no-crop", limit=2), *runs("rel-att", limit=9)])
    assert (found.questions, found.answers) == ({"plates": 3}, 2 + 3)


def test_all_that_is_missing_is_told_at_once(data, no_weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    data("plates", [row(0)])
    found = preflight.survey(
        [
            *runs("no-crop"),
            *runs("no-crop", "rel-att", dataset="textvqa", model="llava"),
            *runs("human-crop", dataset="textvqa", device="cuda:1"),
            *runs("no-crop", dataset="vstar", model="qwen2.5-vl-3b", device="cuda"),
        ]
    )
    spec = adapters.MODELS["qwen2.5-vl-3b"]
    assert found.answers == 1
    data_1, data_2, model_1, model_2, device = found.missing
    assert data_1 == (
        f"data set textvqa: no data.json in {paths.data() / 'textvqa'}; make it with "
        "`vicrop prep textvqa`"
    )
    assert "`vicrop prep vstar`" in data_2
    assert "model llava-1.5-7b: no weights here; get them with `hf download" in model_1
    assert f"`{spec.command()}` (7.5 GB, Qwen Research License)" in model_2
    assert device.startswith("device cuda:1: torch does not see it; ")


def test_human_crop_of_data_without_boxes_is_missing_its_boxes(data):
    data("textvqa", [row(0)])
    found = preflight.survey(runs("no-crop", "human-crop-tight", dataset="textvqa"))
    (line,) = found.missing
    assert "textvqa has none" in line and line.endswith("`vicrop prep textvqa`")


def test_torn_data_are_told_with_the_command_that_makes_them(data):
    data("vstar", '[{"id": "0"')
    (line,) = preflight.survey(runs("no-crop", dataset="vstar")).missing
    assert "is not whole JSON" in line and "`vicrop prep vstar`" in line


def test_data_of_ones_own_have_no_command(data, tmp_path):
    data("mine", [])
    (line,) = preflight.survey(runs("no-crop", dataset=str(tmp_path / "mine"))).missing
    assert line.endswith("at least one sample")


def test_embedded_weights_that_are_gone_are_trained_anew(data, tmp_path, monkeypatch):
    data("plates", [row(0)])
    weights = tmp_path / "weights"
    shutil.copytree(paths.WEIGHTS / "tiny-qwen2.5-vl", weights / "tiny-qwen2.5-vl")
    monkeypatch.setattr(paths, "WEIGHTS", weights)
    models = ("tiny-qwen2.5-vl", "tiny-llava")
    configs = [config for model in models for config in runs("no-crop", model=model)]
    (line,) = preflight.survey(configs).missing
    assert line.startswith(f"model tiny-llava: no weights in {weights / 'tiny-llava'}")
    assert line.endswith("`make train`")


def test_device_that_torch_was_not_built_for_is_missing(data):
    data("plates", [row(0)])
    (line,) = preflight.survey(runs("no-crop", device="xla")).missing
    assert line.startswith("device xla: ")
