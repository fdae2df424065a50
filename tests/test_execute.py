import json
from multiprocessing import get_context

import nbformat
import pytest
import typer
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.inspection import inspect_notebook

from vicrop import adapters, datasets, execute, paths, pipeline
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


@pytest.fixture
def matrix(tmp_path):
    file = tmp_path / "matrix.yaml"
    blocks = [
        {
            "models": ["m", "n"],
            "datasets": {"x": ["rel-att", "no-crop"], "y": ["no-crop"]},
        },
        {"models": ["n"], "datasets": {"x": ["raw-att"]}},
    ]
    chosen = {"runs": blocks, "pages": ["01_page"]}
    file.write_text(yaml.safe_dump({"embedded": chosen}))
    return file


def test_matrix_is_every_model_with_every_method_of_every_dataset_of_each_block(matrix):
    runs, pages = execute.read_matrix(matrix, "embedded")
    assert [job.target for job in runs] == [
        f"runs/{model}__{method}__{dataset}"
        for model in "mn"
        for method, dataset in (("rel-att", "x"), ("no-crop", "x"), ("no-crop", "y"))
    ] + ["runs/n__raw-att__x"]
    assert [(job.source, job.target) for job in pages] == [("01_page", "01_page")]


def test_matrix_can_ask_for_runs_of_another_fit_or_geometry(matrix):
    methods = ["rel-att", {"method": "rel-att", "geometry": "upstream", "fit": "pad"}]
    blocks = [{"models": ["m"], "datasets": {"x": methods}}]
    chosen = {"runs": blocks, "pages": []}
    matrix.write_text(yaml.safe_dump({"embedded": chosen}))
    plain, other = execute.read_matrix(matrix, "embedded")[0]
    assert plain.target == "runs/m__rel-att__x"
    assert other.target == "runs/m__rel-att__x__pad__upstream"
    assert other.title == "m · rel-att, pad, upstream · x"
    assert (other.parameters["fit"], other.parameters["geometry"]) == (
        "pad",
        "upstream",
    )
    assert "fit" not in plain.parameters


def test_template_takes_every_parameter_of_a_run():
    template = paths.notebooks() / f"{execute.TEMPLATE}.ipynb"
    assert set(RunConfig.model_fields) <= set(inspect_notebook(str(template)))


def test_unknown_size_is_named_with_those_known(matrix):
    with pytest.raises(ValueError, match="unknown size 'huge' in .*known: embedded"):
        execute.read_matrix(matrix, "huge")


def test_committed_matrix_asks_only_for_what_there_is():
    runs, pages = execute.read_matrix(execute.MATRIX, "embedded")
    for job in runs:
        assert job.parameters["model"] in adapters.MODELS
        assert job.parameters["method"] in pipeline.methods()
        assert job.parameters["dataset"] in datasets.MAKERS
    for job in [*runs, *pages]:
        assert (paths.notebooks() / f"{job.source}.ipynb").is_file()


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
    (tmp_path / "plates").mkdir()
    (tmp_path / "plates" / "prep.json").touch()
    (tmp_path / "runs" / "r").mkdir(parents=True)
    (tmp_path / "runs" / "r" / "records.jsonl").touch()
    names = {file.name for file in execute.package_files()}
    assert {"boxes.py", "llava.py", "prep.json"} <= names
    assert [file.parent.name for file in execute.record_files()] == ["r"]


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
def test_pages_are_not_made_from_failed_runs(matrix, monkeypatch, capsys, failed):
    called = []

    def executed(jobs, depends, workers):
        called.append([job.target for job in jobs])
        return failed

    monkeypatch.setattr(execute, "answer_together", lambda configs, workers: [])
    monkeypatch.setattr(execute, "execute_all", executed)
    with pytest.raises(typer.Exit) as caught:
        execute.main(matrix, "embedded", workers=1)
    assert caught.value.exit_code == bool(failed)
    assert len(called) == (1 if failed else 2)
    assert ("failed: runs/x" in capsys.readouterr().err) == bool(failed)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and on
def test_notebooks_are_not_made_where_answers_failed(matrix, monkeypatch, capsys):
    """The matrix's models do not exist: each group of runs is named."""
    monkeypatch.setattr(execute, "get_context", lambda _: get_context("fork"))
    monkeypatch.setattr(execute, "execute_all", None)
    with pytest.raises(typer.Exit):
        execute.main(matrix, "embedded", workers=1)
    said = capsys.readouterr().err.splitlines()
    failed = [line for line in said if line.startswith("failed: answers of")]
    assert len(failed) == 4
    assert all("unknown" in line for line in failed)
