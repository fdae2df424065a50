import json
import os
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
import typer
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.inspection import inspect_notebook

from vicrop import paths
from vicrop.run.records import RunConfig
from workflow import execute, links, planned, plans, preflight, status, warm
from workflow.execute import Job


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Folders of notebooks and executed copies in a temporary place."""
    for name in ("notebooks", "executed"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(paths, name, lambda name=name: tmp_path / name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # execute_all changes it
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "results"))
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


def test_template_takes_every_parameter_of_a_run():
    template = paths.notebooks() / f"{execute.TEMPLATE}.ipynb"
    assert set(RunConfig.model_fields) <= set(inspect_notebook(str(template)))


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


def test_a_runs_page_brings_its_records_and_others_bring_none(book, monkeypatch):
    job = execute.run_job(RunConfig(method="no-crop"))
    write(book, "notebooks/run.ipynb", "1")
    name = job.config.run_id
    assert execute.opening(job).endswith(f"records.jsonl in `runs/{name}`")
    folder = book / "results" / "runs" / name
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("{}\n")
    path = f"../../results/runs/{name}/records.jsonl"
    assert f"{{download}}`records.jsonl <{path}>`" in execute.opening(job)
    assert (job.output.parent / path).resolve() == folder / "records.jsonl"
    before = execute.fingerprint(job, [])
    monkeypatch.setattr(execute, "LARGEST_DOWNLOAD", 2)
    assert execute.fingerprint(job, []) != before
    assert "download" not in execute.opening(job)
    assert "records" not in execute.opening(Job("04_main_table", "04_main_table", {}))


def test_fingerprint_changes_with_the_repositorys_address(book, monkeypatch):
    write(book, "notebooks/a.ipynb", "1")
    marks = []
    for address in ("", "https://github.com/a/b"):
        monkeypatch.setattr(links, "repository", lambda address=address: address)
        marks.append(execute.fingerprint(Job("a", "a", {}), []))
    assert marks[0] != marks[1]


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
    assert {"boxes.py", "llava.py", "page.js"} <= names
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


@pytest.fixture
def one_thread(monkeypatch):
    """A thread instead of processes: it knows the folders of a test."""
    monkeypatch.setattr(execute, "pool", lambda workers: ThreadPoolExecutor(1))
    yield
    if warm.WarmEngine.kernel is not None:
        warm.WarmEngine.kernel.shutdown_kernel(now=True)
        warm.WarmEngine.kernel = None


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_notebooks_are_executed_once_and_failures_named(book, monkeypatch):
    """A page that runs and one that fails; then again, where the first is current."""
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
    assert made.cells[1].source.startswith("**Run this page yourself:** source ")
    assert "-p limit 21`" in made.cells[1].source
    states = {page.target: page.state for page in status.Survey().pages}
    assert states == {"runs/good": "executed", "bad": "ValueError: no such crop"}
    assert made.cells[-1].outputs[0].text == "42\n"
    assert not bad.output.exists()
    assert (book / "executed" / "unfinished" / "bad.ipynb").exists()
    before = good.output.stat().st_mtime_ns
    assert execute.execute_all([good], [], workers=1) == []
    assert good.output.stat().st_mtime_ns == before


@pytest.fixture
def plan(results_folder, monkeypatch):
    """The plan of two groups and a page, and what is executed of it."""
    configs = [
        RunConfig(method="rel-att"),
        RunConfig(method="no-crop"),
        RunConfig(dataset="plates-hd"),
    ]
    planned.write(
        plans.make("small", configs, ["quick_start"], preflight.Survey({}, 0, []))
    )
    called = []

    def executed(jobs, depends, workers):
        called.append([job.target for job in jobs])
        return ["x: ValueError: y"] if "fail" in called else []

    monkeypatch.setattr(execute, "execute_all", status)
    for name in execute.THREADS:
        monkeypatch.setenv(name, "7")
    return called


RUNS = [
    "runs/tiny-llava__rel-att__plates",
    "runs/tiny-llava__no-crop__plates",
    "runs/tiny-llava__rel-att__plates-hd",
]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [RUNS, ["quick_start"]]),
        ({"pages": True}, [["quick_start"]]),
        ({"group": "tiny-llava__all__plates"}, [RUNS[:2]]),
    ],
)
def test_notebooks_of_a_plan_are_executed(plan, chosen, expected):
    with pytest.raises(typer.Exit) as caught:
        execute.main("small", workers=1, **chosen)
    assert caught.value.exit_code == 0
    assert plan == expected
    # One worker may use every core.
    cores = str(os.cpu_count())
    assert [os.environ[name] for name in execute.THREADS] == [cores] * 3


def test_pages_are_not_made_from_failed_runs(plan, capsys):
    plan.append("fail")
    with pytest.raises(typer.Exit) as caught:
        execute.main("small", workers=1)
    assert caught.value.exit_code == 1
    assert plan == ["fail", RUNS]
    assert "failed: x: ValueError: y" in capsys.readouterr().err


def test_the_last_pages_see_what_became_of_the_others(plan):
    assert execute.make_pages(["status", "quick_start"], workers=2) == []
    assert plan == [["quick_start"], ["status"]]


def test_size_without_a_plan_names_the_command(results_folder):
    with pytest.raises(
        FileNotFoundError, match="`python -m workflow.plans --size huge`"
    ):
        execute.main("huge")
