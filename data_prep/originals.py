"""The original files of a data set, found by name in folders and archives."""

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path, PurePosixPath

from data_prep.containers import Entry, Folder, Tar, Zip

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
        real = [folder.resolve() for folder in self.folders]
        for number, folder in enumerate(real):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"no folder {self.folders[number]}; give the one that holds the "
                    "original files"
                )
            for other in real[:number]:
                if folder.is_relative_to(other) or other.is_relative_to(folder):
                    raise ValueError(
                        f"source {self.folders[number]} is given twice, or lies in "
                        f"another ({other}); give each folder once"
                    )

    @cached_property
    def _plain(self) -> list[Entry]:
        return [e for folder in self.folders for e in Folder(folder).entries()]

    @cached_property
    def _packed(self) -> list[Entry]:
        """Of the archives; a tar is read to its end for that, so only if asked for."""
        found: list[Entry] = []
        for entry in self._plain:
            if entry.name.lower().endswith(ARCHIVES):
                kind = Zip if entry.name.lower().endswith(".zip") else Tar
                found += kind(Path(str(entry.key))).entries()
        return found

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
        base = PurePosixPath(name).name
        for index in (self._plain_by_base, self._packed_by_base):
            if base in index:
                return _best(index[base], name)
        return None

    def need(self, pattern: str) -> Entry:
        """The one file that fits a pattern, remembered as read.

        Raises:
            ValueError: if none does, or several of different contents.
        """
        found = self.need_all(pattern)
        return _best(found, found[0].name)

    def need_all(self, pattern: str) -> list[Entry]:
        """All files that fit a pattern, by name, remembered as read.

        Raises:
            FileNotFoundError: if none does.
        """
        found = self.matching(pattern)
        if not found:
            raise FileNotFoundError(f"no {pattern} in {self}")
        self._read |= {entry.where: entry for entry in found}
        return found

    def read_files(self) -> list[dict[str, str]]:
        """Name and SHA-256 of the files that ``need`` gave."""
        return [
            {"name": entry.name, "sha256": entry.digest()}
            for _, entry in sorted(self._read.items())
        ]

    def matching(self, pattern: str) -> list[Entry]:
        """All files whose path, or the last part of it, fits a pattern; by name.

        Members of archives count only where no plain file fits.
        """
        for entries in (self._plain, self._packed):
            found = [e for e in entries if _fits(e.name, pattern)]
            if found:
                return sorted(found, key=lambda entry: entry.name)
        return []

    def __str__(self) -> str:
        return ", ".join(map(str, self.folders))


def _fits(name: str, pattern: str) -> bool:
    base = PurePosixPath(name).name
    return (
        fnmatch(name, pattern)
        or fnmatch(name, f"*/{pattern}")
        or ("/" not in pattern and fnmatch(base, pattern))
    )


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
    best = [entry for entry in entries if shared(entry) == most]
    if len(best) > 1 and len({entry.bytes() for entry in best}) > 1:
        raise ValueError(
            f"{best[0].where} and {best[1].where} are different files of one name; "
            "keep the one that is meant"
        )
    return best[0]
