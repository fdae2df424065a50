import math

import pandas as pd
import pytest

from vicrop import methods
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record, RunConfig
from workflow import tables


def record(name, size):
    return Record(id=name, question="what?", labels=("4",), answer="4", size=size)


def finish(model="tiny-llava", method="rel-att", dataset="plates", **changes):
    """A finished run of two records on the disk."""
    config = RunConfig(model=model, method=method, dataset=dataset, **changes)
    run = RunFolder.of(config)
    run.folder.mkdir(parents=True)
    made = (record("a", 0.001), record("b", 0.1))
    run.records_file.write_text("".join(one.line() for one in made))
    run.write_meta({"config": config.model_dump(mode="json"), "finished": True})
    return run


def test_finished_run_is_loaded_by_its_keys(results_folder):
    finish()
    assert list(tables.load("tiny-llava", "rel-att", "plates").index) == ["a", "b"]


def test_missing_run_names_the_command_that_makes_it(results_folder):
    with pytest.raises(FileNotFoundError, match="`vicrop run --model tiny-llava --met"):
        tables.load("tiny-llava", "rel-att", "plates")


def test_unfinished_run_is_not_loaded(results_folder):
    run = finish()
    run.write_meta({**run.meta(), "finished": False})
    with pytest.raises(FileNotFoundError, match="no finished run"):
        tables.load("tiny-llava", "rel-att", "plates")


def test_run_of_another_fit_or_geometry_is_loaded_by_it(results_folder):
    finish(geometry="upstream")
    keys = ("tiny-llava", "rel-att", "plates")
    assert len(tables.load(*keys, geometry="upstream")) == 2
    with pytest.raises(FileNotFoundError, match="__squash; .* --dataset plates --fit"):
        tables.load(*keys, fit="squash")


def test_every_method_has_its_place():
    assert set(methods.METHODS) <= set(tables.ORDER)


def test_tables_are_of_whole_runs_in_the_books_order(results_folder):
    for method in ("random-crop", "rel-att", "no-crop", "raw-att"):
        finish(method=method)
    finish(dataset="plates-hd")
    finish(limit=1)
    finish(layer=1)
    finish(model="llava-1.5-7b")
    names = list(tables.of_model("tiny-llava", "plates"))
    assert names == ["no-crop", "rel-att", "raw-att", "random-crop"]
    assert list(tables.of_model("tiny-llava"))[-1] == "plates-hd · rel-att"


def test_runs_of_another_fit_or_geometry_have_their_own_name(results_folder):
    finish()
    finish(geometry="upstream")
    finish(fit="pad", options={"min_pixels": 3})
    assert list(tables.of_model("tiny-llava", "plates")) == [
        "rel-att",
        "rel-att, pad, min_pixels 3",
        "rel-att, upstream",
    ]


def test_of_group_keeps_one_group_and_drops_empty_runs(results_folder):
    finish()
    runs = tables.of_model("tiny-llava")
    small = tables.of_group(runs, "small")
    assert [list(rows.index) for rows in small.values()] == [["a"]]
    assert tables.of_group(runs, "medium") == {}


def test_find_lists_finished_runs_of_the_models_asked_for(results_folder):
    for name, model, finished in (("b", "x", 1), ("a", "y", 1), ("c", "x", 0)):
        folder = RunFolder(results_folder / "runs" / name)
        folder.folder.mkdir(parents=True)
        folder.write_meta({"config": {"model": model}, "finished": bool(finished)})
    assert [run.folder.name for run in tables.find()] == ["a", "b"]
    assert [run.folder.name for run in tables.find("x")] == ["b"]
    assert tables.find("z") == []


def test_find_without_any_run_is_empty(results_folder):
    assert tables.find() == []


def frame(rows):
    made = pd.DataFrame(rows, columns=["plain_score", "score", "error"])
    return made.assign(image=made.index)


def test_summary_leaves_failed_samples_out():
    rows = [(0.0, 1.0, None), (1.0, 1.0, None), (None, None, "ValueError: x")]
    summary = tables.summary(frame(rows))
    assert (summary.n, summary.errors) == (2, 1)
    assert (summary.plain.value, summary.score.value) == (0.5, 1.0)
    assert summary.gain.value == 0.5
    assert summary.changes.fixed == 1


def test_summary_of_failures_only_is_empty():
    summary = tables.summary(frame([(None, None, "ValueError: x")]))
    assert (summary.n, summary.errors) == (0, 1)
    assert math.isnan(summary.gain.value) and summary.changes.p == 1
