"""Files of a data set repository on the hub, at a commit that is told and kept."""

from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.utils import filter_repo_objects

from data_prep.dataset import Hub
from data_prep.download import url
from data_prep.download.url import Goal, Unreachable, size_of
from vicrop.run.folder import Refused


def download(hub: Hub, folder: Path) -> str:
    """Download what is not here yet.

    Returns:
        The commit, or "put by hand": which, and whether all is here, is not to be
        known then.

    Raises:
        Unreachable: if there is no network, and nothing was put here by hand.
        Refused: no room, refused, torn, or the repository lacks such files.
    """
    if present(hub, folder)[0]:
        return url.notes(folder)[_key(hub)]["commit"]
    try:
        return _download(hub, Goal(hub.name, hub.url, folder))
    except Unreachable:
        names = _inside(folder)
        if not all(_matching((pattern,), names) for pattern in hub.patterns):
            raise
        return "put by hand"


def _download(hub: Hub, goal: Goal) -> str:
    commit, sizes = _listing(hub, goal)
    missing = sum(size - size_of(goal.folder / name) for name, size in sizes.items())
    url.check_room(hub.name, missing, goal.folder)
    with url.one_line(goal, missing):
        snapshot_download(
            hub.name,
            repo_type="dataset",
            revision=commit,
            allow_patterns=list(hub.patterns),
            local_dir=goal.folder,
        )
    # The library takes a folder as it is if the network goes away meanwhile.
    for name, size in sizes.items():
        found = size_of(goal.folder / name)
        if found != size:
            raise Refused(
                f"{hub.name}: {name} has {found} bytes, {size} expected; run again, "
                "and it goes on from there"
            )
    url.remember(goal.folder, _key(hub), {"commit": commit, "files": sizes})
    return commit


def _listing(hub: Hub, goal: Goal) -> tuple[str, dict[str, int]]:
    """The commit, and the sizes of the files that are wanted."""
    with url.one_line(goal, begun=False):
        info = HfApi().repo_info(hub.name, repo_type="dataset", files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings}
    wanted = [Goal(n, hub.url, goal.folder) for n in _matching(hub.patterns, sizes)]
    if not wanted:
        raise Refused(
            f"{hub.url} has no file like {', '.join(hub.patterns)} at {info.sha}; see "
            "there whether they are called otherwise now"
        )
    return info.sha, {file.name: sizes[file.name] for file in wanted}


def present(hub: Hub, folder: Path) -> tuple[bool, int]:
    """Whether all of it is here, and how many bytes are."""
    sizes = url.notes(folder).get(_key(hub), {}).get("files", {})
    whole = all(size_of(folder / name) == size for name, size in sizes.items())
    here = sum(size_of(folder / n) for n in _matching(hub.patterns, _inside(folder)))
    return bool(sizes) and whole, here


def _key(hub: Hub) -> str:
    """Under which it is remembered."""
    return f"hub:{hub.name}@:{' '.join(hub.patterns)}"


def _inside(folder: Path) -> list[str]:
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return [name for name in names if not name.startswith(".cache/")]


def _matching(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    return list(filter_repo_objects(names, allow_patterns=list(patterns)))
