import json
import os
from multiprocessing import get_context

import nbformat
import pytest
import torch
import typer
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.inspection import inspect_notebook

from vicrop import execute, paths, preflight
from vicrop.adapters import registry
from vicrop.execute import Job
from vicrop.types import RunConfig


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Folders of notebooks and executed copies in a temporary place."""
    for name in ("notebooks", "executed"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(paths, name, lambda name=name: tmp_path / name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # execute_all changes it
    return tmp_path


def write(book, name, code, parameters="limit = 1"):
    cells = [
        new_markdown_cell("# {run_title}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell(code),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), book / name)


def write_matrix(file, *blocks, pages=()):
    chosen = {"runs": list(blocks), "pages": list(pages)}
    file.write_text(yaml.safe_dump({"embedded": chosen}))


@pytest.fixture
def matrix(tmp_path):
    file = tmp_path / "matrix.yaml"
    two = {"plates": ["rel-att", "no-crop"], "plates-hd": ["no-crop"]}
    write_matrix(
        file,
        {"models": ["tiny-llava", "tiny-qwen2.5-vl"], "datasets": two},
        {"models": ["tiny-qwen2.5-vl"], "datasets": {"plates": ["raw-att"]}},
        pages=["quick_start"],
    )
    return file


@pytest.fixture
def all_is_here(monkeypatch):
    found = preflight.Survey({"plates": 1}, 2, [])
    monkeypatch.setattr(preflight, "survey", lambda configs: found)


def test_matrix_is_every_model_with_every_method_of_every_dataset_of_each_block(matrix):
    runs, pages = execute.read_matrix(matrix, "embedded")
    pairs = [("rel-att", "plates"), ("no-crop", "plates"), ("no-crop", "plates-hd")]
    assert [job.target for job in runs] == [
        f"runs/{model}__{method}__{dataset}"
        for model in ("tiny-llava", "tiny-qwen2.5-vl")
        for method, dataset in pairs
    ] + ["runs/tiny-qwen2.5-vl__raw-att__plates"]
    assert [(job.source, job.target) for job in pages] == [("quick_start",) * 2]


def test_matrix_can_ask_for_runs_of_another_fit_or_geometry(matrix):
    methods = ["rel-att", {"method": "rel-att", "geometry": "upstream", "fit": "pad"}]
    write_matrix(matrix, {"models": ["tiny-llava"], "datasets": {"plates": methods}})
    plain, other = execute.read_matrix(matrix, "embedded")[0]
    assert plain.target == "runs/tiny-llava__rel-att__plates"
    assert other.target == "runs/tiny-llava__rel-att__plates__pad__upstream"
    assert other.title == "tiny-llava · rel-att, pad, upstream · plates"
    assert (other.parameters["fit"], other.parameters["geometry"]) == (
        "pad",
        "upstream",
    )
    assert "fit" not in plain.parameters


def test_template_takes_every_parameter_of_a_run():
    template = paths.notebooks() / f"{execute.TEMPLATE}.ipynb"
    assert set(RunConfig.model_fields) <= set(inspect_notebook(str(template)))


def test_what_a_block_shares_becomes_a_parameter_of_its_notebooks(matrix):
    block = {"models": ["llava-1.5-7b"], "datasets": {"vstar": ["no-crop"]}}
    write_matrix(matrix, {**block, "device": "cuda", "dtype": "bfloat16"})
    (job,), _ = execute.read_matrix(matrix, "embedded")
    assert (job.parameters["device"], job.parameters["dtype"]) == ("cuda", "bfloat16")


def test_run_job_injects_what_was_asked_and_shows_no_bar():
    job = execute.run_job(RunConfig(method="no-crop", limit=3, seed=4))
    assert job.parameters == {
        "model": "tiny-llava",
        "method": "no-crop",
        "dataset": "plates",
        "limit": 3,
        "seed": 4,
        "progress": False,
    }
    assert job.title == "tiny-llava · no-crop · plates"


def test_fingerprint_changes_with_source_parameters_and_files(book, tmp_path):
    write(book, "notebooks/a.ipynb", "1")
    depends = tmp_path / "records.jsonl"
    depends.write_text("x")
    marks = [execute.fingerprint(Job("a", "a", {"n": 1}), [depends])]
    assert execute.fingerprint(Job("a", "a", {"n": 1}), [depends]) == marks[0]
    marks.append(execute.fingerprint(Job("a", "a", {"n": 2}), [depends]))
    depends.write_text("y")
    marks.append(execute.fingerprint(Job("a", "a", {"n": 1}), [depends]))
    write(book, "notebooks/a.ipynb", "2")
    marks.append(execute.fingerprint(Job("a", "a", {"n": 1}), [depends]))
    assert len(set(marks)) == 4


def test_package_and_records_are_what_pages_depend_on(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path))
    (tmp_path / "runs" / "r").mkdir(parents=True)
    (tmp_path / "runs" / "r" / "records.jsonl").touch()
    names = {file.name for file in execute.package_files()}
    assert {"boxes.py", "llava.py"} <= names
    read = execute.record_files()
    assert paths.ROOT / "benchmarks" / "measured.json" in read
    folders = {"r", "data_prep", "golden", "benchmarks"}
    assert folders == {file.parent.name for file in read}


def test_a_run_depends_on_its_own_data_and_a_page_on_all(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    for name in ("plates", "textvqa"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prep.json").touch()

    def names(job):
        return [file.parent.name for file in execute.data_files(job)]

    assert names(execute.run_job(RunConfig(dataset="textvqa"))) == ["textvqa"]
    assert names(Job("a", "a", {})) == ["plates", "textvqa"]


def test_copy_is_current_only_with_its_fingerprint(book):
    job = Job("a", "deep/a", {})
    assert not execute.is_current(job, "mark")
    job.output.parent.mkdir()
    nbformat.write(
        new_notebook(metadata={"vicrop": {"fingerprint": "mark"}}), job.output
    )
    assert execute.is_current(job, "mark")
    assert not execute.is_current(job, "other")


def test_unknown_parameter_is_named(book):
    write(book, "notebooks/a.ipynb", "1")
    with pytest.raises(ValueError, match="a.ipynb has no parameter colour, size"):
        execute.execute(Job("a", "a", {"limit": 2, "size": 1, "colour": "red"}))


def test_strip_leaves_nothing_that_changes_from_run_to_run(tmp_path):
    volatile = {"papermill": {"duration": 1.2}, "execution": {"iopub": "now"}}
    cells = [
        new_code_cell("1", metadata={**volatile, "tags": ["x"]}),
        new_code_cell("2"),
    ]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "P"},
        "papermill": {"start_time": "now"},
        "language_info": {"name": "python", "version": "3.11.7"},
    }
    files = [tmp_path / "one.ipynb", tmp_path / "two.ipynb"]
    for file in files:
        for cell in cells:
            cell["id"] = f"{file.stem}-{id(cell)}"
            cell.execution_count = len(file.stem) + id(file) % 7
        nbformat.write(new_notebook(cells=cells, metadata=metadata), file)
        execute.strip(file, {"limit": 2}, "mark")
    assert files[0].read_bytes() == files[1].read_bytes()
    book = json.loads(files[0].read_text())
    assert book["cells"][0]["metadata"] == {"tags": ["x"]}
    assert [cell["execution_count"] for cell in book["cells"]] == [0, 1]
    assert book["metadata"]["papermill"] == {"parameters": {"limit": 2}}
    assert book["metadata"]["vicrop"] == {"fingerprint": "mark"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and on
def test_notebooks_are_executed_once_and_failures_named(book, matrix, monkeypatch):
    """A page that runs and one that fails; then again, where the first is current."""
    # Forked, not spawned: the workers then know the folders of this test.
    monkeypatch.setattr(execute, "get_context", lambda _: get_context("fork"))
    monkeypatch.setattr(execute, "package_files", list)
    write(book, "notebooks/good.ipynb", "print(limit * 2)")
    write(book, "notebooks/bad.ipynb", "raise ValueError('no such crop')")
    good = Job("good", "runs/good", {"limit": 21}, title="a run")
    bad = Job("bad", "bad", {})
    failed = execute.execute_all([good, bad], [], workers=1)
    assert failed == [
        "bad: ValueError: no such crop (book/executed/unfinished/bad.ipynb)"
    ]
    made = nbformat.read(good.output, as_version=4)
    assert made.cells[0].source == "# a run"
    assert made.cells[-1].outputs[0].text == "42\n"
    assert not bad.output.exists()
    assert (book / "executed" / "unfinished" / "bad.ipynb").exists()
    before = good.output.stat().st_mtime_ns
    assert execute.execute_all([good], [], workers=1) == []
    assert good.output.stat().st_mtime_ns == before


@pytest.mark.parametrize("failed", [[], ["runs/x: ValueError: y"]])
def test_pages_are_not_made_from_failed_runs(
    matrix, book, monkeypatch, capsys, all_is_here, failed
):
    called = []

    def executed(jobs, depends, workers):
        called.append([job.target for job in jobs])
        return failed

    write_matrix(matrix, *yaml.safe_load(matrix.read_text())["embedded"]["runs"])
    monkeypatch.setattr(execute, "answer_together", lambda configs, workers: [])
    monkeypatch.setattr(execute, "execute_all", executed)
    with pytest.raises(typer.Exit) as caught:
        execute.main(matrix, "embedded", workers=1)
    assert caught.value.exit_code == bool(failed)
    assert len(called) == (1 if failed else 2)
    assert ("failed: runs/x" in capsys.readouterr().err) == bool(failed)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and on
def test_notebooks_are_not_made_where_answers_failed(
    matrix, book, monkeypatch, capsys, all_is_here
):
    """The data are gone when the runs begin: each group of runs is named."""
    write_matrix(matrix, *yaml.safe_load(matrix.read_text())["embedded"]["runs"])
    monkeypatch.setenv("VICROP_DATA", str(book / "data"))
    monkeypatch.setattr(execute, "get_context", lambda _: get_context("fork"))
    monkeypatch.setattr(execute, "execute_all", None)
    with pytest.raises(typer.Exit):
        execute.main(matrix, "embedded", workers=1)
    said = capsys.readouterr().err.splitlines()
    failed = [line for line in said if line.startswith("failed: answers of")]
    assert len(failed) == 4
    assert all("no data.json in" in line for line in failed)


@pytest.fixture
def nowhere(book, monkeypatch):
    """No data, weights of the hub, or GPU; whatever would be executed fails."""
    for name in ("DATA", "RESULTS"):
        monkeypatch.setenv(f"VICROP_{name}", str(book / name.lower()))
    for name in ("answer_together", "execute_all"):
        monkeypatch.setattr(execute, name, None)
    monkeypatch.setattr(registry, "try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(paths, "notebooks", lambda: paths.ROOT / "notebooks")
    return book


def test_nothing_is_executed_or_written_where_something_is_missing(nowhere, capsys):
    before = sorted(nowhere.rglob("*"))
    with pytest.raises(typer.Exit) as caught:
        execute.main(execute.MATRIX, "table2")
    assert caught.value.exit_code == 2
    assert sorted(nowhere.rglob("*")) == before
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "table2: nothing was run; get these first"
    assert len(said) == 1 + 7 + 2 + 1  # data sets, models, device
    for dataset in "textvqa docvqa gqa aokvqa pope vstar vqav2".split():
        assert any(f"`vicrop prep {dataset}`" in line for line in said)
    assert any("`hf download llava-hf/llava-1.5-7b-hf --rev" in line for line in said)
    assert any("missing: device cuda: torch does not see it" in line for line in said)


def test_dry_run_tells_runs_questions_and_what_is_missing(nowhere, capsys, monkeypatch):
    before = sorted(nowhere.rglob("*"))
    execute.main(execute.MATRIX, "table1", dry_run=True)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "table1: 6 runs, 0 answers from the data that are here"
    assert [line.split(":")[1] for line in out[1:]] == [
        " data set textvqa",
        " model llava-1.5-7b",
        " model instructblip-vicuna-7b",
        " device cuda",
    ]
    found = preflight.Survey({"textvqa": 5000}, 27480, [])
    monkeypatch.setattr(preflight, "survey", lambda configs: found)
    execute.main(execute.MATRIX, "table1", dry_run=True)
    assert capsys.readouterr().out.splitlines() == [
        "table1: 6 runs, 27480 answers from the data that are here",
        "  textvqa: 5000 questions",
    ]
    assert sorted(nowhere.rglob("*")) == before


def test_wrong_matrix_or_size_is_one_line(nowhere, capsys):
    for size, matrix in (("huge", execute.MATRIX), ("embedded", nowhere / "no.yaml")):
        with pytest.raises(typer.Exit) as caught:
            execute.main(matrix, size)
        assert caught.value.exit_code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("vicrop.execute: ")


def test_one_model_at_a_time_is_on_a_gpu(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    configs = [RunConfig(), RunConfig(device="cuda:1")]
    assert execute._workers(configs[:1]) == 16
    assert execute._workers(configs) == 1
