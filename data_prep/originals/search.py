"""The original files of a data set, found by name in folders and archives."""

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from functools import cached_property
from itertools import combinations
from pathlib import Path, PurePosixPath

from data_prep.originals.archives import Tar, Zip
from data_prep.originals.files import Entry, Folder

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


class Originals:
    """All files of some folders and of the archives in them, found by name.

    Args:
        folders: what the user has; annotations and images may lie in different ones.

    Raises:
        ValueError: for a folder that is given twice, or lies in another.
        FileNotFoundError: for one that is not there.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = [Path(folder) for folder in folders]
        self._read: dict[str, Entry] = {}
        self._found: dict[str, Entry | None] = {}
        for folder in self.folders:
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"no folder {folder}; give the one that holds the original files"
                )
        for first, second in combinations(self.folders, 2):
            one, two = first.resolve(), second.resolve()
            if one.is_relative_to(two) or two.is_relative_to(one):
                raise ValueError(
                    f"source {second} is given twice, or lies in another ({one}); give "
                    "each folder once"
                )

    @cached_property
    def _plain(self) -> list[Entry]:
        entries = (e for folder in self.folders for e in Folder(folder).entries())
        return [entry for entry in entries if not entry.hidden]

    @cached_property
    def _packed(self) -> list[Entry]:
        """Of the archives; a tar is read to its end for that, so only if asked for."""
        found: list[Entry] = []
        for entry in self._plain:
            if entry.name.lower().endswith(ARCHIVES):
                kind = Zip if entry.name.lower().endswith(".zip") else Tar
                found += kind(Path(str(entry.key))).entries()
        return [entry for entry in found if not entry.hidden]

    @cached_property
    def _plain_by_base(self) -> dict[str, list[Entry]]:
        return _by_base(self._plain)

    @cached_property
    def _packed_by_base(self) -> dict[str, list[Entry]]:
        return _by_base(self._packed)

    def find(self, name: str) -> Entry | None:
        """The file that ends in this path, or else in its last part.

        Plain files come before members of archives.

        Args:
            name: such as ``train_images/003a8ae2ef43b901.jpg``.

        Raises:
            ValueError: if several files of different contents fit equally well.
        """
        if name not in self._found:
            base = PurePosixPath(name).name
            found = self._plain_by_base.get(base) or self._packed_by_base.get(base)
            self._found[name] = _best(found, name) if found else None
        return self._found[name]

    def need(self, pattern: str) -> Entry:
        """The one file that fits a pattern, remembered as read.

        Raises:
            FileNotFoundError: if none does.
            ValueError: if several of different contents do.
        """
        return self.remember(_same(self._fitting(pattern)))

    def need_all(self, pattern: str) -> list[Entry]:
        """All files that fit a pattern, by name, remembered as read.

        Raises:
            FileNotFoundError: if none does.
        """
        return [self.remember(entry) for entry in self._fitting(pattern)]

    def remember(self, entry: Entry) -> Entry:
        """The entry, which ``read_files`` tells from now on."""
        return self._read.setdefault(entry.where, entry)

    def _fitting(self, pattern: str) -> list[Entry]:
        found = self.matching(pattern)
        if not found:
            raise FileNotFoundError(f"no {pattern} in {self}; is it the right folder?")
        return found

    def read_files(self) -> list[dict[str, str]]:
        """Name and SHA-256 of the files that were remembered."""
        told = sorted((e.name, e.digest()) for e in self._read.values())
        return [{"name": name, "sha256": digest} for name, digest in told]

    def matching(self, pattern: str) -> list[Entry]:
        """All files whose path, or the last part of it, fits a pattern; by name.

        Members of archives count only where no plain file fits.
        """
        found = [e for e in self._plain if _fits(e.name, pattern)]
        # Not both at once: to know what is in an archive it may have to be unpacked.
        found = found or [e for e in self._packed if _fits(e.name, pattern)]
        return _once(sorted(found, key=lambda entry: entry.name))

    def __str__(self) -> str:
        return ", ".join(map(str, self.folders))


def _fits(name: str, pattern: str) -> bool:
    """Whether the end of a path, of as many parts as the pattern has, fits it."""
    parts = name.split("/")[-pattern.count("/") - 1 :]
    return fnmatch("/".join(parts), pattern)


def _by_base(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.name.rpartition("/")[2], []).append(entry)
    return found


def _best(entries: list[Entry], name: str) -> Entry:
    """The entry that shares most of the path's end."""
    wanted = name.split("/")[::-1]

    def shared(entry: Entry) -> int:
        parts = entry.name.split("/")[::-1]
        return len(os.path.commonprefix([parts, wanted]))

    most = max(map(shared, entries))
    return _same([entry for entry in entries if shared(entry) == most])


def _same(entries: list[Entry]) -> Entry:
    """The first of some entries, which must be copies of one file.

    Raises:
        ValueError: naming two that differ.
    """
    first = entries[0]
    for other in entries[1:]:
        if other.digest() != first.digest():
            raise ValueError(
                f"{first.where} and {other.where} are different files, and one is "
                "wanted; keep the one that is meant"
            )
    return first


def _once(entries: list[Entry]) -> list[Entry]:
    """Without those that are reached twice, by a link."""
    names = {PurePosixPath(entry.name).name for entry in entries}
    found: dict[object, Entry] = {}
    for entry in entries:
        plain = isinstance(entry.key, Path)
        found.setdefault(_real(entry.key, names) if plain else entry, entry)
    return list(found.values())


def _real(path: Path, names: set[str]) -> tuple[Path, str]:
    """The file that a path leads to, and the name that it goes by.

    The hub's cache keeps files of equal contents once, and links all their names to
    it: those are not one file reached twice.
    """
    real = path.resolve()
    return real, real.name if real.name in names else path.name
