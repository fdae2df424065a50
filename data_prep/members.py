"""Some files out of a large archive, without the rest of it.

POPE asks about 500 pictures of a zip of 6 GB that has 40,504.
"""

import io
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import (
    hf_raise_for_status,
    http_backoff,
    http_stream_backoff,
    tqdm,
)

from data_prep import transfer
from data_prep.fetch import alone, check_name
from data_prep.transfer import Goal, Silent, Unreachable

# Most pictures come with one request, their header included.
BLOCK = 1 << 18


def fetch_members(
    url: str, names: Sequence[str], folder: Path, progress: bool = True
) -> list[Path]:
    """Fetch members of a zip that are not here yet; each is whole or not there.

    Args:
        url: address of the zip, at a server that sends ranges.
        names: paths of the members in it.
        folder: under which they get the same paths.
        progress: whether to show a bar.

    Returns:
        Where they lie, in the order of ``names``.

    Raises:
        ValueError: for a name that would leave the folder, or is not in the zip.
        RuntimeError: no network, no room, no ranges, a torn zip or member; members
            that were fetched so far are kept.
    """
    folder = Path(folder)
    for name in names:
        check_name(name, url)
    missing = [name for name in dict.fromkeys(names) if not (folder / name).is_file()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            _fetch(Goal(url.rpartition("/")[2], url, folder), missing, progress)
    return [folder / name for name in names]


def _fetch(goal: Goal, names: list[str], progress: bool) -> None:
    try:
        with io.BufferedReader(_Ranges(goal), BLOCK) as raw, zipfile.ZipFile(raw) as z:
            infos = _infos(z, names, goal)
            needed = sum(info.file_size for info in infos)
            transfer.check_room(goal.name, needed, goal.folder)
            shown = tqdm if progress else Silent
            for info in shown(infos, desc=goal.name, disable=None):
                _extract(z, info, goal)
    except Unreachable as error:
        raise RuntimeError(
            f"{error}; put the {len(names)} files ({names[0]}, …) into {goal.folder} "
            "by hand, or go online, and run again"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise RuntimeError(
            f"{goal.url} is not a whole zip ({error}); run again, and if it stays so, "
            f"put the files into {goal.folder} by hand"
        ) from error


def _infos(
    archive: zipfile.ZipFile, names: list[str], goal: Goal
) -> list[zipfile.ZipInfo]:
    """Members in the order in which they lie in the zip."""
    known = {info.filename: info for info in archive.infolist()}
    absent = [name for name in names if name not in known]
    if absent:
        raise ValueError(
            f"{goal.url} lacks {len(absent)} of {len(names)} files, {absent[0]!r} the "
            f"first; it has such as {next(iter(known), '')!r}: name them so"
        )
    return sorted((known[name] for name in names), key=lambda info: info.header_offset)


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, goal: Goal) -> None:
    """Write one member; zipfile compares its sum and stops at its stated size."""
    file = Goal(info.filename, goal.url, goal.folder)
    transfer.make_parent(file)
    file.part.unlink(missing_ok=True)  # it may be a link
    try:
        with transfer.one_line(file, info.file_size):
            with archive.open(info) as source, file.part.open("wb") as part:
                shutil.copyfileobj(source, part, BLOCK)
        os.replace(file.part, file.path)
    finally:
        file.part.unlink(missing_ok=True)


class _Ranges(io.RawIOBase):
    """A file at a server, read where it is asked for."""

    def __init__(self, goal: Goal):
        self.goal, self.at = goal, 0
        # A server without ranges sends all of it: so the head is looked at, first.
        ask = http_stream_backoff(
            "GET", goal.url, **_options(0, 1), retry_on_exceptions=()
        )
        with transfer.asking(goal), ask as reply:
            hf_raise_for_status(reply)
            total = reply.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdigit():
            raise RuntimeError(self._unsuited())
        self.size = int(total)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        self.at = max(0, start + offset)
        return self.at

    def readinto(self, buffer: bytearray) -> int:
        end = min(self.at + len(buffer), self.size)
        if end <= self.at:
            return 0
        found = self._read(self.at, end)
        buffer[: len(found)] = found
        self.at += len(found)
        return len(found)

    def _read(self, start: int, end: int) -> bytes:
        with transfer.asking(self.goal):
            reply = http_backoff("GET", self.goal.url, **_options(start, end))
            hf_raise_for_status(reply)
        if len(reply.content) != end - start:
            raise RuntimeError(self._unsuited())
        return reply.content

    def _unsuited(self) -> str:
        return f"{self.goal.url} cannot be read in parts; fetch the whole file instead"


def _options(start: int, end: int) -> dict:
    headers = transfer.PLAIN | {"Range": f"bytes={start}-{end - 1}"}
    return {"headers": headers, "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT}
