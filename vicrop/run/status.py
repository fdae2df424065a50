"""Every run and shard: how much is done, how fast, and how long it will take."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from vicrop import paths
from vicrop.run import owner
from vicrop.run.folder import META, RunFolder
from vicrop.run.progress import duration


@dataclass(frozen=True)
class Status:
    """One run or shard.

    Attributes:
        name: of it.
        state: ``finished``, ``running``, ``stopped`` or ``broken``.
        done: samples that are recorded.
        failed: those of them that have an error.
        missing: samples without a record; None if nobody knows.
        speed: samples a second; None before the first.
        who: is writing, or was when it was killed.
    """

    name: str
    state: str
    done: int
    failed: int
    missing: int | None
    speed: float | None
    who: str = ""

    @property
    def left(self) -> str:
        """The time that what is missing takes at that speed."""
        if not self.missing:
            return "–"
        return duration(self.missing / self.speed) if self.speed else "unknown"


def folders(root: Path | None = None) -> list[RunFolder]:
    """All runs, and the shards of those that are not merged yet."""
    root = paths.runs() if root is None else root
    wholes = sorted(folder for folder in root.glob("*") if folder.is_dir())
    found = []
    for folder in wholes:
        parts = sorted(folder.glob("shards/*"), key=_number)
        is_whole = (folder / META).exists()
        found += [folder] if is_whole or not parts else parts
    return [RunFolder(folder) for folder in found]


def _number(part: Path) -> tuple[int, ...]:
    return tuple(int(word) for word in part.name.split("-") if word.isdigit())


def status(run: RunFolder) -> Status:
    """How far a run or shard is."""
    try:
        meta = run.meta()
    except ValueError:
        meta = {}
    lines = list(run.lines())
    failed = sum(line.record is not None and bool(line.record.error) for line in lines)
    asked = meta.get("asked")
    spent, made = meta.get("seconds", 0), meta.get("answered", 0)
    return Status(
        name=run.name,
        state=_state(run, meta),
        done=len(lines),
        failed=failed,
        missing=None if asked is None else asked - len(lines),
        speed=made / spent if spent else None,
        who=owner.owner(run.folder) or "",
    )


def _state(run: RunFolder, meta: dict) -> str:
    if is_held(run.folder):
        return "running"
    if "identity" not in meta:
        return "broken"
    return "finished" if meta.get("finished") else "stopped"


def is_held(folder: Path) -> bool:
    """Whether a process is writing to a folder."""
    if not (folder / owner.LOCK).exists():
        return False
    try:
        with FileLock(folder / owner.LOCK, timeout=0):
            return False
    except Timeout:
        return True


def all_of(root: Path | None = None) -> Iterator[Status]:
    """Every run's, by name."""
    return map(status, folders(root))
