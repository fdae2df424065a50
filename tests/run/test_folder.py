import json
import multiprocessing
import os
import signal

import pytest

from vicrop.run import folder
from vicrop.run.folder import RunFolder, faults, one_writer, owner, writing
from vicrop.run.records import Record, RunConfig, Sample
from vicrop.types import Box, Map

IDENTITY = {"dtype": "float32", "weights": "a" * 64, "data": "d" * 64}
SAMPLES = [
    Sample(id=name, question="what?", labels=("4",), image_path="0.png")
    for name in "abc"
]


def record(name, **changes):
    good = {"plain": "3", "answer": "4", "plain_score": 0.0, "score": 1.0}
    good |= {"box": Box(0, 0, 5, 5), "size": 0.01, "coverage": 1.0}
    return Record(id=name, question="what?", labels=("4",), **good | changes)


def failed(name):
    return Record(id=name, question="what?", labels=("4",), error="ValueError: x")


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def write(run, *records, **kwargs):
    """Append records to a run of a, b and c."""
    with writing(run, IDENTITY, SAMPLES, **kwargs) as writer:
        for one in records:
            writer.append(one)
        return writer


def ids(run):
    return [one.id for one in run.records()]


def test_run_folder_is_where_its_config_says(results_folder):
    whole = RunConfig(limit=3)
    assert RunFolder.of(whole).folder == results_folder / "runs" / whole.run_id
    part = RunFolder.of(RunConfig(limit=3, shard=2, shards=8))
    assert part.folder == results_folder / "runs" / whole.run_id / "shards" / "2-of-8"
    assert part.name == f"{whole.run_id}, shard 2-of-8"


def test_records_come_back_in_the_samples_order(run):
    made = [record("b"), failed("a"), record("c", answer="ü\n“")]
    write(run, *made)
    assert list(run.records()) == [made[1], made[0], made[2]]
    assert write(run).done == {"a", "b", "c"}


@pytest.mark.parametrize("torn", [b'{"id": "c", "ques', b"{", b"\x00\x00\x00", b"\xc3"])
def test_torn_last_line_is_cut_off_and_noted(run, torn):
    write(run, record("a"), record("b"))
    whole = run.records_file.read_bytes()
    run.records_file.write_bytes(whole + torn)
    writer = write(run)
    assert writer.done == {"a", "b"}
    assert run.records_file.read_bytes() == whole
    note = f"records.jsonl: a torn last line of {len(torn)} bytes cut"
    assert writer.notes == run.meta()["notes"] == [note]


