"""Plans: what a size would do, as jobs for the workflow and as lines to read."""

import json
import shutil

import pytest
import torch
import typer
import yaml

from vicrop import adapters, paths
from vicrop.run.records import RunConfig
from workflow import matrix, plans


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
def write_matrix(tmp_path):
    file = tmp_path / "matrix.yaml"

    def write(*blocks, pages=()):
        chosen = {"runs": list(blocks), "pages": list(pages)}
        file.write_text(yaml.safe_dump({"small": chosen}))
        return file

    return write


def test_runs_that_differ_in_their_method_only_are_one_group(write_matrix):
    two = {"plates": ["rel-att", "no-crop"], "plates-hd": ["no-crop"]}
    file = write_matrix(
        {"models": ["tiny-llava", "tiny-qwen2.5-vl"], "datasets": two},
        {
            "models": ["tiny-llava"],
            "datasets": {
                "plates": [{"method": "rel-att", "geometry": "upstream", "fit": "pad"}]
            },
        },
        pages=["quick_start"],
    )
    configs, pages = matrix.chosen(file, "small")
    groups = plans.grouped(configs)
    assert {name: len(group) for name, group in groups.items()} == {
        "tiny-llava__all__plates": 2,
        "tiny-llava__all__plates-hd": 1,
        "tiny-qwen2.5-vl__all__plates": 2,
        "tiny-qwen2.5-vl__all__plates-hd": 1,
        "tiny-llava__all__plates__pad__upstream": 1,
    }
    assert pages == ["quick_start"]


def test_group_says_what_its_jobs_need(write_matrix):
    file = write_matrix(
        {
            "models": ["llava-1.5-7b"],
            "datasets": {"vstar": ["no-crop"], "gqa": ["no-crop"]},
            "device": "cuda",
            "dtype": "bfloat16",
            "shards": {"gqa": 8},
        }
    )
    configs, _ = matrix.chosen(file, "small")
    groups = plans.grouped(configs)
    vstar, gqa = (
        groups[f"llava-1.5-7b__all__{name}__bfloat16"] for name in ("vstar", "gqa")
    )
    size = adapters.MODELS["llava-1.5-7b"].size_gb
    assert (vstar[0].shards, gqa[0].shards) == (1, 8)
    assert plans.memory_mb(gqa[0]) == 2000 + int(1200 * size)
    assert plans.inputs(gqa[0]) == [str(paths.data() / "gqa" / "data.json")]
    assert plans.minutes(gqa) is None


def test_embedded_weights_are_what_records_depend_on():
    data, *weights = plans.inputs(RunConfig())
    assert data == str(paths.data() / "plates" / "data.json")
    assert weights == [str(paths.WEIGHTS / "tiny-llava" / "model.safetensors")]


def test_groups_tell_the_shell_what_names_a_run_and_how_it_is_made():
    config = RunConfig(seed=4, batch_size="auto", save_maps=True, shards=2)
    configs = [config.model_copy(update={"method": m}) for m in ("no-crop", "rel-att")]
    (group,) = plans.grouped(configs).values()
    told = ["--method=no-crop", "--method=rel-att", "--seed=4"]
    assert plans.arguments(group) == told
    assert plans.how(group[0]) == ["--batch-size=auto", "--save-maps"]


def finished(results_folder, method, seconds, answered):
    config = RunConfig(method=method)
    folder = results_folder / "runs" / config.run_id
    folder.mkdir(parents=True)
    meta = {"config": json.loads(config.model_dump_json()), "finished": True}
    meta |= {"seconds": seconds, "answered": answered}
    (folder / "meta.json").write_text(json.dumps(meta))


def test_time_is_expected_from_what_was_measured(results_folder, data):
    finished(results_folder, "no-crop", 1000.0, 100)
    finished(results_folder, "rel-att", 6000.0, 100)
    configs = [RunConfig(method=m, limit=70) for m in ("no-crop", "rel-att")]
    assert plans.minutes(configs) is None  # no data yet
    data("plates", [row(number) for number in range(90)])
    assert plans.minutes(configs) == 10 + int(1.5 * 70 * 70 / 60)
    assert plans.minutes([*configs, RunConfig(method="grad-att", limit=70)]) is None


