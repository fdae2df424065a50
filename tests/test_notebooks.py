"""The notebooks' sources keep the house rules; nbval runs them."""

import ast
import re

import nbformat
import pytest
import yaml

import workflow
from vicrop import paths
from workflow.plans import MATRIX

SOURCES = sorted(workflow.notebooks().glob("*.ipynb"))


@pytest.fixture(params=SOURCES, ids=lambda file: file.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


DRAWS = re.compile(r"^(_|figure|ax|_, ax(es)?) = ", re.MULTILINE)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_sources_carry_no_outputs(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None


def test_kernel_is_python3_on_any_machine(notebook):
    assert notebook.metadata.kernelspec.name == "python3"


def test_title_then_parameters_then_imports(notebook):
    first, second = notebook.cells[:2]
    assert first.source.startswith("# ")
    assert "parameters" in second.metadata.tags
    assert "import" in notebook.cells[2].source


def test_notebooks_call_functions_and_define_none(notebook):
    for cell in code_cells(notebook):
        tree = ast.parse(cell.source)
        kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
        assert not any(isinstance(node, kinds) for node in ast.walk(tree))


def test_every_drawn_figure_has_a_caption_and_a_text_instead(notebook):
    """And its code can be opened on the page; those of runs have no numbers."""
    of_run = "{run_title}" in notebook.cells[0].source
    for cell in code_cells(notebook):
        if DRAWS.search(cell.source):
            shown = cell.metadata.mystnb
            assert shown.image.alt and "hide-input" in cell.metadata.tags
            assert bool(shown.get("figure", {}).get("caption")) != of_run


def test_no_code_is_left_out_but_of_what_shows_nothing(notebook):
    for cell in code_cells(notebook):
        if "remove-input" in cell.metadata.get("tags", ()):
            assert cell.source.splitlines()[-1].startswith("figures.numbers(")


def test_matrix_and_table_of_contents_name_the_same_pages():
    pages = yaml.safe_load(MATRIX.read_text())["embedded"]["pages"]
    assert sorted(pages) == sorted(f.stem for f in SOURCES if f.stem != "run")
    listed = (paths.ROOT / "_toc.yml").read_text()
    assert all(f"book/executed/{page}" in listed for page in pages)
