import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import workflow
from vicrop import paths
from vicrop.run import provenance
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record, RunConfig
from workflow import inventory, pages


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Folders of executed notebooks and of results, both empty."""
    (tmp_path / "executed").mkdir()
    monkeypatch.setattr(workflow, "executed", lambda: tmp_path / "executed")
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "results"))
    return tmp_path


NOTE = {"versions": provenance.versions(), "python": "3.11", "machine": "x86_64"}


def page(built, target, seconds=None, error=None):
    folder = pages.unfinished() if error else pages.kept()
    file = folder / f"{target}.ipynb"
    file.parent.mkdir(parents=True, exist_ok=True)
    failed = {"ename": error, "evalue": "why", "traceback": []}
    cell = new_code_cell("1", outputs=[new_output("error", **failed)] if error else [])
    metadata = {} if seconds is None else {"vicrop": {"seconds": seconds, **NOTE}}
    nbformat.write(new_notebook(cells=[cell], metadata=metadata), file)


def run(method="rel-att", torch="2.0", failed=0, **changes):
    """A finished run of three records."""
    config = RunConfig(method=method, dataset="plates")
    folder = RunFolder.of(config)
    folder.folder.mkdir(parents=True)
    made = [
        Record(
            id=str(n), question="?", labels=("a",), error="E" if n < failed else None
        )
        for n in range(3)
    ]
    folder.records_file.write_text("".join(one.line() for one in made))
    meta = {
        "config": {"method": method, "device": "cpu", "dtype": "float32"},
        "identity": {"data": "d" * 64, "weights": "w" * 64, "parameters": "p" * 64},
        "versions": {"torch": torch},
        "python": "3.11.7",
        "machine": "x86_64",
        "asked": 3,
        "answered": 3,
        "seconds": 90.0,
        "peak_memory_mb": 512,
        "finished": True,
        "records": folder.seal(),
    }
    folder.write_meta({**meta, **changes})
    return folder


def test_run_is_told_with_its_cost_and_what_it_depends_on(built):
    folder = run(failed=1, notes=["went on with torch 1 → 2", "taken over"])
    page(built, f"runs/{folder.name}", 2.3)
    (row,) = inventory.Inventory().run_table().to_dict("records")
    assert row["run"] == folder.name and row["state"] == "finished"
    assert (row["questions"], row["errors"]) == (3, 1)
    assert (row["seconds"], row["memory, MB"]) == ("90.0", "512")
    assert (row["device"], row["dtype"]) == ("cpu", "float32")
    assert (row["data"], row["weights"]) == ("d" * 8, "w" * 8)
    assert row["records"] == folder.meta()["records"]["sha256"][:8]
    assert row["made with"] == "1" and row["page, seconds"] == "2.3"
    assert row["notes"] == "went on with torch 1 → 2; taken over"


def test_records_that_were_changed_since_are_told(built):
    folder = run()
    text = folder.records_file.read_text()
    folder.records_file.write_text("".join(text.splitlines(True)[:2]))
    (row,) = inventory.Inventory().run_table().to_dict("records")
    assert row["state"] == "finished, records changed"


def test_run_that_never_began_has_no_numbers(built):
    (paths.runs() / "x").mkdir(parents=True)
    (row,) = inventory.Inventory().run_table().to_dict("records")
    assert row["state"] == "broken" and row["questions"] == 0
    for key in ("seconds", "memory, MB", "device", "data", "records", "made with"):
        assert row[key] == inventory.UNKNOWN


def test_errors_are_told_run_by_run(built):
    folder = run(failed=2)
    frame = inventory.Inventory().error_table()
    assert frame.to_dict("records") == [
        {"run": folder.name, "error": "E", "samples": 2}
    ]


def test_torn_meta_is_a_state(built):
    folder = run()
    (folder.folder / "meta.json").write_text("{")
    (row,) = inventory.Inventory().run_table().to_dict("records")
    assert (row["state"], row["questions"]) == ("broken", 3)


def test_environments_are_numbered_and_counted(built):
    run("no-crop", torch="2.0")
    run("pure-grad", torch="2.0")
    run("rel-att", torch="2.1")
    page(built, "a", 1.0)
    found = inventory.Inventory()
    frame = found.environments()
    assert list(frame["no."]) == ["1", "2", "3"]
    assert list(frame["torch"])[:2] == ["2.0", "2.1"]
    assert list(frame["runs"]) == [2, 1, 0] and list(frame["pages"]) == [0, 0, 1]
    assert frame["numpy"][0] == inventory.UNKNOWN != frame["numpy"][2]


def test_pages_are_told_and_failed_ones_with_their_error(built):
    page(built, "good", 61.3)
    page(built, "runs/shown")
    page(built, "runs/bad", error="ValueError")
    frame = inventory.Inventory().page_table()
    assert list(frame["page"]) == ["good", "runs/bad"]
    good, bad = frame.to_dict("records")
    assert (good["state"], good["errors"]) == ("executed", 0)
    assert good["seconds"] == "61.3"
    assert (bad["state"], bad["errors"]) == ("ValueError: why", 1)
    assert bad["seconds"] == inventory.UNKNOWN


def test_page_itself_can_be_left_out(built):
    page(built, "status")
    page(built, "other")
    assert [p.target for p in inventory.Inventory(["status"]).pages] == ["other"]


def test_totals_are_of_everything(built):
    run("no-crop", failed=2)
    run("rel-att", finished=False)
    page(built, "a", 90)
    page(built, "b", error="E")
    assert inventory.Inventory().totals() == {
        "runs": "2",
        "finished": "1",
        "answers": "6",
        "errors": "2",
        "minutes": "3",
        "pages": "2",
        "failed_pages": "1",
        "page_minutes": "1.5",
        "environments": "2",
    }


def test_nothing_yet_is_no_fault(built):
    found = inventory.Inventory()
    assert found.run_table().empty and found.page_table().empty
    assert found.environments().empty
    assert found.totals()["runs"] == "0"


def test_grid_has_a_cell_a_run_that_leads_to_its_page(built):
    first, other = run("no-crop"), run("rel-att")
    page(built, f"runs/{other.name}")
    html = inventory.Inventory().grids().data
    assert html.count("<table") == 1 and "<caption>plates</caption>" in html
    assert f'<a href="runs/{other.name}.html">' in html
    assert f"runs/{first.name}.html" not in html  # it has no page


def test_parts_of_a_data_set_are_not_in_the_grid(built):
    run("rel-att", config={"method": "rel-att", "dataset": "plates", "limit": 2})
    assert inventory.Inventory().grids().data == ""


def test_effects_are_told_by_a_sign_not_by_colour_alone():
    ends = {"up": (1, 2), "down": (-2, -1), "same": (-1, 1)}
    assert inventory._effect(float("nan"), float("nan")) == ""
    for word, (low, high) in ends.items():
        assert inventory._effect(low, high) == word
        assert inventory.EFFECTS[word].strip()
