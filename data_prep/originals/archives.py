"""Files in zip and tar archives, read in place.

Nothing is unpacked, so no archive can write anywhere; links in them are not followed,
and what unpacks to more than it may is refused before it is.
"""

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from data_prep.originals.files import Entry

MAX_MEMBER = 1 << 30
"""Bytes of one unpacked file; VQAv2's annotations are the largest, a fifth of it."""

MAX_RATIO = 100
"""Unpacked over packed, above a size; JSON that repeats itself reaches some 30."""

SMALL = 64 << 20
"""Bytes under which any ratio is harmless."""

CHUNK = 1 << 20
"""Bytes that are unpacked at a time: what a header says of them may be a lie."""

FAULTS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,  # packed in a way, or with a password, that is not known
)
"""What a torn archive raises, by where it is torn."""


class Refused(ValueError):
    """An archive that is whole, and still not read."""


class Zip:
    """Members of a zip file; keys are their numbers, as a name may be there twice."""

    def __init__(self, path: Path):
        self.path = path

    def entries(self) -> Iterator[Entry]:
        """Its plain files."""
        with torn(self.path), zipfile.ZipFile(self.path) as archive:
            for number, info in enumerate(archive.infolist()):
                if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16):
                    yield Entry(self, number, info.filename.replace("\\", "/"))

    def read(self, keys: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """See ``Container``."""
        with torn(self.path), zipfile.ZipFile(self.path) as archive:
            infos = archive.infolist()
            for number in keys:
                yield number, self._unpacked(archive, infos[number])

    def _unpacked(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        where = f"{self.path}!{info.filename}"
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # zipfile unpacks a block of these at once, however large it becomes.
            raise Refused(f"{where} is packed by another method than deflate")
        check_bomb(where, info.file_size, info.compress_size)
        check_member(where, info.file_size)
        with archive.open(info) as file:
            return _drained(file)


class Tar:
    """Plain members of a tar file, gzipped or not; keys are their numbers.

    It is read from front to back, once for the names and once for the contents.
    """

    def __init__(self, path: Path):
        self.path = path

    def entries(self) -> Iterator[Entry]:
        """Its plain files."""
        for _, number, info in self._members():
            yield Entry(self, number, info.name)

    def read(self, keys: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """See ``Container``."""
        wanted = set(keys)
        for archive, number, info in self._members():
            if number in wanted:
                check_member(f"{self.path}!{info.name}", info.size)
                with torn(self.path):
                    file = archive.extractfile(info)
                    assert file is not None  # a plain file
                    data = _drained(file)
                yield number, data
                wanted.discard(number)
            if not wanted:
                return

    def _members(self) -> Iterator[tuple[tarfile.TarFile, int, tarfile.TarInfo]]:
        with torn(self.path), _plain(self.path) as plain:
            file = _Counted(plain, self.path)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for number, info in enumerate(archive):
                    if info.isreg():
                        yield archive, number, info
            file.check_end()


def _plain(path: Path) -> BinaryIO:
    """The file, unpacked if it is gzipped."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


class _Counted:
    """What ``tarfile`` reads from: refuses to unpack too much, or too much at once.

    A name or an extended header is read in one go, whatever size it claims.
    """

    def __init__(self, file: BinaryIO, path: Path):
        self.file, self.path = file, path
        self.packed = path.stat().st_size
        self.at, self.last = 0, b""

    def tell(self) -> int:
        return self.at

    def seek(self, at: int) -> None:
        self.at = at

    def read(self, size: int) -> bytes:
        check_bomb(str(self.path), self.at + size, self.packed)
        if not 0 <= size <= CHUNK:
            raise Refused(f"{self.path} has a header of {size} bytes; that is no name")
        back = self.file.tell() - self.at
        if 0 < back <= min(size, len(self.last)):
            # As tarfile steps before each header; to seek would unpack all again.
            kept = self.last[-back:]
        else:
            kept = b""
            self.file.seek(self.at)
        self.last = kept + self.file.read(size - len(kept))
        self.at += len(self.last)
        return self.last

    def check_end(self) -> None:
        """A tar ends in zeros; what ``tarfile`` takes for its end may be a tear."""
        if len(self.last) != tarfile.BLOCKSIZE or any(self.last):
            raise tarfile.ReadError(f"it breaks off at byte {self.at}")
        while self.read(CHUNK):  # to gzip's checksum
            pass


def _drained(file: Any) -> bytes:
    return b"".join(iter(lambda: file.read(CHUNK), b""))


@contextmanager
def torn(path: Path) -> Iterator[None]:
    """One line for an archive that is cut off or is none."""
    try:
        yield
    except Refused:
        raise
    except FAULTS as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} is not a whole archive ({reason}); a torn download? fetch it again"
        ) from error


def check_bomb(where: str, size: int, packed: int) -> None:
    """Refuse what unpacks to far more than it should; ``where`` is for the error."""
    if size > SMALL and size > MAX_RATIO * packed:
        raise Refused(
            f"{where} unpacks to {size / 1e6:.0f} MB or more from {packed / 1e6:.1f} "
            f"MB; over {MAX_RATIO} times is taken for a zip bomb: fetch it again"
        )


def check_member(where: str, size: int) -> None:
    """Refuse a file that is larger, unpacked, than any of a data set."""
    if size > MAX_MEMBER:
        raise Refused(
            f"{where} unpacks to {size / 1e9:.1f} GB, more than {MAX_MEMBER / 1e9:.1f} "
            "GB; that is no file of this data set"
        )
