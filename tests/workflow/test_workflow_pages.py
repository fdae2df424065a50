import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import workflow
from vicrop.run.records import RunConfig
from workflow import pages
from workflow.pages import Page

PARAMETERS = {"tags": ["parameters"]}
ADDED = {"tags": [pages.INJECTED], "papermill": {"duration": 1.2}}
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "P"},
    "papermill": {"start_time": "now"},
    "language_info": {"name": "python", "version": "3.11.7"},
    "vicrop": {"seconds": 2.5},
}


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Folders of notebooks, executed copies and results in a temporary place."""
    for name in ("notebooks", "executed"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(workflow, name, lambda name=name: tmp_path / name)
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "results"))
    return tmp_path


def write(page, words="What is asked.", code="limit * 2", caption="A figure."):
    cells = [
        new_markdown_cell(f"# {{run_title}}\n\n{words}"),
        new_code_cell("limit = 1", metadata=PARAMETERS),
        new_markdown_cell("Then:"),
        new_code_cell(code, metadata={"caption": caption}),
    ]
    nbformat.write(new_notebook(cells=cells), page.notebook)


def executed(page, count=7):
    """As papermill leaves it: with the cell of parameters, and what it took."""
    result = new_output("execute_result", {"text/plain": "42"}, execution_count=count)
    cells = [
        new_markdown_cell("# Old words"),
        new_code_cell("limit = 1", metadata=PARAMETERS, execution_count=count),
        new_code_cell("# Parameters\nlimit = 21", metadata=ADDED),
        new_code_cell("limit * 2", metadata={"caption": "old"}, outputs=[result]),
    ]
    page.kept.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=METADATA), page.kept)


def test_page_has_todays_words_over_what_was_executed(book):
    page = Page("run", "runs/a", {"limit": 21}, "a run")
    write(page)
    executed(page)
    made = nbformat.read(pages.lay(page), 4)
    title, opening, defaults, added, words, last = made.cells
    assert title.source == "# a run\n\nWhat is asked."
    assert opening.source.startswith("**Run this page yourself:** source ")
    assert (defaults.source, added.source[-2:]) == ("limit = 1", "21")
    assert (words.source, last.metadata) == ("Then:", {"caption": "A figure."})
    assert last.outputs[0].data["text/plain"] == "42"


def test_page_holds_nothing_that_changes_from_run_to_run(book):
    page = Page("run", "runs/a", {"limit": 21}, "a run")
    write(page)
    made = []
    for count in (3, 14):
        executed(page, count)
        made.append(pages.lay(page).read_bytes())
    assert made[0] == made[1]
    shown = nbformat.read(page.shown, 4)
    assert set(shown.metadata) == {"kernelspec", "language_info", "papermill"}
    assert shown.metadata.papermill == {"parameters": {"limit": 21}}
    assert shown.cells[3].metadata == {"tags": [pages.INJECTED, "hide-cell"]}
    assert [cell["id"] for cell in shown.cells] == [f"c{n:02d}" for n in range(6)]
    assert [cell.get("execution_count") for cell in shown.cells[2:]] == [2, 3, None, 5]
    assert shown.cells[-1].outputs[0].execution_count == 5


def test_page_of_other_code_or_never_executed_is_refused(book):
    page = Page("a", "a", {})
    write(page)
    with pytest.raises(FileNotFoundError, match="no executed copy in .*a.ipynb"):
        pages.lay(page)
    executed(page)
    write(page, code="limit * 3")
    with pytest.raises(ValueError, match="a.ipynb has other code than "):
        pages.lay(page)


def test_page_of_a_run_is_given_what_was_asked_and_shows_no_bar():
    page = pages.of_run(RunConfig(method="no-crop", limit=3, seed=4))
    assert page.parameters == {
        "model": "tiny-llava",
        "method": "no-crop",
        "dataset": "plates",
        "limit": 3,
        "seed": 4,
        "progress": False,
    }
    assert page.title == "tiny-llava · no-crop · plates"


def test_a_runs_page_brings_its_records_and_others_bring_none(book, monkeypatch):
    page = pages.of_run(RunConfig(method="no-crop"))
    name = page.config.run_id
    assert pages.opening(page).endswith(f"records.jsonl in `runs/{name}`")
    folder = book / "results" / "runs" / name
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("{}\n")
    path = f"../../results/runs/{name}/records.jsonl"
    assert f"{{download}}`records.jsonl <{path}>`" in pages.opening(page)
    assert (page.shown.parent / path).resolve() == folder / "records.jsonl"
    monkeypatch.setattr(pages, "LARGEST_DOWNLOAD", 2)
    assert "download" not in pages.opening(page)
    assert "records" not in pages.opening(Page("cost", "cost", {}))


def test_a_runs_page_leads_to_its_models_and_its_methods_others():
    names = ("tiny-llava", "rel-att"), ("tiny-llava", "no-crop"), ("other", "rel-att")
    runs = [RunConfig(model=model, method=method) for model, method in names]
    runs += [RunConfig(dataset="gqa"), runs[0].model_copy(update={"fit": "pad"})]
    assert pages.near(runs[0], runs) == (
        "**Same model, other method:** [no-crop](<tiny-llava__no-crop__plates.ipynb>) "
        "· [rel-att, pad](<tiny-llava__rel-att__plates__pad.ipynb>)\n\n"
        "**Same method, other model:** [other](<other__rel-att__plates.ipynb>)\n\n"
    )
    assert pages.near(runs[2], runs[2:]) == ""


def test_pages_of_a_size_are_of_its_runs_and_its_own():
    targets = [page.target for page in pages.of_size("embedded")]
    assert targets[0] == "runs/tiny-llava__no-crop__plates"
    assert targets[-1] == "status"
