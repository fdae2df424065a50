import re

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from papermill.exceptions import PapermillExecutionError

from workflow import execute, warm
from workflow.formats import PNG, SVG

KERNEL = {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}}


@pytest.fixture(scope="module", autouse=True)
def no_kernel_left():
    yield
    warm.WarmEngine.kernel.shutdown_kernel(now=True)
    warm.WarmEngine.kernel = None


def printed(tmp_path, source):
    """What a notebook of one cell prints, by the warm engine."""
    book = new_notebook(cells=[new_code_cell(source)], metadata=KERNEL)
    out = str(tmp_path / "out.ipynb")
    papermill.execute_notebook(
        book, out, kernel_name="python3", progress_bar=False, engine_name=warm.NAME
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
    warm.WarmEngine.kernel.shutdown_kernel(now=True)
    assert printed(tmp_path, PID) != first


def test_kernels_of_two_processes_do_not_share_sockets(tmp_path, monkeypatch):
    """As two workers start them, in the same folder and at the same time."""
    monkeypatch.chdir(tmp_path)
    kernels = [warm._start("python3") for _ in range(2)]
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


def drawn(tmp_path):
    """The figures that two cells leave in a page."""
    cells = [new_code_cell(DRAWING), new_code_cell(PHOTO)]
    book, file = new_notebook(cells=cells, metadata=KERNEL), tmp_path / "out.ipynb"
    papermill.execute_notebook(
        book,
        str(file),
        kernel_name="python3",
        progress_bar=False,
        engine_name=warm.NAME,
    )
    execute.strip(file, {}, "")
    return [cell.outputs[0].data for cell in nbformat.read(file, 4).cells]


def test_figures_have_one_form_each_and_are_the_same_again(tmp_path):
    chart, photo = first = drawn(tmp_path)
    assert set(chart) == {SVG, "text/plain"} and set(photo) == {PNG, "text/plain"}
    assert not re.search("metadata|date", chart[SVG])
    assert drawn(tmp_path) == first


def test_formats_that_a_notebook_sets_end_with_it(tmp_path):
    home = "from matplotlib_inline.backend_inline import set_matplotlib_formats"
    printed(tmp_path, f"{home}; set_matplotlib_formats('png'); print(1)")
    assert set(drawn(tmp_path)[0]) == {SVG, "text/plain"}