def test_summary_counts_and_tells_what_is_missing():
    configs = [RunConfig(method="no-crop"), RunConfig(dataset="plates-hd")]
    found = plans.Needs({"plates": 100}, 200, ["a model"])
    assert plans.summary("small", configs, found) == [
        "small: 2 runs in 2 groups, 2 shards; 200 answers from the data that are here",
        "  plates: 100 questions",
        "  missing: a model",
    ]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data, weights of the hub, or GPU."""
    for name in ("DATA", "RESULTS"):
        monkeypatch.setenv(f"VICROP_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    return tmp_path


def test_all_that_is_missing_is_told_before_anything_is_written(nowhere, capsys):
    with pytest.raises(typer.Exit) as caught:
        plans.main("table2", check=True)
    assert caught.value.exit_code == 2
    assert list(nowhere.iterdir()) == []
    out, err = capsys.readouterr()
    assert err == "table2: nothing was run; get what is missing first\n"
    missing = [line for line in out.splitlines() if line.startswith("  missing: ")]
    assert len(missing) == 7 + 2 + 1  # data sets, models, device
    for dataset in "textvqa docvqa gqa aokvqa pope vstar vqav2".split():
        assert any(f"`vicrop prep {dataset}`" in line for line in missing)
    assert any("`hf download llava-hf/llava-1.5-7b-hf --rev" in m for m in missing)
    assert any("missing: device cuda: torch does not see it" in m for m in missing)


def test_plan_of_a_cluster_is_made_where_there_is_no_gpu(nowhere, capsys):
    plans.main("table1")
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("table1: 6 runs in 2 groups, 2 shards; 0 answers from")
    assert not any("device" in line for line in out)


def test_wrong_matrix_or_size_is_one_line(nowhere, capsys):
    for size, file in (("huge", plans.MATRIX), ("embedded", nowhere / "no.yaml")):
        with pytest.raises(typer.Exit) as caught:
            plans.main(size, file)
        assert caught.value.exit_code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("workflow.plans: ")


# What is missing.


@pytest.fixture
def no_weights(monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)


def runs(*methods, **settings):
    return [RunConfig(method=method, **settings) for method in methods]


def test_nothing_is_missing_where_all_is_here(data):
    data("plates", [row(0), row(1, boxes=BOX), row(2)])
    found = plans.needs(runs("no-crop", "rel-att", "human-crop"))
    assert (found.questions, found.answers) == ({"plates": 3}, 3 + 3 + 1)
    assert found.missing == []


def test_subset_counts_as_many_questions_as_it_has(data):
    data("plates", [row(0), row(1), row(2)])
    found = plans.needs([*runs("no-crop", limit=2), *runs("rel-att", limit=9)])
    assert (found.questions, found.answers) == ({"plates": 3}, 2 + 3)


def test_all_that_is_missing_is_told_at_once(data, no_weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    data("plates", [row(0)])
    found = plans.needs(
        [
            *runs("no-crop"),
            *runs("no-crop", "rel-att", dataset="textvqa", model="llava"),
            *runs("human-crop", dataset="textvqa", device="cuda:1"),
            *runs("no-crop", dataset="vstar", model="qwen2.5-vl-3b", device="cuda"),
        ],
        devices=True,
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
    found = plans.needs(runs("no-crop", "human-crop-tight", dataset="textvqa"))
    (line,) = found.missing
    assert "textvqa has none" in line and line.endswith("`vicrop prep textvqa`")


def test_torn_data_are_told_with_the_command_that_makes_them(data):
    data("vstar", '[{"id": "0"')
    (line,) = plans.needs(runs("no-crop", dataset="vstar")).missing
    assert "is not whole JSON" in line and "`vicrop prep vstar`" in line


def test_data_of_ones_own_have_no_command(data, tmp_path):
    data("mine", [])
    (line,) = plans.needs(runs("no-crop", dataset=str(tmp_path / "mine"))).missing
    assert line.endswith("at least one sample")


def test_embedded_weights_that_are_gone_are_trained_anew(data, tmp_path, monkeypatch):
    data("plates", [row(0)])
    weights = tmp_path / "weights"
    shutil.copytree(paths.WEIGHTS / "tiny-qwen2.5-vl", weights / "tiny-qwen2.5-vl")
    monkeypatch.setattr(paths, "WEIGHTS", weights)
    models = ("tiny-qwen2.5-vl", "tiny-llava")
    configs = [config for model in models for config in runs("no-crop", model=model)]
    (line,) = plans.needs(configs).missing
    assert line.startswith(f"model tiny-llava: no weights in {weights / 'tiny-llava'}")
    assert line.endswith("`make train`")


def test_device_that_torch_was_not_built_for_is_missing(data):
    data("plates", [row(0)])
    (line,) = plans.needs(runs("no-crop", device="mps"), devices=True).missing
    assert line.startswith("device mps: ")
