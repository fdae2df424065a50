"""One file from one address: resumed where torn, whole or not there, never half.

The hub's own downloader does the transfer, as it resumes; what is kept and told is
ours. A note of each file's sum lies beside them, so that gigabytes are hashed once.
"""

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import get_session

from data_prep.originals.files import leads_out
from vicrop.run.folder import Refused

NOTES = "downloads.json"
# A packed answer has no length to check, and cannot be resumed.
PLAIN = {"Accept-Encoding": "identity"}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Unreachable(Refused):
    """There is no way to a host; says which one and why."""


@dataclass(frozen=True)
class Goal:
    """What is to be had: a file, or the files of a repository.

    ``name`` is its path under ``folder``; ``sha256`` is hexadecimal, where known.

    Raises:
        ValueError: for a name that would leave the folder, or is taken.
    """

    name: str
    url: str
    folder: Path
    sha256: str | None = None

    def __post_init__(self):
        taken = self.name == NOTES or self.name.endswith((".part", ".bad"))
        if leads_out(self.name) or taken:
            raise ValueError(
                f"{self.url}: file name {self.name!r} is not a path inside the "
                "download folder; see whether its address has changed"
            )

    @property
    def path(self) -> Path:
        """Where the file lies once it is whole."""
        return self.folder / self.name

    @property
    def part(self) -> Path:
        """Where it lies until then."""
        return self.folder / f"{self.name}.part"

    def make_parent(self) -> None:
        """Make the file's folder, unless a link leads out of the folder of all."""
        parent = self.path.parent
        if not parent.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{parent} leads out of {self.folder}; remove the link")
        parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others out of a folder: two that add to one file would tear it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".fetch.lock", timeout=0):
            yield
    except Timeout as error:
        raise Refused(
            f"another process is fetching into {folder}; wait until it is done"
        ) from error


def download(goal: Goal) -> str:
    """Download a file, or what is missing of it, unless it is here.

    Returns:
        "url sha256:…", or "put by hand sha256:…".

    Raises:
        Unreachable: if there is no network.
        Refused: no room, refused, torn, or another sum than the expected one.
        ValueError: if a link leads out of the folder.
    """
    goal.make_parent()
    if goal.path.is_file():
        return _known(goal)
    remote = _ask(goal)
    size = remote["size"]
    _begin(goal, remote)
    check_room(goal.name, (size or 0) - size_of(goal.part), goal.folder)
    with one_line(goal, size), _Part(goal.part) as part:
        http_get(
            goal.url,
            part,
            resume_size=size_of(goal.part),
            headers=PLAIN,
            expected_size=size,
            displayed_filename=goal.name,
        )
    note = remote | {"sha256": check_sum(goal.part, goal), "stamp": _stamp(goal.part)}
    remember(goal.folder, goal.name, note)
    os.replace(goal.part, goal.path)
    return f"{goal.url} sha256:{note['sha256']}"


def _known(goal: Goal) -> str:
    """Hash a file that is here, unless it is the one that was hashed before."""
    note = notes(goal.folder).get(goal.name, {})
    expected = (goal.sha256 or note.get("sha256", "")).lower()
    if (note.get("stamp"), note.get("sha256")) != (_stamp(goal.path), expected):
        found = check_sum(goal.path, goal)
        url = note.get("url", goal.url) if found == expected else "put by hand"
        note = {"url": url, "sha256": found, "stamp": _stamp(goal.path)}
        remember(goal.folder, goal.name, note)
    return f"{note['url']} sha256:{note['sha256']}"


def check_sum(file: Path, goal: Goal) -> str:
    """SHA-256 of a file, which is set aside if another was expected."""
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if goal.sha256 and found != goal.sha256.lower():
        bad = goal.folder / f"{goal.name}.bad"
        os.replace(file, bad)
        raise Refused(
            f"{goal.name}: sha256 {goal.sha256.lower()} expected, {found} found; it "
            f"was set aside as {bad}: run again, and if it differs again, see what has "
            "changed where it is published"
        )
    return found


def notes(folder: Path) -> dict:
    """What is known of the files in a folder, by name."""
    try:
        known = json.loads((folder / NOTES).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}  # lost or torn: then files are hashed, and parts begun, anew
    kept = known.items() if isinstance(known, dict) else ()
    return {name: note for name, note in kept if isinstance(note, dict)}


def remember(folder: Path, name: str, note: dict) -> None:
    """Keep a note of one file."""
    part = folder / f"{NOTES}.part"
    text = json.dumps(notes(folder) | {name: note}, indent=1)
    part.write_text(text, encoding="utf-8")
    os.replace(part, folder / NOTES)


