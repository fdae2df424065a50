"""Records on disk: append, resume, repair, read as a table."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from vicrop import paths
from vicrop.types import Record, RunConfig

RECORDS, META = "records.jsonl", "meta.json"

SIZE_GROUPS = {"small": (0.0, 0.005), "medium": (0.005, 0.05), "large": (0.05, 1.01)}
"""The paper's groups of object size S (section 3), from (inclusive) to."""


class RunFolder:
    """The folder of one run: ``records.jsonl`` and ``meta.json``."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def of(cls, config: RunConfig) -> "RunFolder":
        """Where a run's records are."""
        return cls(paths.runs() / config.run_id)

    @property
    def records_file(self) -> Path:
        """One JSON line a sample."""
        return self.folder / RECORDS

    def open(self, identity: dict[str, str]) -> set[str]:
        """Make or reopen the folder; ids of the samples that are already recorded.

        A last line that was torn by a crash is cut off. Failed samples count as
        recorded: delete their lines to try them again.

        Args:
            identity: hashes of what the records depend on; kept in ``meta.json``.

        Raises:
            ValueError: if the folder holds records of another identity.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self.meta().get("identity")
        if known is not None and known != identity:
            changed = [key for key in identity if known.get(key) != identity[key]]
            raise ValueError(
                f"{self.folder} holds records made with other {', '.join(changed)}; "
                "delete that folder to run again, or keep it under another name"
            )
        self.write_meta({**self.meta(), "identity": identity})
        self._repair()
        return {record.id for record in self.records()}

    def _repair(self) -> None:
        """Cut off what follows the last newline."""
        if not self.records_file.exists():
            return
        with self.records_file.open("rb+") as file:
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)

    def append(self, record: Record) -> None:
        """Add a record and see it onto the disk."""
        with self.records_file.open("a", encoding="utf-8") as file:
            file.write(record.line())
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> Iterator[Record]:
        """All records, in the order in which they were made.

        Raises:
            ValueError: naming file and line of one that cannot be read.
        """
        if not self.records_file.exists():
            return
        with self.records_file.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield Record.from_line(line)
                except ValidationError as error:
                    raise ValueError(
                        f"{self.records_file} line {number} is not a record "
                        f"({error.errors()[0]['msg']}); restore the file or delete "
                        "that line and run again"
                    ) from None

    def meta(self) -> dict[str, Any]:
        """Parameters, versions, hashes and timings; empty if there are none yet."""
        file = self.folder / META
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Replace ``meta.json``; a crash leaves the old one."""
        part = self.folder / f"{META}.part"
        part.write_text(json.dumps(meta, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(part, self.folder / META)


def find(*models: str) -> list[RunFolder]:
    """All finished runs, by name; only those of ``models`` if any are given."""
    folders = sorted(file.parent for file in paths.runs().glob(f"*/{META}"))
    runs = [RunFolder(folder) for folder in folders]
    finished = [run for run in runs if run.meta().get("finished")]
    if not models:
        return finished
    return [run for run in finished if run.meta()["config"]["model"] in models]


def table(run: RunFolder) -> pd.DataFrame:
    """A run's records, one row a sample, indexed by id, with its ``group`` of size.

    Failed samples keep their row, without scores.
    """
    rows = [record.model_dump() for record in run.records()]
    frame = pd.DataFrame(rows, columns=list(Record.model_fields)).set_index("id")
    frame["group"] = frame["size"].map(size_group)
    return frame.astype({"score": float, "plain_score": float, "coverage": float})


def size_group(size: float | None) -> str | None:
    """``small``, ``medium`` or ``large``; None without a ground-truth box."""
    if size is None or size != size:
        return None
    return next(name for name, (low, high) in SIZE_GROUPS.items() if low <= size < high)


def examples(frame: pd.DataFrame, each: int = 2) -> list[str]:
    """Ids to show of a run: the first ones fixed, broken, still wrong, still right.

    Args:
        frame: a run's table.
        each: at most so many of each sort.
    """
    was, now = frame["plain_score"] >= 0.5, frame["score"] >= 0.5
    tried = frame["error"].isna()
    sorts = (~was & now, was & ~now, ~was & ~now, was & now)
    return [name for sort in sorts for name in frame.index[sort & tried][:each]]
