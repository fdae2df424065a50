"""One file from one address: resumed where torn, whole or not there, never half.

A note of each file's sum is kept beside them, so that gigabytes are hashed once.
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

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import get_session, tqdm

NOTES = "downloads.json"
# A packed answer has no length to check, and cannot be resumed.
PLAIN = {"Accept-Encoding": "identity"}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Unreachable(RuntimeError):
    """There is no way to a host; says which one and why."""


class Silent(tqdm):
    """A bar that is not shown."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options | {"disable": True})


@dataclass(frozen=True)
class Goal:
    """What is to be had: a file, or the files of a repository.

    ``name`` is its path under ``folder``; ``sha256`` is hexadecimal, where known.
    """

    name: str
    url: str
    folder: Path
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where the file lies once it is whole."""
        return self.folder / self.name

    @property
    def part(self) -> Path:
        """Where it lies until then."""
        return self.folder / f"{self.name}.part"


def obtain(goal: Goal, progress: bool = True) -> str:
    """Download a file, or what is missing of it, unless it is here.

    Returns:
        "url sha256:…", or "put by hand sha256:…".

    Raises:
        Unreachable: if there is no network.
        RuntimeError: no room, refused, torn, or another sum than the expected one.
        ValueError: if a link leads out of the folder.
    """
    make_parent(goal)
    if goal.path.is_file():
        return _known(goal, progress)
    remote = _ask(goal)
    _begin(goal, remote)
    check_room(goal.name, (remote["size"] or 0) - size_of(goal.part), goal.folder)
    _download(goal, remote["size"], progress)
    found = check_sum(goal.part, goal.sha256, progress)
    note = remote | {"sha256": found, "stamp": _stamp(goal.part)}
    remember(goal.folder, goal.name, note)
    os.replace(goal.part, goal.path)
    return f"{goal.url} sha256:{found}"


def make_parent(goal: Goal) -> None:
    """Make the folder of a file, unless a link leads out of the folder of all."""
    parent = goal.path.parent
    if not parent.resolve().is_relative_to(goal.folder.resolve()):
        raise ValueError(f"{parent} leads out of {goal.folder}; remove the link")
    parent.mkdir(parents=True, exist_ok=True)


def _known(goal: Goal, progress: bool) -> str:
    """Hash a file that is here, unless it is the one that was hashed before."""
    note = notes(goal.folder).get(goal.name, {})
    expected = (goal.sha256 or note.get("sha256", "")).lower()
    if (note.get("stamp"), note.get("sha256")) != (_stamp(goal.path), expected):
        found = check_sum(goal.path, goal.sha256, progress)
        known = found == expected
        url = note.get("url", goal.url) if known else "put by hand"
        note = {"url": url, "sha256": found, "stamp": _stamp(goal.path)}
        remember(goal.folder, goal.name, note)
    return f"{note['url']} sha256:{note['sha256']}"


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
        raise RuntimeError(f"{what}: {_room(needed, folder)}")


def _room(needed: float | None, folder: Path) -> str:
    free = readable(shutil.disk_usage(folder).free)
    needs = "an unknown rest" if needed is None else readable(needed)
    return (
        f"{needs} needed, {free} free in {folder}; make room there and run again, what "
        "is here is kept"
    )


def check_sum(file: Path, expected: str | None, progress: bool = True) -> str:
    """SHA-256 of a file, which is set aside if another was expected."""
    digest, shown = hashlib.sha256(), tqdm if progress else Silent
    scale = {"total": size_of(file), "unit": "B", "unit_scale": True, "disable": None}
    with file.open("rb") as raw, shown(desc=f"check {file.name}", **scale) as bar:
        while block := raw.read(1 << 22):
            digest.update(block)
            bar.update(len(block))
    found = digest.hexdigest()
    if expected and found != expected.lower():
        bad = file.with_name(f"{file.name.removesuffix('.part')}.bad")
        os.replace(file, bad)
        raise RuntimeError(
            f"{file.name.removesuffix('.part')}: sha256 {expected.lower()} expected, "
            f"{found} found; it was set aside as {bad}: run again, and if it differs "
            "again, see what has changed where it is published"
        )
    return found


def _ask(goal: Goal) -> dict:
    """What the server says of a file: how long it is, and which version."""
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with asking(goal):
        reply = get_session().head(goal.url, headers=PLAIN, timeout=timeout)
    # Some servers do not know HEAD; then the download itself shows what is wrong.
    headers = reply.headers if reply.is_success else {}
    if "html" in headers.get("Content-Type", "") and "htm" not in goal.path.suffix:
        raise RuntimeError(
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


def _download(goal: Goal, size: int | None, progress: bool) -> None:
    with one_line(goal, size), _Part(goal.part) as part:
        http_get(
            goal.url,
            part,
            resume_size=size_of(goal.part),
            headers=PLAIN,
            expected_size=size,
            displayed_filename=goal.name,
            tqdm_class=None if progress else Silent,
        )


@contextmanager
def asking(goal: Goal) -> Iterator[None]:
    """Tell, before anything is downloaded, no network from a refusal."""
    try:
        yield
    except HfHubHTTPError as error:
        raise RuntimeError(_refused(goal, error.response.status_code)) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise Unreachable(_no_way(goal.url, error)) from error


@contextmanager
def one_line(goal: Goal, size: int | None = None) -> Iterator[None]:
    """Turn what ends a download into one line on what to do; ``size`` in bytes."""
    try:
        yield
    except Unreachable:
        raise
    # Order matters: the first and the second are kinds of the third, too.
    except HfHubHTTPError as error:
        if error.response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            goal.part.unlink(missing_ok=True)
        raise RuntimeError(_refused(goal, error.response.status_code)) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise RuntimeError(_torn(goal, error)) from error
    except (OSError, RuntimeError) as error:  # hf_xet raises RuntimeError, too
        number = getattr(error, "errno", None)
        if number is None:
            raise RuntimeError(_torn(goal, error)) from error
        if number not in FULL:
            raise
        room = _room(size and size - size_of(goal.part), goal.folder)
        line = f"{goal.name} cannot be written ({error.strerror}): {room}"
        raise RuntimeError(line) from error


def _no_way(url: str, error: Exception) -> str:
    offline = isinstance(error, OfflineModeIsEnabled)
    why = "HF_HUB_OFFLINE is set" if offline else _reason(error)
    return f"no network: {urlsplit(url).netloc} cannot be reached ({why})"


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _refused(goal: Goal, status: int) -> str:
    phrase = HTTPStatus(status).phrase
    return (
        f"{goal.url} answered {status} {phrase}; see in a browser whether it moved or "
        f"needs a login, put {goal.name} into {goal.folder} by hand and run again"
    )


def _torn(goal: Goal, error: Exception) -> str:
    return (
        f"{goal.name}: {urlsplit(goal.url).netloc} broke off, "
        f"{readable(size_of(goal.part))} are here ({_reason(error)}); run again, and "
        "it goes on from there"
    )
