"""Records of finished runs, read as tables."""

import pandas as pd

from vicrop.run.folder import RunFolder
from vicrop.run.records import Record

SIZE_GROUPS = {"small": (0.0, 0.005), "medium": (0.005, 0.05), "large": (0.05, 1.01)}
"""The paper's groups of object size S (section 3), from (inclusive) to."""


def table(run: RunFolder) -> pd.DataFrame:
    """A run's records, one row a sample, indexed by id, with its ``group`` of size.

    Failed samples keep their row, without scores, in the group of their object's size.
    """
    rows = [record.model_dump() for record in run.records()]
    frame = pd.DataFrame(rows, columns=list(Record.model_fields)).set_index("id")
    frame["group"] = frame["size"].map(size_group)
    return frame.astype({"score": float, "plain_score": float, "coverage": float})


def by_group(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table split by size group, small first; rows without an object left out."""
    groups = {name: frame[frame["group"] == name] for name in SIZE_GROUPS}
    return {name: rows for name, rows in groups.items() if len(rows)}


def size_group(size: float | None) -> str | None:
    """``small``, ``medium`` or ``large``; None without a ground-truth box."""
    if size is None or size != size:
        return None
    return next(name for name, (low, high) in SIZE_GROUPS.items() if low <= size < high)
