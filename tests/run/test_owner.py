import json
import multiprocessing
import os
import signal

import pytest

from vicrop.run import owner


def test_second_writer_is_told_who_is_first(tmp_path):
    with owner.one_writer(tmp_path) as left:
        assert left is None
        with (
            pytest.raises(RuntimeError, match="is being written by process") as said,
            owner.one_writer(tmp_path),
        ):
            pass
        assert str(os.getpid()) in str(said.value)
    with owner.one_writer(tmp_path) as left:
        assert left is None


def test_body_that_fails_lets_go(tmp_path):
    with pytest.raises(KeyError), owner.one_writer(tmp_path):
        raise KeyError
    with owner.one_writer(tmp_path):
        pass


def hold(folder, ready):
    with owner.one_writer(folder):
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
        owner.one_writer(tmp_path),
    ):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process.close()
    with owner.one_writer(tmp_path) as left:
        assert left.startswith(f"process {number} on ")
    assert owner.owner(tmp_path) is None


def test_torn_owner_is_still_an_owner(tmp_path):
    (tmp_path / owner.OWNER).write_text('{"proc')
    assert owner.owner(tmp_path) == "an unknown process"
    (tmp_path / owner.OWNER).write_text(json.dumps({"host": "x"}))
    assert owner.owner(tmp_path) == "an unknown process"


def test_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def no_locks(*args, **kwargs):
        raise NotImplementedError

    monkeypatch.setattr(owner.FileLock, "acquire", no_locks)
    with (
        pytest.raises(RuntimeError, match="has no locks .* VICROP_RESULTS"),
        owner.one_writer(tmp_path),
    ):
        pass
