"""Fetch the original files of a data set, and say beforehand what that will be.

What is fetched, and what is made of it, is said by the modules of the data sets.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.utils import filter_repo_objects

from data_prep import transfer
from data_prep.transfer import Goal, Unreachable, readable, size_of


@dataclass(frozen=True)
class Remote:
    """A file of the original release, and where it is published.

    Args:
        url: http or https address.
        gigabytes: about how many; None: unknown.
        sha256: its sum in hexadecimal, where known.
        to: name under the download folder; "" takes the last part of the url.

    Raises:
        ValueError: for a name that would leave the folder.
    """

    url: str
    gigabytes: float | None = None
    sha256: str | None = None
    to: str = ""

    def __post_init__(self):
        check_name(self.name, self.url)

    @property
    def name(self) -> str:
        """Path of the file under the download folder."""
        return self.to or unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True)
class Hub:
    """Files of a data set repository on the hub; they keep their paths in it.

    Args:
        repo: owner and name, ``"lmms-lab/textvqa"``.
        patterns: which files, ``("data/validation-*.parquet",)``.
        revision: branch, tag or commit; None: the default branch.
        gigabytes: about how many; None: unknown.
    """

    repo: str
    patterns: tuple[str, ...]
    revision: str | None = None
    gigabytes: float | None = None

    @property
    def name(self) -> str:
        """What it goes by in a table."""
        return self.repo

    @property
    def url(self) -> str:
        """Where a reader finds it."""
        return f"{constants.ENDPOINT}/datasets/{self.repo}"

    @property
    def key(self) -> str:
        """Under which it is remembered."""
        return f"hub:{self.repo}@{self.revision or ''}:{' '.join(self.patterns)}"


class Row(NamedTuple):
    """A line of the table that is shown before anything is fetched."""

    name: str
    source: str
    gigabytes: float | None
    state: str


def plan(files: Sequence[Remote | Hub], folder: Path) -> list[Row]:
    """What is here and what is still to be fetched; asks no network.

    Args:
        files: what the data set needs.
        folder: where it is downloaded to; need not exist.

    Returns:
        A row for each, with the state "here", "part: 12 MB" or "to fetch".
    """
    folder = Path(folder)
    return [
        Row(file.name, file.url, file.gigabytes, _state(file, folder)) for file in files
    ]


def fetch(
    files: Sequence[Remote | Hub], folder: Path, progress: bool = True
) -> dict[str, str]:
    """Fetch what is not here yet; a file has its name only once it is whole.

    Args:
        files: what the data set needs.
        folder: where it is downloaded to; made if need be.
        progress: whether to show bars.

    Returns:
        By name, where it is from: "url sha256:…", or the commit of a repository.

    Raises:
        ValueError: for two files of one name.
        RuntimeError: no network, no room, refused by the server, torn, or another
            sum than the published one; what was fetched so far is kept.
    """
    folder = Path(folder)
    _check_names(files)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        needed = sum(_left(file, folder) for file in files)
        transfer.check_room(", ".join(f.name for f in files), needed, folder)
        try:
            return {file.name: _obtain(file, folder, progress) for file in files}
        except Unreachable as error:
            raise RuntimeError(f"{error}; {_by_hand(files, folder)}") from error


def check_name(name: str, source: str) -> None:
    """Refuse a file name that would leave the folder, or is taken."""
    parts = name.split("/")
    leaves = {"", ".", ".."} & set(parts) or set("\\:\0") & set(name)
    if leaves or name == transfer.NOTES or name.endswith((".part", ".bad")):
        raise ValueError(
            f"{source}: file name {name!r} is not a path inside the download folder; "
            "give another in `to`"
        )


def _check_names(files: Sequence[Remote | Hub]) -> None:
    twice = [name for name, n in Counter(f.name for f in files).items() if n > 1]
    if twice:
        raise ValueError(
            f"file name {twice[0]!r} is asked for twice; give one of them another"
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others out: two that add to one file would tear it."""
    try:
        with FileLock(folder / ".fetch.lock", timeout=0):
            yield
    except Timeout as error:
        raise RuntimeError(
            f"another process is fetching into {folder}; wait until it is done"
        ) from error


