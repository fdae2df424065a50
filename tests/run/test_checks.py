import json
import shutil

import pytest

from vicrop.run import loop
from vicrop.run.checks import folders, status, verify
from vicrop.run.folder import RunFolder, one_writer
from vicrop.run.records import Record, RunConfig


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def made(folder, random_weights, results_folder):
    config = RunConfig(dataset=str(folder), method="no-crop", max_new_tokens=2)
    return loop.run(config, progress=False)


def rewrite(made, number, **changes):
    """Another record in a line, with a checksum and counts that fit."""
    records = list(made.records())
    records[number] = records[number].model_copy(update=changes)
    made.records_file.write_text("".join(record.line() for record in records))
    made.write_meta({**made.meta(), "records": made.seal()})


def drop(made):
    text = made.records_file.read_text().splitlines(keepends=True)
    made.records_file.write_text("".join(text[:-1]))


def flip(made):
    text = made.records_file.read_text()
    made.records_file.write_text(text.replace('"1-read"', '"1-reae"', 1))


def other_question(folder):
    rows = json.loads((folder / "data.json").read_text())
    rows[0]["question"] = "which one?"
    (folder / "data.json").write_text(json.dumps(rows))


def change_meta(made, **changes):
    made.write_meta({**made.meta(), **changes})


FAULTS = {
    "cut": (
        lambda m, d: drop(m),
        [
            "records.jsonl changed after it was made: 6 lines then, 5 now",
            "1 samples ha",
        ],
    ),
    "flipped": (
        lambda m, d: flip(m),
        ["changed after it was made: 6 l", "line 3: its checksum", "1 samples have no"],
    ),
    "other answer": (
        lambda m, d: rewrite(m, 1, answer="Z!", score=1.0),
        ["line 2: 'Z!' has the score 1.0, but the metric gives 0.0"],
    ),
    "neither": (
        lambda m, d: rewrite(m, 1, answer=None, score=None),
        ["line 2: it has neither an answer nor an error, or both"],
    ),
    "other question": (
        lambda m, d: rewrite(m, 1, question="who?"),
        ["line 2: sample '0-color' has another question", "1 samples have no record"],
    ),
    "other data": (lambda m, d: other_question(d), ["is not the data that were asked"]),
    "no data": (
        lambda m, d: (d / "data.json").unlink(),
        ["records were not held against their data: no data.json in"],
    ),
    "unfinished": (lambda m, d: change_meta(m, finished=False), ["it is not finished"]),
    "no config": (
        lambda m, d: m.write_meta({"identity": m.meta()["identity"]}),
        ["meta.json does not say what was run"],
    ),
}


def test_run_that_is_whole_has_no_faults(made):
    assert list(verify(made, weights=True)) == []


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_said_line_by_line(made, folder, name):
    spoil, expected = FAULTS[name]
    spoil(made, folder)
    found = list(verify(made))
    assert len(found) == len(expected)
    for part in expected:
        assert any(part in fault for fault in found), (part, found)


def test_other_weights_are_told(made, random_llava, processor, monkeypatch):
    from vicrop import adapters

    other = adapters.wrap(random_llava(seed=5), processor, layer=2)
    monkeypatch.setattr(adapters, "load", lambda *args, **kwargs: other)
    (fault,) = verify(made, weights=True)
    assert fault == "tiny-llava here has other weights than those that answered"
    assert list(verify(made)) == []


def test_shard_is_verified_as_one(folder, random_weights, results_folder):
    config = RunConfig(
        dataset=str(folder), method="no-crop", max_new_tokens=2, shard=1, shards=2
    )
    part = loop.run(config, progress=False)
    assert list(verify(part)) == []
    moved = shutil.move(part.folder, part.folder.parent / "renamed")
    assert list(verify(RunFolder(moved))) == []


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*see `vicrop status`"):
        list(verify(RunFolder(tmp_path / "nowhere")))


def test_failed_sample_is_no_fault(made):
    rewrite(
        made, 1, answer=None, plain=None, score=None, plain_score=None, error="E: x"
    )
    assert list(verify(made)) == []


# How far runs are.


def write(folder, records=3, failed=1, **meta):
    """A run's folder with so many records, and of those so many that failed."""
    run = RunFolder(folder)
    run.folder.mkdir(parents=True)
    made = [
        Record(
            id=str(n), question="?", labels=("a",), error="E" if n < failed else None
        )
        for n in range(records)
    ]
    run.records_file.write_text("".join(one.line() for one in made))
    if meta:
        run.write_meta({"identity": {}, **meta})
    return run


def test_finished_run(tmp_path):
    run = write(tmp_path / "r", asked=3, finished=True, seconds=6.0, answered=3)
    found = status(run)
    assert (found.name, found.state) == ("r", "finished")
    assert (found.done, found.failed, found.missing) == (3, 1, 0)
    assert (found.speed, found.who) == (0.5, "")


def test_stopped_run_tells_what_is_missing(tmp_path):
    run = write(tmp_path / "r", asked=63, finished=False, seconds=6.0, answered=3)
    found = status(run)
    assert (found.state, found.missing) == ("stopped", 60)


def test_run_without_a_first_sample_has_no_speed(tmp_path):
    found = status(write(tmp_path / "r", 0, 0, asked=9))
    assert found.speed is None


def test_running_run_says_who_runs_it(tmp_path):
    run = write(tmp_path / "r", asked=9)
    with one_writer(run.folder):
        found = status(run)
        assert found.state == "running" and "process" in found.who
    assert status(run).state == "stopped"


@pytest.mark.parametrize("text", [None, '{"fini'])
def test_run_without_a_whole_meta_is_broken(tmp_path, text):
    run = write(tmp_path / "r")
    if text:
        (run.folder / "meta.json").write_text(text)
    found = status(run)
    assert (found.state, found.done, found.missing) == ("broken", 3, None)


def test_shards_stand_for_a_run_until_it_is_merged(tmp_path):
    for number in (0, 10, 2):
        write(tmp_path / "a" / "shards" / f"{number}-of-11", asked=3)
    write(tmp_path / "b", asked=3)
    names = [status(one).name for one in folders(tmp_path)]
    assert names == [*(f"a, shard {n}-of-11" for n in (0, 2, 10)), "b"]
    RunFolder(tmp_path / "a").write_meta({"identity": {}})
    assert [one.name for one in folders(tmp_path)] == ["a", "b"]


def test_no_runs_are_no_lines(tmp_path):
    assert list(folders(tmp_path / "nothing")) == []
