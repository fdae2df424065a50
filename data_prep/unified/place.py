"""The place of a data set: what is there already, and a new folder made whole.

Whatever happens while a folder is filled, it is whole or not there.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data_prep.originals.search import Originals
from vicrop.run.folder import Refused

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other processes from making the same; mend what a killed one left.

    Raises:
        Refused: if another is at it, or the disk is full or read-only.
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
            raise Refused(
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
        raise Refused(
            f"{error.filename or out} cannot be written ({error.strerror}); {advice} "
            "and run again"
        ) from error


def check_sources(originals: Originals, out: Path) -> None:
    """Refuse originals that lie where the data set goes: they would give way to it."""
    for folder in originals.folders:
        if folder.resolve().is_relative_to(out.resolve()):
            raise ValueError(
                f"source {folder} lies in {out}, where the data set goes; move it away"
            )


def _noted(out: Path) -> dict[str, Any]:
    """What the ``prep.json`` of a folder says; nothing, if it is torn."""
    try:
        found = json.loads((out / "prep.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def found(out: Path, note: Mapping[str, Any]) -> dict[str, Any] | None:
    """What ``prep.json`` says, if the folder is whole and what would be made."""
    noted = _noted(out)
    wanted = all(noted.get(key) == note[key] for key in note)
    return noted if wanted and _is_whole(out, noted) else None


def _is_whole(out: Path, found: Mapping[str, Any]) -> bool:
    data, images = digest(out / "data.json"), stock(out / "images")
    return found.get("data_sha256") == data and found.get("stock") == images


def check_place(out: Path, note: Mapping[str, Any], replace: bool) -> None:
    """Refuse to take the place of a folder unasked, and ever of one made elsewhere."""
    if not out.exists():
        return
    if not (out / "prep.json").is_file():
        raise ValueError(
            f"{out} is there already, and not made by `vicrop prep` (no prep.json in "
            "it); move it away"
        )
    if not replace:
        found = _noted(out)
        changed = [key for key in note if found.get(key) != note[key]]
        why = f"other {', '.join(changed)}" if changed else "changes made since"
        raise ValueError(
            f"{out} is there already, with {why}; add --replace to make it anew, or "
            "keep it under another name"
        )


def stock(folder: Path) -> dict[str, int]:
    """How many files there are, and bytes: quickly told, unlike their sums."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def digest(file: Path) -> str:
    """SHA-256 of a file; "" if it is not there."""
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
