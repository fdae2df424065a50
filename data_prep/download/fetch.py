"""Fetch the original files of a data set, and say beforehand what that will be."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.dataset import DataSet, Hub, Remote
from data_prep.download import hub, url, zip_members
from data_prep.download.url import Goal, Unreachable, readable, size_of
from data_prep.originals.search import Originals
from vicrop.run import datasets
from vicrop.run.folder import Refused


class Row(NamedTuple):
    """A line of the table that is shown before anything is fetched."""

    name: str
    source: str
    gigabytes: float | None
    state: str


class Fetched(NamedTuple):
    """Folders with original files, and where each file is from."""

    folders: list[Path]
    origin: dict[str, str]


def plan(
    dataset: DataSet, root: Path, mirror: bool = False, limit: int = 0, seed: int = 0
) -> list[Row]:
    """What is here and what ``fetch`` would fetch; asks no network.

    Returns:
        A row for each file, with the state "here", "part: 12 MB" or "to fetch".
    """
    wanted, shown = _stores(dataset, root, mirror), dataset.pictures
    rows = [row for folder in wanted for row in plan_files(wanted[folder], folder)]
    if shown is not None and not mirror:
        name = f"{shown.name} (pictures asked about)"
        state = "to fetch"
        if all(row.state == "here" for row in rows):
            missing = len(_missing(dataset, shown, root, limit, seed))
            state = f"to fetch: {missing}" if missing else "here"
        rows.append(Row(name, shown.url, shown.gigabytes, state))
    return rows


def fetch(
    dataset: DataSet,
    root: Path,
    mirror: bool = False,
    limit: int = 0,
    seed: int = 0,
    agree: Callable[[list[Row]], None] = lambda rows: None,
) -> Fetched:
    """Fetch what is missing of a data set's original files.

    Args:
        dataset: which.
        root: folder of the original files, one folder a store in it.
        mirror: whether from the mirror.
        limit: pictures of so many questions; 0 for all.
        seed: of that subset.
        agree: called with the plan before anything is fetched; raises to stop.

    Raises:
        FileNotFoundError: for a data set that has to be put there by hand.
        Refused: no network, no room, or the server refuses.
    """
    wanted, shown = _stores(dataset, root, mirror), dataset.pictures
    if not wanted:
        return Fetched([_put_by_hand(dataset, root / dataset.key)], {})
    agree(plan(dataset, root, mirror, limit, seed))
    origin: dict[str, str] = {}
    for folder, files in wanted.items():
        origin |= fetch_files(files, folder)
    folders = list(wanted)
    if shown is not None and not mirror:
        # Only the pictures that the questions are about.
        folders.append(root / shown.store)
        missing = _missing(dataset, shown, root, limit, seed)
        zip_members.download(shown.url, missing, folders[-1])
        origin[shown.store] = shown.url
    return Fetched(folders, origin)


def _stores(
    dataset: DataSet, root: Path, mirror: bool = False
) -> dict[Path, list[Remote | Hub]]:
    """What is to be fetched into which folder."""
    if mirror and not dataset.mirror:
        raise ValueError(f"{dataset.key} has no mirror; leave --mirror out")
    found: dict[Path, list[Remote | Hub]] = {}
    for file in dataset.mirror if mirror else dataset.files:
        found.setdefault(root / file.store, []).append(file)
    return found


def _missing(
    dataset: DataSet, shown: Remote, root: Path, limit: int, seed: int
) -> list[str]:
    """Pictures asked about that are not here; their whole archive may be."""
    originals = Originals(list(_stores(dataset, root)))
    items = dataset.items(originals, seed)
    chosen = datasets.subset(len(items), limit, seed)
    names = list(dict.fromkeys(str(items[number].picture) for number in chosen))
    if not (root / shown.store).is_dir():
        return names
    here = Originals([root / shown.store])
    return [name for name in names if here.find(name) is None]


def _put_by_hand(dataset: DataSet, folder: Path) -> Path:
    if folder.is_dir():
        originals = Originals([folder])
        if any(layout.is_in(originals) for layout in dataset.layouts):
            return folder
    raise FileNotFoundError(
        f"{dataset.key} cannot be fetched: {dataset.by_hand}; put the files into "
        f"{folder} and run again, or name their folder with --source"
    )


def fetch_files(files: Sequence[Remote | Hub], folder: Path) -> dict[str, str]:
    """Fetch what is not here yet; a file has its name only once it is whole.

    Returns:
        By name, where it is from: "url sha256:…", or the commit of a repository.

    Raises:
        Refused: no network, no room, refused by the server, torn, or another
            sum than the published one; what was fetched so far is kept.
    """
    with url.alone(folder):
        needed = sum(_left(file, folder) for file in files)
        url.check_room(", ".join(f.name for f in files), needed, folder)
        try:
            return {file.name: _fetch(file, folder) for file in files}
        except Unreachable as error:
            raise Refused(f"{error}; {_by_hand(files, folder)}") from error


def _fetch(file: Remote | Hub, folder: Path) -> str:
    if isinstance(file, Hub):
        return hub.download(file, folder)
    return url.download(Goal(file.name, file.url, folder, file.sha256))


def plan_files(files: Sequence[Remote | Hub], folder: Path) -> list[Row]:
    """What of some files is here, and what is still to be fetched."""
    return [
        Row(file.name, file.url, file.gigabytes, _state(file, folder)) for file in files
    ]


def _present(file: Remote | Hub, folder: Path) -> tuple[bool, int]:
    """Whether all of it is here, and how many bytes are."""
    if isinstance(file, Hub):
        return hub.present(file, folder)
    goal = Goal(file.name, file.url, folder)
    return goal.path.is_file(), size_of(goal.part)


def _state(file: Remote | Hub, folder: Path) -> str:
    whole, size = _present(file, folder)
    return "here" if whole else f"part: {readable(size)}" if size else "to fetch"


def _left(file: Remote | Hub, folder: Path) -> float:
    """Bytes that are known to be missing."""
    whole, size = _present(file, folder)
    return 0 if whole else max(0, (file.gigabytes or 0) * 1e9 - size)


def _by_hand(files: Sequence[Remote | Hub], folder: Path) -> str:
    names: list[str] = []
    for file in files:
        if _state(file, folder) != "here":
            names += file.patterns if isinstance(file, Hub) else [file.name]
    return f"put {', '.join(names)} into {folder} by hand, or go online, and run again"
