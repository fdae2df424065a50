import json

import pytest

from vicrop.run import results
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record
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
    groups = results.by_group(results.table(run))
    made = {name: rows["error"].isna() for name, rows in groups.items()}
    counted = {name: (one.sum(), (~one).sum()) for name, one in made.items()}
    assert counted == {"small": (0, 1), "large": (1, 0)}


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
