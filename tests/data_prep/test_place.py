"""Killed, stopped, refused, raced: a data set is whole or not there."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.unified import build, place
from tests.data_prep.handmade import (
    fails,
    make,
    one_line,
    tree,
    write_originals,
)
from tests.fixtures.makers import draw
from vicrop.run import datasets


def refuse(code):
    def write(self, data):
        raise OSError(code, os.strerror(code))

    return write


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    "code, advice", [(errno.ENOSPC, "make room"), (errno.EROFS, "VICROP_DATA")]
)
def test_disk_that_takes_no_more_is_one_line(
    root, originals, monkeypatch, code, advice, there
):
    if there:
        make(root, originals)
    else:
        root.mkdir()
    monkeypatch.setattr(Path, "write_bytes", refuse(code))
    told = f"data/textvqa cannot be written .{os.strerror(code)}.; .*{advice}"
    fails(told, root, originals, error=RuntimeError, replace=there)


def test_folder_that_may_not_be_written_is_one_line(root, originals, monkeypatch):
    def mkdir(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(RuntimeError, match="data cannot be written .Permission den"):
        make(root, originals)


def test_what_is_there_is_found_where_nothing_may_be_written(
    root, originals, monkeypatch
):
    make(root, originals)
    monkeypatch.setattr(place, "FileLock", lambda *_, **__: pytest.fail("locked"))
    assert not make(root, originals).fresh


@pytest.mark.parametrize("there", [False, True])
def test_stop_in_the_middle_leaves_what_was_there(root, originals, monkeypatch, there):
    if there:
        make(root, originals)
    before = tree(root)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "_write_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        make(root, originals, limit=1, replace=True)
    assert tree(root) == before


@pytest.mark.parametrize("step", [1, 2])
def test_stop_between_the_steps_of_the_change_leaves_a_whole_one(
    root, originals, monkeypatch, step
):
    make(root, originals)
    before = tree(root)
    rename, done = Path.rename, []

    def stop(self, target):
        done.append(target)
        if len(done) == step:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        make(root, originals, limit=1, replace=True)
    assert tree(root) == before


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from data_prep.unified import build, pictures, place
from tests.data_prep.handmade import make
root, source, where, limit = sys.argv[1:]

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if where == "pictures":
    write, written = Path.write_bytes, []
    def some(self, data):
        kill() if written else written.append(write(self, data[:50]))
    Path.write_bytes = some
elif where == "rows":
    build._write_rows = lambda file, rows: (file.write_text("[{"), kill())
elif where == "renamed":
    rename = Path.rename
    Path.rename = lambda self, to: (rename(self, to), kill())
elif where == "swapped":
    place.remove = lambda path: path.name.endswith(".old") and path.exists() and kill()
elif where == "wait":
    fill = build._fill
    def slow(*given):
        (Path(source) / "filling").touch()
        while not (Path(source) / "go").exists():
            time.sleep(0.02)
        return fill(*given)
    build._fill = slow
print(make(Path(root), Path(source), limit=int(limit), replace=True).fresh)
"""


def run(root, originals, where, limit=0, **options):
    words = [sys.executable, "-c", SCRIPT, root, originals, where, str(limit)]
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize("where", ["pictures", "rows", "renamed"])
def test_killed_process_leaves_no_half_made_data_set(root, originals, where):
    killed = run(root, originals, where)
    assert killed.communicate() and killed.returncode == -signal.SIGKILL
    left = {name for name in tree(root) if "/" not in name}
    assert left <= {".textvqa.part", ".textvqa.lock"} or where == "renamed"
    make(root, originals)
    assert set(os.listdir(root)) == {"textvqa"}
    assert len(datasets.load(str(root / "textvqa"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("where", ["pictures", "rows", "renamed", "swapped"])
def test_killed_process_leaves_the_old_data_set_or_the_new(root, originals, where):
    make(root, originals, limit=1)
    before = tree(root / "textvqa")
    killed = run(root, originals, where)
    assert killed.communicate() and killed.returncode == -signal.SIGKILL
    if where == "swapped":
        assert len(datasets.load(str(root / "textvqa"))) == 2
        assert not make(root, originals).fresh
    else:
        if where != "renamed":
            assert tree(root / "textvqa") == before
        assert not make(root, originals, limit=1).fresh
        assert tree(root / "textvqa") == before
    assert set(os.listdir(root)) == {"textvqa"}


def test_half_of_an_old_data_set_is_not_put_back(root, originals):
    made = make(root, originals)
    (made.folder / "data.json").unlink()  # the first that goes
    made.folder.rename(root / ".textvqa.old")
    assert make(root, originals).fresh
    assert set(os.listdir(root)) == {"textvqa"}


@pytest.mark.slow
def test_two_processes_at_once_do_not_disturb_each_other(root, originals):
    first = run(root, originals, "wait")
    for _ in range(600):
        if (originals / "filling").exists():
            break
        time.sleep(0.05)
    with pytest.raises(RuntimeError, match="another process is making .*wait") as e:
        make(root, originals)
    one_line(e)
    (originals / "go").touch()
    told, wrong = first.communicate()
    assert told == "True\n", wrong
    assert not make(root, originals).fresh
    assert set(os.listdir(root)) == {"textvqa"}


def test_limit_on_a_file_s_size_is_one_line_for_real(root, tmp_path):
    folder = write_originals(tmp_path / "originals")
    draw.write(
        folder / "train_images" / "image1.jpg",
        draw.picture(1, (900, 900)) + bytes(200_000),
    )
    code = f"""
import resource
from pathlib import Path
from tests.data_prep.handmade import make
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    make(Path({str(root)!r}), Path({str(folder)!r}))
except RuntimeError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert "textvqa cannot be written (File too large)" in ran.stdout, ran.stderr
    assert ran.stdout.count("\n") == 1
    assert tree(root) == {}


def test_link_in_place_of_the_data_set_is_replaced_and_not_followed(
    root, originals, tmp_path
):
    made = make(tmp_path / "other", originals)
    kept = tree(made.folder)
    root.mkdir()
    (root / "textvqa").symlink_to(made.folder)
    make(root, originals, limit=1, replace=True)
    assert tree(made.folder) == kept
    assert not (root / "textvqa").is_symlink()
