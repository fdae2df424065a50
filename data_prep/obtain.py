"""Where a data set's original files are, fetched if need be."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from data_prep import fetch
from data_prep.base import DataSet
from data_prep.build import read
from data_prep.fetch import Hub, Remote
from data_prep.members import fetch_members
from data_prep.originals import Originals
from vicrop.run import datasets

Stores = Mapping[str, tuple[Remote | Hub, ...]]


class Obtained(NamedTuple):
    """Folders with original files, and where each file is from."""

    folders: list[Path]
    origin: dict[str, str]


def stores(dataset: DataSet, mirror: bool) -> Stores:
    """What is fetched for a data set, by folder.

    Raises:
        ValueError: for a mirror that it does not have.
    """
    if not mirror:
        return dataset.files
    if not dataset.mirror:
        raise ValueError(f"{dataset.key} has no mirror; leave --mirror out")
    return dataset.mirror


def plan(
    dataset: DataSet, root: Path, mirror: bool = False, limit: int = 0, seed: int = 0
) -> list[fetch.Row]:
    """What is here and what is still to be fetched, a row for each file.

    Args:
        dataset: which.
        root: folder of the original files.
        mirror: whether from the mirror.
        limit: pictures of so many questions; 0 for all.
        seed: of that subset.
    """
    wanted = stores(dataset, mirror)
    rows = [row for store in wanted for row in fetch.plan(wanted[store], root / store)]
    shown = dataset.pictures
    if shown is not None and not mirror:
        name = f"{shown.url.rpartition('/')[2]} (pictures asked about)"
        state = "to fetch"
        if all(row.state == "here" for row in rows):
            folders = [root / store for store in wanted]
            names = _names(dataset, folders, limit, seed)
            missing = len(_missing(names, root / shown.store))
            state = f"to fetch: {missing}" if missing else "here"
        rows.append(fetch.Row(name, shown.url, shown.gigabytes, state))
    return rows


def obtain(
    dataset: DataSet,
    root: Path,
    mirror: bool = False,
    limit: int = 0,
    seed: int = 0,
    agree: Callable[[list[fetch.Row]], None] = lambda rows: None,
) -> Obtained:
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
        RuntimeError: no network, no room, or the server refuses.
    """
    wanted = stores(dataset, mirror)
    if not wanted:
        return Obtained([_put_by_hand(dataset, root / dataset.key)], {})
    agree(plan(dataset, root, mirror, limit, seed))
    origin: dict[str, str] = {}
    for store, files in wanted.items():
        origin |= fetch.fetch(files, root / store)
    folders = [root / store for store in wanted]
    if dataset.pictures is not None and not mirror:
        folders.append(_fetch_pictures(dataset, folders, root, limit, seed))
        origin[dataset.pictures.store] = dataset.pictures.url
    return Obtained(folders, origin)


def _fetch_pictures(
    dataset: DataSet, folders: list[Path], root: Path, limit: int, seed: int
) -> Path:
    """Only the pictures that the questions are about."""
    shown = dataset.pictures
    assert shown is not None  # the caller asked
    names = _names(dataset, folders, limit, seed)
    store = root / shown.store
    fetch_members(shown.url, _missing(names, store), store)
    return store


def _missing(names: list[str], store: Path) -> list[str]:
    """Those of some pictures that are not here; the whole archive may be."""
    if not store.is_dir():
        return names
    here = Originals([store])
    return [name for name in names if here.find(name) is None]


def _names(dataset: DataSet, folders: list[Path], limit: int, seed: int) -> list[str]:
    """Paths of the pictures that so many questions are about."""
    items = read(dataset, Originals(folders), seed)
    chosen = datasets.subset(len(items), limit, seed)
    return list(dict.fromkeys(str(items[number].picture) for number in chosen))


def _put_by_hand(dataset: DataSet, folder: Path) -> Path:
    if folder.is_dir():
        originals = Originals([folder])
        if any(layout.is_in(originals) for layout in dataset.layouts):
            return folder
    raise FileNotFoundError(
        f"{dataset.key} cannot be fetched: {dataset.by_hand}; put the files into "
        f"{folder} and run again, or name their folder with --source"
    )
