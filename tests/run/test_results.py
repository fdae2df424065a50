import json

import pytest

from vicrop.run import results, stats
from vicrop.run.records import Record, RunConfig
from vicrop.run.results import RunFolder
from vicrop.types import Box


def record(name, **changes):
    good = {
        "plain": "3",
        "answer": "4",
        "plain_score": 0.0,
        "score": 1.0,
        "box": Box(0, 0, 5, 5),
        "size": 0.01,
        "coverage": 1.0,
    }
    return Record(id=name, question="what?", labels=("4",), **good | changes)


def failed(name, **known):
    said = {"question": "what?", "labels": ("4",), "error": "ValueError: x"}
    return Record(id=name, **said, **known)


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.folder.mkdir()
    return folder


def write(run, *records):
    """Records on the disk, as a run leaves them."""
    run.folder.mkdir(parents=True, exist_ok=True)
    run.records_file.write_text("".join(one.line() for one in records))


def test_find_lists_finished_runs_of_the_models_asked_for(results_folder):
    for name, model, finished in (("b", "x", 1), ("a", "y", 1), ("c", "x", 0)):
        folder = RunFolder(results_folder / "runs" / name)
        write(folder)
        folder.write_meta({"config": {"model": model}, "finished": bool(finished)})
    assert [run.folder.name for run in results.find()] == ["a", "b"]
    assert [run.folder.name for run in results.find("x")] == ["b"]
    assert results.find("z") == []


def test_find_without_any_run_is_empty(results_folder):
    assert results.find() == []


def test_table_has_a_row_a_sample_and_keeps_failures(run):
    write(run, record("a", size=0.004), failed("b"))
    frame = results.table(run)
    assert list(frame.index) == ["a", "b"]
    assert frame.loc["a", "group"] == "small"
    assert frame["score"].tolist()[0] == 1
    assert frame["score"].isna().tolist() == [False, True]
    assert frame.loc["b", "error"] == "ValueError: x"
    assert frame.loc["b", "group"] is None or frame.loc["b", "group"] != "small"


def test_table_of_failures_only_has_no_scores(run):
    write(run, failed("a"))
    frame = results.table(run)
    assert frame["score"].dtype == float and frame["score"].isna().all()


def test_a_failed_sample_counts_in_its_size_group(run):
    write(run, record("ok", size=0.1), failed("failed", size=0.001), failed("no box"))
    made = stats.report(results.by_group(results.table(run))).set_index("run")
    assert made.loc["small", ["n", "errors"]].tolist() == [0, 1]
    assert made.loc["large", ["n", "errors"]].tolist() == [1, 0]
    assert made[["n", "errors"]].to_numpy().sum() == 2


def test_table_of_no_records_is_empty(run):
    assert results.table(run).empty


@pytest.mark.parametrize(
    ("size", "group"),
    [
        (0.0, "small"),
        (0.00499, "small"),
        (0.005, "medium"),
        (0.0499, "medium"),
        (0.05, "large"),
        (1.0, "large"),
        (None, None),
        (float("nan"), None),
    ],
)
def test_size_groups_are_the_papers(size, group):
    assert results.size_group(size) == group


def test_every_line_of_the_file_is_json(run):
    write(run, record("a"))
    assert json.loads(run.records_file.read_text())["box"] == [0, 0, 5, 5]


def finish(model="tiny-llava", method="rel-att", dataset="plates", **changes):
    """A finished run of two records on the disk."""
    config = RunConfig(model=model, method=method, dataset=dataset, **changes)
    run = RunFolder.of(config)
    write(run, record("a", size=0.001), record("b", size=0.1))
    meta = {"config": json.loads(config.model_dump_json()), "finished": True}
    run.write_meta(meta | {"seconds": 3.0, "answered": 2, "peak_memory_mb": 500})
    return run


def test_finished_run_is_loaded_by_its_keys(results_folder):
    finish()
    assert list(results.load("tiny-llava", "rel-att", "plates").index) == ["a", "b"]


def test_missing_run_names_the_command_that_makes_it(results_folder):
    with pytest.raises(FileNotFoundError, match="`vicrop run --model tiny-llava --met"):
        results.load("tiny-llava", "rel-att", "plates")


def test_unfinished_run_is_not_loaded(results_folder):
    run = finish()
    run.write_meta({**run.meta(), "finished": False})
    with pytest.raises(FileNotFoundError, match="no finished run"):
        results.load("tiny-llava", "rel-att", "plates")


