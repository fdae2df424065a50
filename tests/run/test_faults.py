"""What may befall a run: nothing recorded is lost, and one clear line says what it was.

Kills are in ``test_loop.py``, spoilt lines in ``test_folder.py``, batches without
memory in ``test_batches.py``, killed kernels in ``test_execute.py``; `make soak` kills
a sharded run a hundred times.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vicrop.run import loop
from vicrop.run.cli import STOPPED
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def config(folder, results_folder):
    return RunConfig(dataset=str(folder), method="no-crop", max_new_tokens=2)


@pytest.fixture
def vicrop():
    """Starts ``vicrop run`` in a process of its own, which ends with the test."""
    started = []

    def start(config, *more, **popen):
        args = ["run", "--dataset", config.dataset, "--method", config.method]
        args += ["--max-new-tokens", str(config.max_new_tokens), *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "vicrop.cli", *args]
        started.append(subprocess.Popen(command, **pipes, **popen))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def recorded(made):
    file = made.records_file
    return file.read_bytes().count(b"\n") if file.exists() else 0


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


@pytest.fixture
def many(config, folder):
    """A run long enough to be caught in: the six questions, twenty times."""
    rows = json.loads((folder / "data.json").read_text())
    rows = [{**row, "id": f"{row['id']}-{n}"} for n in range(20) for row in rows]
    (folder / "data.json").write_text(json.dumps(rows))
    return config


def test_signal_finishes_the_sample_and_asks_to_be_run_again(vicrop, many):
    """SIGTERM; what Ctrl-C does is in ``test_field_runs.py``."""
    made = RunFolder.of(many)
    process = vicrop(many)
    wait_for(lambda: recorded(made))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == STOPPED == 75
    assert "vicrop: stopped by SIGTERM; run the same again to go on" in err
    assert "Traceback" not in err
    done = recorded(made)
    assert 0 < done < 120 and len(list(made.records())) == done
    meta = made.meta()
    assert meta["finished"] is False and meta["answered"] == done
    again = vicrop(many)
    assert again.communicate(timeout=120) and again.returncode == 0
    assert made.meta()["answered"] == len(list(made.records())) == 120


def test_disk_that_gets_full_is_one_line_and_can_be_gone_on_with(vicrop, many):
    """A file that may not grow beyond a few records stands for the disk."""
    limit = 4000
    process = vicrop(
        many,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, err = process.communicate(timeout=120)
    made = RunFolder.of(many)
    kept = recorded(made)
    assert process.returncode == 2
    (line,) = [line for line in err.splitlines() if line.startswith("vicrop: ")]
    assert f"could not be written (File too large); {kept} records are kept" in line
    assert "Make room and run the same again" in line and "Traceback" not in err
    assert 0 < kept and made.records_file.stat().st_size <= limit
    assert made.records_file.read_bytes().endswith(b"\n")
    assert vicrop(many).wait(120) == 0
    assert made.meta()["answered"] >= 120 - kept and recorded(made) == 120


def test_results_that_cannot_be_written_are_one_line(
    vicrop, config, tmp_path, monkeypatch
):
    place = tmp_path / "file"
    place.touch()
    monkeypatch.setenv("VICROP_RESULTS", str(place))
    process = vicrop(config)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("vicrop: [Errno 20] Not a directory")


def test_read_only_results_are_one_line(config, monkeypatch):
    """As root nothing is read-only, so the system's answer is put in its mouth."""
    mkdir = Path.mkdir

    def refuse(self, *args, **kwargs):
        if "runs" in self.parts:
            raise OSError(30, "Read-only file system", str(self))
        return mkdir(self, *args, **kwargs)

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(OSError, match="Read-only file system: .*runs/tiny-llava__no-"):
        loop.run(config, progress=False)


def test_second_writer_is_refused_and_the_first_goes_on(vicrop, many):
    made = RunFolder.of(many)
    first = vicrop(many)
    wait_for(lambda: recorded(made))
    first.send_signal(signal.SIGSTOP)  # so that it is not done first
    second = vicrop(many)
    _, err = second.communicate(timeout=60)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    line = err.splitlines()[-1]
    assert f"is being written by process {first.pid} on " in line
    assert first.wait(120) == 0 and recorded(made) == 120


@pytest.mark.usefixtures("random_weights")
def test_sample_that_hangs_fails_alone(config, monkeypatch):
    answer_one = loop.answer_one

    def hang(view, config, sample):
        if sample.id == "1-read":
            time.sleep(60)
        return answer_one(view, config, sample)

    monkeypatch.setattr(loop, "answer_one", hang)
    patient = config.model_copy(update={"sample_timeout": 2})
    made = loop.run(patient, progress=False)
    (failed,) = loop.failures(made)
    assert failed.id == "1-read"
    assert failed.error == "TimeoutError: took longer than sample_timeout, 2 s"
    monkeypatch.setattr(loop, "answer_one", answer_one)
    again = loop.run(patient, progress=False, again=True)
    assert loop.failures(again) == [] and len(list(again.records())) == 6


@pytest.mark.usefixtures("random_weights")
def test_timeout_is_refused_where_it_could_not_interrupt(config):
    from concurrent.futures import ThreadPoolExecutor

    patient = config.model_copy(update={"sample_timeout": 2})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(loop.run, patient, False)
        with pytest.raises(
            ValueError, match="sample_timeout is 2 s, but only the main"
        ):
            waiting.result()


@pytest.mark.usefixtures("random_weights")
def test_clock_that_jumps_changes_nothing(config, monkeypatch, tmp_path):
    whole = loop.run(config, progress=False).records_file.read_bytes()
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "jumping"))
    jumps = iter(range(10**9, 0, -(10**5)))
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    made = loop.run(config, progress=False)
    assert made.records_file.read_bytes() == whole
    assert made.meta()["seconds"] >= 0 and made.meta()["finished"]


def test_page_whose_workers_parent_is_killed_ends_too(tmp_path):
    """A killed build leaves no process behind that writes on."""
    script = tmp_path / "build.py"
    script.write_text(
        "import os, time\n"
        "from workflow.execute import pool\n"
        "def work(file):\n"
        "    open(file, 'w').write(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        f"    pool(1).submit(work, {str(tmp_path / 'pid')!r}).result()\n"
    )
    process = subprocess.Popen([sys.executable, str(script)])
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    worker = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{worker}") or _is_zombie(worker))


def _is_zombie(process):
    with open(f"/proc/{process}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"
