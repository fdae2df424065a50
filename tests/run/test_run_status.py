import pytest

from vicrop.run import owner
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record
from vicrop.run.status import all_of, folders, status


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
    assert (found.speed, found.left, found.who) == (0.5, "–", "")


def test_stopped_run_tells_the_time_that_is_left(tmp_path):
    run = write(tmp_path / "r", asked=63, finished=False, seconds=6.0, answered=3)
    found = status(run)
    assert (found.state, found.missing, found.left) == ("stopped", 60, "2 min 00 s")


def test_run_without_a_first_sample_has_no_speed(tmp_path):
    found = status(write(tmp_path / "r", 0, 0, asked=9))
    assert (found.speed, found.left) == (None, "unknown")


def test_running_run_says_who_runs_it(tmp_path):
    run = write(tmp_path / "r", asked=9)
    with owner.one_writer(run.folder):
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
    names = [one.name for one in all_of(tmp_path)]
    assert names == [*(f"a, shard {n}-of-11" for n in (0, 2, 10)), "b"]
    RunFolder(tmp_path / "a").write_meta({"identity": {}})
    assert [one.name for one in folders(tmp_path)] == ["a", "b"]


def test_no_runs_are_no_lines(tmp_path):
    assert list(all_of(tmp_path / "nothing")) == []
