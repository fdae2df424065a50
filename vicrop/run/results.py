"""Records of finished runs, read as tables."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vicrop import paths
from vicrop.methods import METHODS
from vicrop.run.folder import META, RunFolder
from vicrop.run.records import Record, RunConfig

SIZE_GROUPS = {"small": (0.0, 0.005), "medium": (0.005, 0.05), "large": (0.05, 1.01)}
"""The paper's groups of object size S (section 3), from (inclusive) to."""


def find(*models: str) -> list[RunFolder]:
    """All finished runs, by name; only those of ``models`` if any are given."""
    folders = sorted(file.parent for file in paths.runs().glob(f"*/{META}"))
    runs = [RunFolder(folder) for folder in folders]
    finished = [run for run in runs if run.meta().get("finished")]
    if not models:
        return finished
    return [run for run in finished if run.config().model in models]


def table(run: RunFolder) -> pd.DataFrame:
    """A run's records, one row a sample, indexed by id, with its ``group`` of size.

    Failed samples keep their row, without scores, in the group of their object's size.
    """
    rows = [record.model_dump() for record in run.records()]
    frame = pd.DataFrame(rows, columns=list(Record.model_fields)).set_index("id")
    frame["group"] = frame["size"].map(size_group)
    return frame.astype({"score": float, "plain_score": float, "coverage": float})


def label(config: RunConfig) -> str:
    """What a run is called beside others: its method, and how it differs from plain."""
    own = "" if config.geometry == "exact" else config.geometry
    options = [f"{key} {value}" for key, value in sorted(config.options.items())]
    taken = "boxes taken" if config.boxes_from else ""
    policy = "" if config.crop_policy == "single" else config.crop_policy
    gate = f"gate {config.gate_feature}" if config.gate else ""
    parts = [config.method, config.fit, own, taken, policy, gate, *options]
    return ", ".join(filter(None, parts))


def load(model: str, method: str, dataset: str, **changes: Any) -> pd.DataFrame:
    """The table of a finished run over the whole data set.

    Args:
        model: key.
        method: key.
        dataset: key.
        **changes: what else of its ``RunConfig`` is not the default, such as ``fit``.

    Raises:
        FileNotFoundError: if there is none, naming the command that makes it.
    """
    config = RunConfig(model=model, method=method, dataset=dataset, **changes)
    run = RunFolder.of(config)
    if not run.meta().get("finished"):
        asked = {"model": model, "method": method, "dataset": dataset, **changes}
        words = " ".join(f"--{key} {value}" for key, value in asked.items())
        raise FileNotFoundError(
            f"no finished run in {run.folder}; make it with `vicrop run {words}`"
        )
    return table(run)


def tables(model: str, dataset: str | None = None) -> dict[str, pd.DataFrame]:
    """Tables of a model's finished runs over whole data sets.

    Args:
        model: key.
        dataset: key; None for all of them.

    Returns:
        By ``label`` if a data set is given, else by ``dataset · label``; in the order
        in which methods are listed in the book: controls after maps.
    """
    found = {}
    for run in sorted(find(model), key=_rank):
        config = run.config()
        whole = run.folder.name == config.run_id and not config.limit
        if whole and config.layer is None and dataset in (None, config.dataset):
            name = label(config) if dataset else f"{config.dataset} · {label(config)}"
            found[run.folder.name if name in found else name] = table(run)
    return found


def by_model(
    models: Sequence[str], dataset: str, group: str
) -> dict[str, dict[str, pd.DataFrame]]:
    """``tables`` by model, rows of one size group only; models without any left out."""
    found = {name: of_group(tables(name, dataset), group) for name in models}
    return {name: runs for name, runs in found.items() if runs}


ORDER = tuple(dict.fromkeys(("no-crop", *METHODS)))
"""How methods follow each other in tables."""


def _rank(run: RunFolder) -> tuple:
    config = run.config()
    known = config.method in ORDER
    place = ORDER.index(config.method) if known else len(ORDER)
    return config.dataset, place, label(config)


def by_group(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table split by size group, small first; rows without an object left out."""
    groups = {name: frame[frame["group"] == name] for name in SIZE_GROUPS}
    return {name: rows for name, rows in groups.items() if len(rows)}


def of_group(runs: dict[str, pd.DataFrame], group: str) -> dict[str, pd.DataFrame]:
    """The rows of one size group, and runs without any left out."""
    chosen = {name: rows[rows["group"] == group] for name, rows in runs.items()}
    return {name: rows for name, rows in chosen.items() if len(rows)}


def size_group(size: float | None) -> str | None:
    """``small``, ``medium`` or ``large``; None without a ground-truth box."""
    if size is None or size != size:
        return None
    return next(name for name, (low, high) in SIZE_GROUPS.items() if low <= size < high)