def _by_hand(files: Sequence[Remote | Hub], folder: Path) -> str:
    names: list[str] = []
    for file in files:
        if _state(file, folder) != "here":
            names += file.patterns if isinstance(file, Hub) else [file.name]
    return f"put {', '.join(names)} into {folder} by hand, or go online, and run again"


def _present(file: Remote | Hub, folder: Path) -> tuple[bool, int]:
    """Whether all of it is here, and how many bytes are."""
    if isinstance(file, Remote):
        goal = Goal(file.name, file.url, folder)
        return goal.path.is_file(), size_of(goal.part)
    sizes = transfer.notes(folder).get(file.key, {}).get("files", {})
    whole = all(size_of(folder / name) == size for name, size in sizes.items())
    found = _matching(file.patterns, _inside(folder))
    here = sum(size_of(folder / name) for name in found)
    return bool(sizes) and whole, here


def _inside(folder: Path) -> list[str]:
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return [name for name in names if not name.startswith(".cache/")]


def _matching(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    return list(filter_repo_objects(names, allow_patterns=list(patterns)))


def _state(file: Remote | Hub, folder: Path) -> str:
    whole, size = _present(file, folder)
    return "here" if whole else f"part: {readable(size)}" if size else "to fetch"


def _left(file: Remote | Hub, folder: Path) -> float:
    """Bytes that are known to be missing."""
    whole, size = _present(file, folder)
    return 0 if whole else max(0, (file.gigabytes or 0) * 1e9 - size)


def _obtain(file: Remote | Hub, folder: Path, progress: bool) -> str:
    if isinstance(file, Remote):
        goal = Goal(file.name, file.url, folder, file.sha256)
        return transfer.obtain(goal, progress)
    if _present(file, folder)[0]:
        return transfer.notes(folder)[file.key]["commit"]
    try:
        return _obtain_hub(file, folder, progress)
    except Unreachable:
        names = _inside(folder)
        if not all(_matching((pattern,), names) for pattern in file.patterns):
            raise
        return "put by hand"  # which commit, and whether all, is not to be known


def _obtain_hub(hub: Hub, folder: Path, progress: bool) -> str:
    goal = Goal(hub.name, hub.url, folder)
    commit, sizes = _listing(hub, goal)
    missing = sum(size - size_of(folder / name) for name, size in sizes.items())
    transfer.check_room(hub.name, missing, folder)
    with transfer.one_line(goal, missing):
        snapshot_download(
            hub.repo,
            repo_type="dataset",
            revision=commit,
            allow_patterns=list(hub.patterns),
            local_dir=folder,
            tqdm_class=None if progress else transfer.Silent,
        )
    _check_sizes(sizes, goal)
    transfer.remember(folder, hub.key, {"commit": commit, "files": sizes})
    return commit


def _listing(hub: Hub, goal: Goal) -> tuple[str, dict[str, int]]:
    """The commit of a revision, and the sizes of the files that are wanted."""
    with transfer.asking(goal):
        info = HfApi().repo_info(
            hub.repo, repo_type="dataset", revision=hub.revision, files_metadata=True
        )
    sizes = {file.rfilename: file.size for file in info.siblings}
    wanted = _matching(hub.patterns, sizes)
    for name in wanted:
        check_name(name, hub.url)
    if not wanted:
        raise RuntimeError(
            f"{hub.url} has no file like {', '.join(hub.patterns)} at {info.sha}; see "
            "whether it was changed, and name a revision that has it"
        )
    return info.sha, {name: sizes[name] for name in wanted}


def _check_sizes(sizes: dict[str, int], goal: Goal) -> None:
    """The library takes a folder as it is if the network goes away meanwhile."""
    for name, size in sizes.items():
        found = size_of(goal.folder / name)
        if found != size:
            raise RuntimeError(
                f"{goal.name}: {name} has {found} bytes, {size} expected; run again, "
                "and it goes on from there"
            )
