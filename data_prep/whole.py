"""A folder that is whole or not there, whatever happens while it is filled."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other processes from making the same; mend what a killed one left.

    Raises:
        RuntimeError: if another is at it, or the disk is full or read-only.
    """
    lock = beside(out, "lock")
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                mend(out)
                try:
                    yield
                finally:
                    mend(out)
                    lock.unlink(missing_ok=True)
        except Timeout:
            raise RuntimeError(
                f"another process is making {out}; wait until it is done"
            ) from None


@contextmanager
def folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name, and another's place, once it is full."""
    part, old = beside(out, "part"), beside(out, "old")
    part.mkdir()
    yield part
    # Killed after the first step, ``mend`` takes it back; a folder that is not empty
    # cannot be replaced in one.
    if os.path.lexists(out):
        out.rename(old)
    part.rename(out)
    remove(old)


def mend(out: Path) -> None:
    """Undo what was not finished; with ``out`` whole, clear away what is beside it."""
    part, old = beside(out, "part"), beside(out, "old")
    if not os.path.lexists(out) and (old / "data.json").exists():
        old.rename(out)
    remove(old)
    remove(part)


def leftovers(out: Path) -> bool:
    """Whether a process is at work on it, or was killed."""
    kinds = ("part", "old", "lock")
    return any(os.path.lexists(beside(out, kind)) for kind in kinds)


def beside(out: Path, kind: str) -> Path:
    """Where the ``part``, the ``old`` folder and the ``lock`` of a folder are."""
    return out.parent / f".{out.name}.{kind}"


def remove(path: Path) -> None:
    """Remove a folder, a file or a link, if it is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        # First what makes it a data set: half of one is not put back.
        (path / "data.json").unlink(missing_ok=True)
        shutil.rmtree(path)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """One line for what the disk does not take."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not the system's: a file that this package misses
            raise
        advice = "make room" if error.errno in FULL else "see to it, or set VICROP_DATA"
        raise RuntimeError(
            f"{error.filename or out} cannot be written ({error.strerror}); {advice} "
            "and run again"
        ) from error
