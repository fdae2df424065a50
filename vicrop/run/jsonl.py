"""Lines of JSON on disk: sealed with a checksum, appended, seen onto the disk."""

import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SEAL = re.compile(r',"crc":"([0-9a-f]{8})"\}$')


def seal(line: str) -> str:
    """A JSON object's text as one line that tells when it was changed.

    Its CRC-32 stands last, under the key ``crc``; newline included.
    """
    return f'{line[:-1]},"crc":"{_crc(line)}"}}\n'


def unseal(line: str) -> str:
    """What ``seal`` was given; a line without a checksum as it is.

    Raises:
        ValueError: if the checksum is another's.
    """
    line = line.rstrip("\n")
    found = SEAL.search(line)
    if found is None:
        return line
    bare = line[: found.start()] + "}"
    if found[1] != _crc(bare):
        raise ValueError("its checksum is another's: it was changed after it was made")
    return bare


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def split(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers; none if there is no file."""
    if not file.exists():
        return
    # Bytes that are no UTF-8 are for the checksum to find.
    with file.open(encoding="utf-8", errors="replace") as lines:
        yield from enumerate(lines, start=1)


def cut_torn(file: Path) -> int:
    """Cut off what follows the last newline; how many bytes that were."""
    if not file.exists():
        return 0
    with file.open("rb+") as torn:
        text = torn.read()
        whole = text.rfind(b"\n") + 1
        torn.truncate(whole)
    return len(text) - whole


def replace(file: Path, lines: Iterable[str]) -> None:
    """Write a file anew; a crash leaves the old one whole."""
    part = file.with_name(file.name + ".part")
    with part.open("w", encoding="utf-8") as new:
        new.writelines(lines)
        new.flush()
        os.fsync(new.fileno())
    os.replace(part, file)


def replace_json(file: Path, value: Any) -> None:
    """Write a JSON file anew; a crash leaves the old one whole."""
    replace(file, [json.dumps(value, indent=1, sort_keys=True)])


class Appender:
    """Appends whole lines to a file.

    A line reaches the system at once, so that it outlives the process; the disk every
    few seconds, so that at most that much is lost with the machine.

    Attributes:
        seconds: between two syncs, when a line comes.
    """

    def __init__(self, file: Path, seconds: float = 5.0):
        self.seconds = seconds
        self._opened = file.open("ab", buffering=0)
        self._synced = time.monotonic()

    def append(self, line: str) -> None:
        """Add a line, whole or not at all.

        Raises:
            OSError: if it could not be written; the file is then as it was.
        """
        end = self._opened.seek(0, os.SEEK_END)
        try:
            rest = line.encode()
            while rest:  # a disk that gets full takes a part
                rest = rest[self._opened.write(rest) :]
        except OSError:
            self._opened.truncate(end)
            raise
        if time.monotonic() - self._synced >= self.seconds:
            self.sync()

    def sync(self) -> None:
        """See what was appended onto the disk."""
        os.fsync(self._opened.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close."""
        if not self._opened.closed:
            self.sync()
            self._opened.close()
