"""Tables of a model's runs, by what they are called and in the book's order."""

from collections.abc import Sequence

import pandas as pd

from vicrop.methods import METHODS
from vicrop.run import results
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig

ORDER = tuple(dict.fromkeys(("no-crop", *METHODS)))
"""How methods follow each other in tables."""


def label(config: RunConfig) -> str:
    """What a run is called beside others: its method, and how it differs from plain."""
    own = "" if config.geometry == "exact" else config.geometry
    options = [f"{key} {value}" for key, value in sorted(config.options.items())]
    taken = "boxes taken" if config.boxes_from else ""
    return ", ".join(filter(None, [config.method, config.fit, own, taken, *options]))


def of_model(model: str, dataset: str | None = None) -> dict[str, pd.DataFrame]:
    """Tables of a model's finished runs over whole data sets.

    Args:
        model: key.
        dataset: key; None for all of them.

    Returns:
        By ``label`` if a data set is given, else by ``dataset · label``; in the order
        in which methods are listed in the book: controls after maps.
    """
    found = {}
    for run in sorted(results.find(model), key=_rank):
        config = run.config()
        whole = run.folder.name == config.run_id and not config.limit
        if whole and config.layer is None and dataset in (None, config.dataset):
            name = label(config) if dataset else f"{config.dataset} · {label(config)}"
            found[run.folder.name if name in found else name] = results.table(run)
    return found


def by_model(
    models: Sequence[str], dataset: str, group: str
) -> dict[str, dict[str, pd.DataFrame]]:
    """``of_model`` of each, rows of one size group; models without any left out."""
    found = {name: of_group(of_model(name, dataset), group) for name in models}
    return {name: runs for name, runs in found.items() if runs}


def _rank(run: RunFolder) -> tuple:
    config = run.config()
    return config.dataset, ORDER.index(config.method), label(config)


def of_group(runs: dict[str, pd.DataFrame], group: str) -> dict[str, pd.DataFrame]:
    """The rows of one size group, and runs without any left out."""
    chosen = {name: rows[rows["group"] == group] for name, rows in runs.items()}
    return {name: rows for name, rows in chosen.items() if len(rows)}
