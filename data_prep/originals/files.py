"""A file wherever it lies: in a folder (here), in an archive, in a cell of a table."""

import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol


class Container(Protocol):
    """Something that holds files: a folder, an archive, a column of a table."""

    path: Path

    def read(self, keys: Sequence) -> Iterator[tuple[Any, bytes]]:
        """Contents by key, in whatever order is the fastest."""


@dataclass(frozen=True)
class Entry:
    """One file, wherever it is.

    Attributes:
        container: what holds it.
        key: what the container calls it.
        name: its path, with forward slashes.
    """

    container: Container
    key: Any
    name: str

    @property
    def where(self) -> str:
        """How an error names it."""
        path = self.container.path
        return str(self.key if isinstance(self.key, Path) else f"{path}!{self.name}")

    def bytes(self) -> bytes:
        """Its contents."""
        return next(iter(self.container.read([self.key])))[1]

    def open(self) -> BinaryIO:
        """Its contents as a file; a plain one is not taken into memory."""
        if not isinstance(self.key, Path):
            return io.BytesIO(self.bytes())
        with readable(self.key):
            return self.key.open("rb")

    def digest(self) -> str:
        """SHA-256 of its contents."""
        with self.open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def hidden(self) -> bool:
        """Whether it is what a system keeps beside the files, and none of them."""
        return self.name.rpartition("/")[2][:1] == "." or "__MACOSX/" in self.name


class Folder:
    """Plain files."""

    def __init__(self, path: Path):
        self.path = path

    def entries(self) -> Iterator[Entry]:
        """All files under it; a folder that several links lead to counts once."""
        seen: set[str] = set()
        for root, folders, files in os.walk(
            self.path, onerror=_unreadable, followlinks=True
        ):
            folders[:] = sorted(name for name in folders if name[0] != ".")
            real = os.path.realpath(root)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            for name in sorted(files):
                path = Path(root, name)
                yield Entry(self, path, path.relative_to(self.path).as_posix())

    def read(self, keys: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
        """See ``Container``."""
        for path in keys:
            with readable(path):
                data = path.read_bytes()
            yield path, data


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """One line for a file that cannot be read; a pipe would be waited for."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path} is no plain file; remove it and run again")
        yield
    except OSError as error:
        _unreadable(error, path)


def _unreadable(error: OSError, path: Path | None = None) -> None:
    raise ValueError(
        f"{path or error.filename} cannot be read: {error.strerror}; mend it and run "
        "again"
    ) from error


def leads_out(name: str) -> bool:
    """Whether a name is no path that stays inside a folder, on any system."""
    return bool({"", ".", ".."} & set(name.split("/")) or set("\\:\0") & set(name))
