"""What holds files: folders, archives, columns of tables; read in place.

Nothing is unpacked, so no archive can write anywhere; links in archives are not
followed, and a member that unpacks to more than it may is refused.
"""

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

MAX_MEMBER = 4 << 30
"""Bytes of one unpacked file; VQAv2's annotations are the largest, a tenth of it."""

MAX_RATIO = 250
"""Unpacked over packed, above a size; JSON that repeats itself reaches some 30."""

SMALL = 64 << 20
"""Bytes under which any ratio is harmless."""

FAULTS = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError)
"""What a torn archive raises, by where it is torn."""


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
        return str(self.key if path.is_dir() else f"{path}!{self.name}")

    def bytes(self) -> bytes:
        """Its contents."""
        return next(iter(self.container.read([self.key])))[1]

    def digest(self) -> str:
        """SHA-256 of its contents; a plain file is not taken into memory for it."""
        if not isinstance(self.key, Path):
            return hashlib.sha256(self.bytes()).hexdigest()
        with self.key.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class Folder:
    """Plain files."""

    def __init__(self, path: Path):
        self.path = path

    def entries(self) -> Iterator[Entry]:
        """All files under it, links to folders followed once."""
        seen: set[str] = set()
        for root, folders, files in os.walk(self.path, followlinks=True):
            seen.add(os.path.realpath(root))
            folders[:] = sorted(
                name
                for name in folders
                if name[0] != "."
                and os.path.realpath(os.path.join(root, name)) not in seen
            )
            for name in sorted(files):
                path = Path(root, name)
                yield Entry(self, path, path.relative_to(self.path).as_posix())

    def read(self, keys: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
        """See ``Container``."""
        for path in keys:
            try:
                yield path, path.read_bytes()
            except OSError as error:
                raise ValueError(
                    f"{path} cannot be read: {error.strerror}; mend it and run again"
                ) from error


class Zip:
    """Members of a zip file."""

    def __init__(self, path: Path):
        self.path = path

    def entries(self) -> Iterator[Entry]:
        """Its files."""
        with torn(self.path), zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield Entry(self, info.filename, info.filename)

    def read(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """See ``Container``."""
        with torn(self.path), zipfile.ZipFile(self.path) as archive:
            for name in keys:
                info = archive.getinfo(name)
                check_bomb(
                    f"{self.path}!{name}", info.file_size, max(info.compress_size, 1)
                )
                yield name, archive.read(info)


class Tar:
    """Members of a tar file, packed or not; read once from front to back."""

    def __init__(self, path: Path):
        self.path = path

    def _members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        packed, unpacked = max(self.path.stat().st_size, 1), 0
        with torn(self.path), tarfile.open(self.path, "r|*") as archive:
            for info in archive:
                unpacked += info.size
                check_bomb(f"{self.path}!{info.name}", unpacked, packed, whole=True)
                if info.isreg():
                    yield archive, info

    def entries(self) -> Iterator[Entry]:
        """Its plain files."""
        for _, info in self._members():
            yield Entry(self, info.name, info.name)

    def read(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """See ``Container``."""
        wanted = set(keys)
        for archive, info in self._members():
            if info.name in wanted:
                file = archive.extractfile(info)
                assert file is not None  # a plain file
                yield info.name, file.read()
                wanted.discard(info.name)
            if not wanted:
                return


@contextmanager
def torn(path: Path) -> Iterator[None]:
    """One line for an archive that is cut off or is none."""
    try:
        yield
    except FAULTS as error:
        raise ValueError(
            f"{path} is not a whole archive ({error}); a torn download? fetch it again"
        ) from error


def check_bomb(where: str, size: int, packed: int, whole: bool = False) -> None:
    """Refuse what unpacks to far more than it should.

    Args:
        where: for the error.
        size: bytes unpacked.
        packed: bytes packed.
        whole: whether that is of a whole archive, which may be large.
    """
    if size > SMALL and size > MAX_RATIO * packed:
        raise ValueError(
            f"{where} unpacks to {size / 1e6:.0f} MB, {size // packed} times what it "
            f"takes packed; more than {MAX_RATIO} times is taken for a zip bomb"
        )
    if size > MAX_MEMBER and not whole:
        raise ValueError(
            f"{where} unpacks to {size / 1e9:.1f} GB, more than {MAX_MEMBER / 1e9:.1f} "
            "GB; that is no file of this data set"
        )