OTHER = Sample(id="z", question="what?", labels=("4",), image_path="0.png")
BAD = {
    "no JSON": ("not json\n", "Invalid JSON"),
    "no record": ('{"id": "b"}\n', "Field required"),
    "empty": ("\n", "Invalid JSON"),
    "changed": (record("b").line().replace('"4"', '"5"'), "its checksum is another's"),
    "foreign": (record("z").line(), "sample 'z' is not of this run"),
    "other question": (
        record("b").model_copy(update={"question": "who?"}).line(),
        "sample 'b' has another question or labels here",
    ),
    "doubled": (record("a").line(), "sample 'a' is in line 1 already"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_line_is_taken_out_kept_aside_and_asked_again(run, name):
    text, fault = BAD[name]
    write(run, record("a"), record("c"))
    first, last = run.records_file.read_text().splitlines(keepends=True)
    run.records_file.write_text(first + text + last)
    writer = write(run)
    assert writer.done == {"a", "c"}
    assert run.records_file.read_text() == first + last
    (note,) = writer.notes
    assert note.startswith("line 2 taken out: ") and fault in note
    assert (run.folder / folder.REJECTED).read_text() == text
    write(run, record("b"))
    assert ids(run) == ["a", "b", "c"]


def test_every_bad_line_is_named_when_read(run):
    write(run, record("a"), record("b"))
    first, last = run.records_file.read_text().splitlines(keepends=True)
    run.records_file.write_text(first + last.replace('"4"', '"5"'))
    with pytest.raises(ValueError, match=r"records.jsonl line 2 is not a record \(its"):
        ids(run)


def test_lines_say_what_is_wrong_beside_each_other(run):
    run.folder.mkdir()
    run.records_file.write_text("".join(text for text, _ in BAD.values()))
    samples = {sample.id: sample for sample in SAMPLES}
    found = [line.fault for line in faults(run.lines(), samples)]
    expected = [fault for _, fault in BAD.values()]
    assert all(e in f for e, f in zip(expected[:-1], found[:-1], strict=True))
    assert found[-1] == ""  # there, it is the only one of "a"


@pytest.mark.parametrize("part", IDENTITY)
def test_records_of_another_identity_are_refused(run, part):
    write(run, record("a"))
    before = run.records_file.read_bytes()
    known, other = (
        f"--dtype={value}" if part == "dtype" else f"{part} {value[:12]}"
        for value in (IDENTITY[part], "other")
    )
    said = f"holds records made with {known}, not {other}; ask for the same"
    with (
        pytest.raises(ValueError, match=said),
        writing(run, {**IDENTITY, part: "other"}, SAMPLES),
    ):
        pass
    assert run.records_file.read_bytes() == before
    assert write(run).done == {"a"}


def test_failed_samples_are_tried_again_if_asked(run):
    write(run, record("a"), failed("b"))
    assert write(run).done == {"a", "b"}
    writer = write(run, again=True)
    assert writer.done == {"a"}
    assert writer.notes == ["line 2 taken out: it failed, and is tried again"]
    write(run, record("b"))
    assert [one.error for one in run.records()] == [None, None]


def test_two_writers_are_one_too_many(run):
    with (
        writing(run, IDENTITY, SAMPLES),
        pytest.raises(RuntimeError, match="is being written by process"),
        writing(run, IDENTITY, SAMPLES),
    ):
        pass


def test_meta_is_replaced_whole_and_kept(run):
    write(run)
    run.write_meta({**run.meta(), "seconds": 3.0, "finished": True})
    write(run)
    meta = run.meta()
    assert meta["seconds"] == 3.0 and meta["identity"] == IDENTITY
    assert meta["asked"] == 3
    assert meta["finished"] is False  # none is recorded


def test_torn_meta_is_named(run):
    write(run)
    (run.folder / folder.META).write_text('{"fini')
    with pytest.raises(ValueError, match="meta.json is not as a run .* JSON.* run again"):
        run.meta()


def test_disk_that_is_full_names_the_folder_and_loses_nothing(run, monkeypatch):
    def full(self, line):
        raise OSError(28, "No space left on device")

    with writing(run, IDENTITY, SAMPLES) as writer:
        writer.append(record("a"))
        before = run.records_file.read_bytes()
        monkeypatch.setattr(folder.jsonl.Appender, "append", full)
        with pytest.raises(OSError, match="sample b could not .*No space.*; 1 records"):
            writer.append(record("b"))
    assert run.records_file.read_bytes() == before


def test_maps_are_saved_beside_the_records(run, rng):
    maps = {name: Map(rng.random((2, 3)), (0, 0, 9, 6)) for name in "ab"}
    with writing(run, IDENTITY, SAMPLES) as writer:
        writer.append(record("b"), maps["b"])
        writer.append(failed("c"))
        writer.append(record("a"), maps["a"])
    found = run.maps()
    assert list(found) == ["a", "b"]
    for name, amap in found.items():
        assert (amap.values == maps[name].values).all()
    text = run.maps_file.read_text()
    assert [json.loads(line)["id"] for line in text.splitlines()] == ["a", "b"]


def test_map_without_its_record_is_made_again(run, rng):
    """Killed between the two: the map of the second time counts."""
    first, second = (Map(rng.random((2, 3))) for _ in range(2))
    for amap in (first, second):
        with writing(run, IDENTITY, SAMPLES) as writer:
            writer.append(record("a"), amap)
        if amap is first:
            run.records_file.write_text("")
    assert (run.maps()["a"].values == second.values).all()
    assert run.maps_file.read_text().count("\n") == 1


def test_changed_map_is_named(run, rng):
    with writing(run, IDENTITY, SAMPLES) as writer:
        writer.append(record("a"), Map(rng.random((2, 3))))
    run.maps_file.write_text(run.maps_file.read_text().replace('"a"', '"b"'))
    with pytest.raises(ValueError, match="maps.jsonl line 1 is not a map .*checksum"):
        run.maps()


# One writer.


def test_second_writer_is_told_who_is_first(tmp_path):
    with one_writer(tmp_path) as left:
        assert left is None
        with (
            pytest.raises(RuntimeError, match="is being written by process") as said,
            one_writer(tmp_path),
        ):
            pass
        assert str(os.getpid()) in str(said.value)
    with one_writer(tmp_path) as left:
        assert left is None


def test_body_that_fails_lets_go(tmp_path):
    with pytest.raises(KeyError), one_writer(tmp_path):
        raise KeyError
    with one_writer(tmp_path):
        pass


def hold(folder, ready):
    with one_writer(folder):
        ready.set()
        signal.pause()


def test_lock_of_a_killed_process_is_free_and_says_whose_it_was(tmp_path):
    fresh = multiprocessing.get_context("spawn")
    ready = fresh.Event()
    process = fresh.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(20)
    number = process.pid
    with (
        pytest.raises(RuntimeError, match=str(process.pid)),
        one_writer(tmp_path),
    ):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process.close()
    with one_writer(tmp_path) as left:
        assert left.startswith(f"process {number} on ")
    assert owner(tmp_path) is None


def test_torn_owner_is_still_an_owner(tmp_path):
    (tmp_path / folder.OWNER).write_text('{"proc')
    assert owner(tmp_path) == "an unknown process"
    (tmp_path / folder.OWNER).write_text(json.dumps({"host": "x"}))
    assert owner(tmp_path) == "an unknown process"


def test_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def no_locks(*args, **kwargs):
        raise NotImplementedError

    monkeypatch.setattr(folder.FileLock, "acquire", no_locks)
    with (
        pytest.raises(RuntimeError, match="has no locks .* VICROP_RESULTS"),
        one_writer(tmp_path),
    ):
        pass