def _stamp(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]


def size_of(file: Path) -> int:
    """Bytes; 0 if it is not there."""
    return file.stat().st_size if file.is_file() else 0


def readable(size: float) -> str:
    """Bytes as "12 MB"."""
    power = sum(size >= limit for limit in (1e3, 1e6, 1e9))
    number = f"{size / 1000**power:,.1f}".removesuffix(".0")
    return f"{number} {('B', 'kB', 'MB', 'GB')[power]}"


def check_room(what: str, needed: float, folder: Path) -> None:
    """Refuse, before it begins, what cannot fit; ``needed`` in bytes."""
    if needed > shutil.disk_usage(folder).free:
        raise Refused(f"{what}: {_room(needed, folder)}")


def _room(needed: float | None, folder: Path) -> str:
    free = readable(shutil.disk_usage(folder).free)
    needs = "an unknown rest" if needed is None else readable(needed)
    return (
        f"{needs} needed, {free} free in {folder}; make room there and run again, what "
        "is here is kept"
    )


def _ask(goal: Goal) -> dict:
    """What the server says of a file: how long it is, and which version."""
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with one_line(goal, begun=False):
        reply = get_session().head(goal.url, headers=PLAIN, timeout=timeout)
    # Some servers do not know HEAD; then the download itself shows what is wrong.
    headers = reply.headers if reply.is_success else {}
    if "html" in headers.get("Content-Type", "") and "htm" not in goal.path.suffix:
        raise Refused(
            f"{goal.url} is a web page, not {goal.name}; open it in a browser, put the "
            f"file into {goal.folder} by hand and run again"
        )
    length = headers.get("Content-Length", "")
    size = int(length) if length.isdigit() and int(length) else None
    tag = headers.get("ETag") or headers.get("Last-Modified") or ""
    return {"url": goal.url, "size": size, "tag": tag}


def _begin(goal: Goal, remote: dict) -> None:
    """Drop a part of another version: with the new rest it would have its length."""
    note = notes(goal.folder).get(goal.name, {})
    same = all(note.get(key) == value for key, value in remote.items())
    too_long = remote["size"] and size_of(goal.part) > remote["size"]
    if goal.part.is_symlink() or not same or too_long:
        goal.part.unlink(missing_ok=True)
    remember(goal.folder, goal.name, remote)


class _Part(io.BufferedWriter):
    """A file that is added to, and that may be begun anew a few times only.

    http_get (huggingface_hub 2.4) never gives up on a server that always breaks off
    and cannot resume.
    """

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path, "ab"))
        self.restarts = 5

    def truncate(self, size: int | None = None) -> int:
        self.restarts -= 1
        if self.restarts < 0:
            raise OSError("it breaks off again and again, and cannot resume")
        return super().truncate(size)


@contextmanager
def one_line(goal: Goal, size: int | None = None, begun: bool = True) -> Iterator[None]:
    """Turn what ends a download into one line on what to do.

    Args:
        goal: what was to be had.
        size: its bytes, where known.
        begun: whether a host that falls silent broke off, and was not out of reach.
    """
    try:
        yield
    except Unreachable:
        raise
    # Order matters: the first and the second are kinds of the third, too.
    except HfHubHTTPError as error:
        status = HTTPStatus(error.response.status_code)
        if begun and status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            goal.part.unlink(missing_ok=True)
        raise Refused(
            f"{goal.url} answered {status} {status.phrase}; see in a browser whether "
            f"it moved or needs a login, put {goal.name} into {goal.folder} by hand "
            "and run again"
        ) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        if begun:
            raise Refused(_torn(goal, error)) from error
        offline = isinstance(error, OfflineModeIsEnabled)
        why = "HF_HUB_OFFLINE is set" if offline else _reason(error)
        host = urlsplit(goal.url).netloc
        line = f"no network: {host} cannot be reached ({why})"
        raise Unreachable(line) from error
    except (OSError, RuntimeError) as error:  # hf_xet raises RuntimeError, too
        number = getattr(error, "errno", None)
        if number is None:
            raise Refused(_torn(goal, error)) from error
        if number not in FULL:
            raise
        room = _room(size and size - size_of(goal.part), goal.folder)
        line = f"{goal.name} cannot be written ({error.strerror}): {room}"
        raise Refused(line) from error


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _torn(goal: Goal, error: Exception) -> str:
    return (
        f"{goal.name}: {urlsplit(goal.url).netloc} broke off, "
        f"{readable(size_of(goal.part))} are here ({_reason(error)}); run again, and "
        "it goes on from there"
    )