def test_tables_are_of_whole_runs_in_the_books_order(results_folder):
    for method in ("random-crop", "rel-att", "no-crop", "raw-att"):
        finish(method=method)
    finish(dataset="plates-hd")
    finish(limit=1)
    finish(layer=1)
    finish(model="llava-1.5-7b")
    names = list(results.tables("tiny-llava", "plates"))
    assert names == ["no-crop", "rel-att", "raw-att", "random-crop"]
    assert list(results.tables("tiny-llava"))[-1] == "plates-hd · rel-att"


def test_runs_of_another_fit_or_geometry_have_their_own_name(results_folder):
    finish()
    finish(geometry="upstream")
    finish(fit="pad", options={"min_pixels": 3})
    assert list(results.tables("tiny-llava", "plates")) == [
        "rel-att",
        "rel-att, pad, min_pixels 3",
        "rel-att, upstream",
    ]
    keys = ("tiny-llava", "rel-att", "plates")
    assert len(results.load(*keys, geometry="upstream")) == 2
    with pytest.raises(FileNotFoundError, match="__squash; .* --dataset plates --fit"):
        results.load(*keys, fit="squash")


def test_of_group_keeps_one_group_and_drops_empty_runs(results_folder):
    finish()
    tables = results.tables("tiny-llava")
    small = results.of_group(tables, "small")
    assert [list(rows.index) for rows in small.values()] == [["a"]]
    assert results.of_group(tables, "medium") == {}


def test_only_keeps_the_samples_asked_for(results_folder):
    finish()
    chosen = results.only(results.tables("tiny-llava"), ["b", "z"])
    assert [list(rows.index) for rows in chosen.values()] == [["b"]]


def test_share_in_view_is_of_the_object(write_data, row, picture):
    rows = [
        row(id="out", boxes=[[0, 10, 20, 30]]),
        row(id="half", boxes=[[90, 10, 110, 30]]),
        row(id="in", boxes=[[150, 10, 170, 30], [0, 0, 9, 9]]),
        row(id="none"),
    ]
    name = str(write_data(rows, [picture.resize((400, 200))]))
    assert results.in_view(name, "centre-crop").to_dict() == {
        "out": 0,
        "half": 0.5,
        "in": 1,
    }
    assert results.in_view(name, "pad").tolist() == [1, 1, 1]


def test_size_bins_are_equally_filled_and_lose_nobody(run):
    write(run, *(record(str(n), size=(n + 1) ** 2 / 1e4) for n in range(12)))
    bins = results.size_bins(results.table(run), 4)
    assert [len(rows) for rows in bins.values()] == [3, 3, 3, 3]
    assert list(bins)[0].endswith("%")


def test_counts_sizes_and_pictures_describe_data(write_data, row, picture):
    box = [[0, 0, 20, 20]]
    rows = [
        row(id="a", boxes=box, meta={"kind": "digit"}),
        row(id="b", boxes=[[0, 0, 300, 300]], meta={"kind": "color"}),
        row(id="c", meta={"kind": "exists"}),
    ]
    name = str(write_data(rows, [picture]))
    counts = results.counts([name]).iloc[0]
    assert (counts["images"], counts["questions"]) == (1, 3)
    assert (counts["small"], counts["large"], counts["no object"]) == (1, 1, 1)
    assert (counts["digit"], counts["exists"]) == (1, 1)
    assert results.sizes(name) == [400 / 448**2, 90000 / 448**2]
    (label, image), *rest = results.pictures([name], each=5)
    assert "448×448 px" in label and image.size == (448, 448) and rest == []


def test_table_is_split_by_kind(write_data, row, run):
    rows = [
        row(id=name, meta={"kind": kind})
        for name, kind in zip("abc", "xyx", strict=True)
    ]
    write(run, *map(record, "abc"))
    split = results.by_kind(results.table(run), str(write_data(rows)))
    assert {kind: list(part.index) for kind, part in split.items()} == {
        "x": ["a", "c"],
        "y": ["b"],
    }


def test_examples_show_every_sort_of_answer(run):
    scores = {
        "fixed": (0, 1),
        "broken": (1, 0),
        "wrong": (0, 0),
        "right": (1, 1),
    }
    made = [
        record(f"{sort}{number}", plain_score=plain, score=score)
        for sort, (plain, score) in scores.items()
        for number in range(3)
    ]
    write(run, *made, failed("failed"))
    shown = results.examples(results.table(run), each=1)
    assert shown == ["fixed0", "broken0", "wrong0", "right0"]
