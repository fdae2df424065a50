"""One writer a folder: a lock that the system frees with its process, and whose it is.

The file ``.lock`` stays; what counts is the system's lock on it, so that one left
behind by a killed process, on whatever machine, is free.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vicrop.run import jsonl

LOCK, OWNER = ".lock", ".owner.json"


@contextmanager
def one_writer(folder: Path) -> Iterator[str | None]:
    """Hold a folder for writing.

    Yields:
        Who held it and ended without letting it go (killed); None if nobody did.

    Raises:
        RuntimeError: if another process holds it, or its file system has no locks.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=1)  # a moment of somebody who only looks is waited for
    except Timeout:
        raise RuntimeError(
            f"{folder} is being written by {owner(folder) or 'another process'}; wait "
            "until it ends, or stop it"
        ) from None
    except NotImplementedError:
        raise RuntimeError(
            f"the file system of {folder} has no locks (flock), so that two writers "
            "could spoil it; let VICROP_RESULTS name a folder on one that has"
        ) from None
    try:
        left = owner(folder)
        jsonl.replace_json(folder / OWNER, _myself())
        yield left
        (folder / OWNER).unlink(missing_ok=True)
    finally:
        lock.release()


def owner(folder: Path) -> str | None:
    """Who holds a folder, or held it last and did not let it go."""
    try:
        said = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f"process {said['process']} on {said['host']}, since {said['since']}"
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return "an unknown process"


def _myself() -> dict[str, str | int]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": since}
