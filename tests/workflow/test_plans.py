"""Plans: what a size would do, as jobs for the workflow and as lines to read."""

import json

import pytest
import torch
import typer
import yaml

from vicrop import adapters, paths
from vicrop.adapters import registry
from vicrop.run.records import RunConfig
from workflow import matrix, planned, plans, preflight

NOTHING = preflight.Survey({}, 0, [])


def survey_of(configs, count=100):
    return preflight.Survey({}, 0, [], {preflight._asks(c): count for c in configs})


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
    plan = plans.make("small", configs, pages, NOTHING)
    assert {name: len(group.runs) for name, group in plan.groups.items()} == {
        "tiny-llava__all__plates": 2,
        "tiny-llava__all__plates-hd": 1,
        "tiny-qwen2.5-vl__all__plates": 2,
        "tiny-qwen2.5-vl__all__plates-hd": 1,
        "tiny-llava__all__plates__pad__upstream": 1,
    }
    assert plan.pages == ["quick_start"] and len(plan.configs) == 7


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
    groups = plans.make("small", configs, [], NOTHING).groups
    vstar, gqa = (groups[f"llava-1.5-7b__all__{name}"] for name in ("vstar", "gqa"))
    size = adapters.MODELS["llava-1.5-7b"].size_gb
    assert (vstar.shards, gqa.shards) == (1, 8)
    assert (gqa.gpu, gqa.memory_mb) == (1, 2000 + int(1200 * size))
    assert gqa.inputs == [str(paths.data() / "gqa" / "data.json")]
    assert gqa.minutes is None


def test_embedded_weights_are_what_records_depend_on():
    (group,) = plans.make("small", [RunConfig()], [], NOTHING).groups.values()
    data, *weights = group.inputs
    assert data == str(paths.data() / "plates" / "data.json")
    assert weights == [str(paths.WEIGHTS / "tiny-llava" / "model.safetensors")]


def test_groups_tell_the_shell_what_names_a_run_and_how_it_is_made():
    config = RunConfig(seed=4, batch_size="auto", save_maps=True, shards=2)
    configs = [config.model_copy(update={"method": m}) for m in ("no-crop", "rel-att")]
    (group,) = plans.make("small", configs, [], NOTHING).groups.values()
    assert group.arguments == "--method=no-crop --method=rel-att --seed=4"
    assert group.how == "--batch-size=auto --save-maps"


def finished(results_folder, method, seconds, answered):
    config = RunConfig(method=method)
    folder = results_folder / "runs" / config.run_id
    folder.mkdir(parents=True)
    meta = {"config": json.loads(config.model_dump_json()), "finished": True}
    meta |= {"seconds": seconds, "answered": answered}
    (folder / "meta.json").write_text(json.dumps(meta))


def test_time_is_expected_from_what_was_measured(results_folder):
    finished(results_folder, "no-crop", 10.0, 100)
    finished(results_folder, "rel-att", 60.0, 100)
    configs = [RunConfig(method=m, limit=7) for m in ("no-crop", "rel-att")]
    found = survey_of(configs, 6000)
    speeds = plans.seconds_an_answer()
    assert plans.expected(configs, found, speeds) == pytest.approx(6000 * 0.7)
    (group,) = plans.make("small", configs, [], found).groups.values()
    assert group.minutes == 10 + int(1.5 * 6000 * 0.7 / 60)
    other = [*configs, RunConfig(method="grad-att", limit=7)]
    assert plans.expected(other, found, speeds) is None
    assert plans.expected(configs, NOTHING, speeds) is None


def test_summary_counts_and_tells_the_time(results_folder):
    configs = [RunConfig(method="no-crop"), RunConfig(dataset="plates-hd")]
    found = preflight.Survey({"plates": 100}, 200, [], survey_of(configs).counts)
    plan = plans.make("small", configs, [], found)
    assert plans.summary(plan, found) == [
        "small: 2 runs in 2 groups, 2 shards; 200 answers from the data that are here",
        "  plates: 100 questions",
        "  expected time: unknown, no run of these has been timed yet",
    ]
    finished(results_folder, "no-crop", 60.0, 100)
    assert plans.summary(plan, found)[-1] == (
        "  expected, one after the other: 1 min 00 s; 1 groups were never timed"
    )


def test_plan_is_written_only_when_it_is_another(results_folder):
    plan = plans.make("small", [RunConfig()], [], NOTHING)
    file = planned.write(plan)
    assert planned.read("small") == plan
    before = file.stat().st_mtime_ns
    planned.write(plan)
    assert file.stat().st_mtime_ns == before
    planned.write(plans.make("small", [RunConfig(seed=1)], [], NOTHING))
    assert file.stat().st_mtime_ns > before


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data, weights of the hub, or GPU."""
    for name in ("DATA", "RESULTS"):
        monkeypatch.setenv(f"VICROP_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr(registry, "try_to_load_from_cache", lambda *a, **k: None)
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
    assert out[-1] == f"  plan: {planned.file_of('table1')}"
    assert len(planned.read("table1").configs) == 6


def test_wrong_matrix_or_size_is_one_line(nowhere, capsys):
    for size, file in (("huge", plans.MATRIX), ("embedded", nowhere / "no.yaml")):
        with pytest.raises(typer.Exit) as caught:
            plans.main(size, file)
        assert caught.value.exit_code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("workflow.plans: ")
