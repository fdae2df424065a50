"""Some files out of a large zip at a server, without the rest of it.

POPE asks about 500 pictures of a zip of 6 GB that has 40,504.
"""

import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from fsspec.spec import AbstractBufferedFile
from huggingface_hub import constants
from huggingface_hub.utils import hf_raise_for_status, http_backoff, http_stream_backoff
from tqdm import tqdm

from data_prep.download.url import (
    PLAIN,
    Goal,
    Unreachable,
    alone,
    check_room,
    one_line,
)
from vicrop.run.folder import Refused

# Most pictures come with one request, their header included.
BLOCK = 1 << 18


def download(url: str, names: Sequence[str], folder: Path) -> None:
    """Download members of a zip that are not here yet; each is whole or not there.

    Args:
        url: address of the zip, at a server that sends ranges.
        names: paths of the members in it.
        folder: under which they get the same paths.

    Raises:
        ValueError: for a name that would leave the folder, or is not in the zip.
        Refused: no network, no room, no ranges, a torn zip or member; members
            that were downloaded so far are kept.
    """
    wanted = [Goal(name, url, folder) for name in dict.fromkeys(names)]
    missing = [file.name for file in wanted if not file.path.is_file()]
    if missing:
        with alone(folder):
            _download(Goal(url.rpartition("/")[2], url, folder), missing)


def _download(goal: Goal, names: list[str]) -> None:
    try:
        with _Ranges(goal) as raw, zipfile.ZipFile(raw) as archive:
            infos = _infos(archive, names, goal)
            needed = sum(info.file_size for info in infos)
            check_room(goal.name, needed, goal.folder)
            for info in tqdm(infos, goal.name, disable=None):
                _extract(archive, info, goal)
    except Unreachable as error:
        raise Refused(
            f"{error}; put the {len(names)} files ({names[0]}, …) into {goal.folder} "
            "by hand, or go online, and run again"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Refused(
            f"{goal.url} is not a whole zip ({error}); run again, and if it stays so, "
            f"put the files into {goal.folder} by hand"
        ) from error


def _infos(
    archive: zipfile.ZipFile, names: list[str], goal: Goal
) -> list[zipfile.ZipInfo]:
    """What the zip says of some members, in the order in which they lie in it."""
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
    file.make_parent()
    file.part.unlink(missing_ok=True)  # it may be a link
    try:
        with one_line(file, info.file_size):
            with archive.open(info) as source, file.part.open("wb") as part:
                shutil.copyfileobj(source, part, BLOCK)
        os.replace(file.part, file.path)
    finally:
        file.part.unlink(missing_ok=True)


class _Ranges(AbstractBufferedFile):
    """A file at a server, read where it is asked for."""

    def __init__(self, goal: Goal):
        self.goal = goal
        super().__init__(None, goal.url, block_size=BLOCK, size=self._size())

    def _size(self) -> int:
        # A server without ranges sends all of it: so the head is looked at, first.
        ask = http_stream_backoff(
            "GET", self.goal.url, **_options(0, 1), retry_on_exceptions=()
        )
        with one_line(self.goal, begun=False), ask as reply:
            hf_raise_for_status(reply)
            total = reply.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdigit():
            raise Refused(self._unsuited())
        return int(total)

    def _fetch_range(self, start: int, end: int) -> bytes:
        with one_line(self.goal, begun=False):
            reply = http_backoff("GET", self.goal.url, **_options(start, end))
            hf_raise_for_status(reply)
        if len(reply.content) != end - start:
            raise Refused(self._unsuited())
        return reply.content

    def _unsuited(self) -> str:
        return f"{self.goal.url} cannot be read in parts; fetch the whole file instead"


def _options(start: int, end: int) -> dict:
    headers = PLAIN | {"Range": f"bytes={start}-{end - 1}"}
    return {"headers": headers, "timeout": constants.HF_HUB_DOWNLOAD_TIMEOUT}
