import os
import re
from concurrent.futures import ThreadPoolExecutor

import nbformat
import papermill
import pytest
import typer
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.exceptions import PapermillExecutionError
from papermill.inspection import inspect_notebook

import workflow
from vicrop.run.records import RunConfig
from workflow import execute, inventory, pages
from workflow.formats import JPEG, SVG
from workflow.pages import Page

KERNEL = {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}}


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Folders of notebooks and executed copies in a temporary place."""
    for name in ("notebooks", "executed"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(workflow, name, lambda name=name: tmp_path / name)
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "results"))
    return tmp_path


def write(book, name, code, parameters="limit = 1"):
    cells = [
        new_markdown_cell("# {run_title}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell(code),
    ]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), book / name)


def test_template_takes_every_parameter_of_a_run():
    template = workflow.notebooks() / f"{pages.TEMPLATE}.ipynb"
    assert set(RunConfig.model_fields) <= set(inspect_notebook(str(template)))


@pytest.fixture
def one_thread(monkeypatch):
    """A thread instead of processes: it knows the folders of a test."""
    monkeypatch.setattr(execute, "pool", lambda workers: ThreadPoolExecutor(1))
    monkeypatch.setenv("PYTHONWARNINGS", "")  # execute_all changes it


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_notebooks_are_executed_once_and_failures_named(book):
    """A page that runs and one that fails; then again, where the first has a copy."""
    write(book, "notebooks/good.ipynb", "print(limit * 2)")
    write(book, "notebooks/bad.ipynb", "raise ValueError('no such crop')")
    good = Page("good", "runs/good", {"limit": 21}, title="a run")
    bad = Page("bad", "bad", {})
    failed = execute.execute_all([good, bad], workers=1)
    assert failed == [
        "bad: ValueError: no such crop (book/executed/unfinished/bad.ipynb)"
    ]
    made = nbformat.read(good.shown, as_version=4)
    assert made.cells[0].source == "# a run"
    assert made.cells[1].source.startswith("**Run this page yourself:** source ")
    assert "-p limit 21`" in made.cells[1].source
    states = {page.target: page.state for page in inventory.found_pages()}
    assert states == {"runs/good": "executed", "bad": "ValueError: no such crop"}
    assert made.cells[-1].outputs[0].text == "42\n"
    assert not (bad.shown.exists() or bad.kept.exists()) and bad.half.exists()
    assert not good.half.exists()
    before = good.kept.stat().st_mtime_ns
    assert execute.execute_all([good], workers=1) == []
    assert good.kept.stat().st_mtime_ns == before


@pytest.fixture
def chosen(tmp_path, results_folder, monkeypatch):
    """A matrix of two groups and two pages, and what is executed of it."""
    runs = {"plates": ["rel-att", "no-crop"], "plates-hd": ["rel-att"]}
    block = {"models": ["tiny-llava"], "datasets": runs}
    size = {"runs": [block], "pages": ["status", "quick_start"]}
    file = tmp_path / "matrix.yaml"
    file.write_text(yaml.safe_dump({"small": size}))
    called = []

    def executed(jobs, workers):
        called.append([job.target for job in jobs])
        return ["x: ValueError: y"] if file.name in called else []

    monkeypatch.setattr(execute, "execute_all", executed)
    for name in execute.THREADS:
        monkeypatch.setenv(name, "7")

    def main():
        with pytest.raises(typer.Exit) as caught:
            execute.main("small", file, workers=1)
        return caught.value.exit_code

    return main, called


def test_the_last_page_sees_what_became_of_the_others(chosen, capsys):
    main, called = chosen
    assert main() == 0
    names = ("rel-att__plates", "no-crop__plates", "rel-att__plates-hd")
    runs = [f"runs/tiny-llava__{name}" for name in names]
    assert called == [[*runs, "quick_start"], ["status"]]
    # One worker may use every core.
    cores = str(os.cpu_count())
    assert [os.environ[name] for name in execute.THREADS] == [cores] * 3

    called.append("matrix.yaml")
    assert main() == 1
    assert "failed: x: ValueError: y" in capsys.readouterr().err


@pytest.fixture(scope="module", autouse=True)
def no_kernel_left():
    yield
    if execute.WarmEngine.kernel is not None:
        execute.WarmEngine.kernel.shutdown_kernel(now=True)
        execute.WarmEngine.kernel = None


def printed(tmp_path, source):
    """What a notebook of one cell prints, by the warm engine."""
    book = new_notebook(cells=[new_code_cell(source)], metadata=KERNEL)
    out = str(tmp_path / "out.ipynb")
    papermill.execute_notebook(
        book, out, kernel_name="python3", progress_bar=False, engine_name=execute.ENGINE
    )
    return nbformat.read(out, 4).cells[0].outputs[0].text.strip()


PID = "import os; print(os.getpid())"


def test_notebooks_share_a_kernel_but_no_names(tmp_path):
    first = printed(tmp_path, f"{PID}; left = 3")
    assert printed(tmp_path, f"{PID} if 'left' not in globals() else None") == first


def test_failed_notebook_is_named_and_the_next_one_runs(tmp_path):
    with pytest.raises(PapermillExecutionError, match="no such crop"):
        printed(tmp_path, "raise ValueError('no such crop')")
    assert printed(tmp_path, "print(1 + 1)") == "2"


def test_dead_kernel_is_replaced(tmp_path):
    first = printed(tmp_path, PID)
    execute.WarmEngine.kernel.shutdown_kernel(now=True)
    assert printed(tmp_path, PID) != first


def test_kernels_of_two_processes_do_not_share_sockets(tmp_path, monkeypatch):
    """As two workers start them, in the same folder and at the same time."""
    monkeypatch.chdir(tmp_path)
    kernels = [execute._start("python3") for _ in range(2)]
    try:
        assert len({kernel.ip for kernel in kernels}) == 2
        assert not list(tmp_path.iterdir())  # nor leave them where notebooks are
        for kernel in kernels:
            client = kernel.blocking_client()
            client.start_channels()
            client.wait_for_ready(timeout=60)
            client.stop_channels()
    finally:
        for kernel in kernels:
            kernel.shutdown_kernel(now=True)


DRAWING = """
import matplotlib.pyplot as plt
_, axes = plt.subplots(figsize=(3, 2))
_ = axes.plot([1, 2, 3], label="line")
"""
PHOTO = DRAWING + "_ = axes.imshow([[1, 2], [3, 4]])"


def drawn(book):
    """The figures that two cells leave in a page."""
    cells = [
        new_markdown_cell("# A page"),
        new_code_cell(DRAWING),
        new_code_cell(PHOTO),
    ]
    nbformat.write(
        new_notebook(cells=cells, metadata=KERNEL), book / "notebooks/a.ipynb"
    )
    shown = execute.execute(Page("a", "a", {}))
    return [cell.outputs[0].data for cell in nbformat.read(shown, 4).cells[2:]]


def test_figures_have_one_form_each_and_are_the_same_again(book):
    chart, photo = first = drawn(book)
    assert set(chart) == {SVG, "text/plain"} and set(photo) == {JPEG, "text/plain"}
    assert not re.search("metadata|date", chart[SVG])
    assert drawn(book) == first


def test_formats_that_a_notebook_sets_end_with_it(book, tmp_path):
    home = "from matplotlib_inline.backend_inline import set_matplotlib_formats"
    printed(tmp_path, f"{home}; set_matplotlib_formats('png'); print(1)")
    assert set(drawn(book)[0]) == {SVG, "text/plain"}
