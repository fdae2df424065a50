"""Tables of finished runs, what they are called, their order, and each in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vicrop import paths
from vicrop.methods import METHODS
from vicrop.run import results, stats
from vicrop.run.folder import META, RunFolder
from vicrop.run.records import RunConfig
from vicrop.run.stats import Estimate

ORDER = tuple(dict.fromkeys(("no-crop", *METHODS)))
"""How methods follow each other in tables."""


def find(*models: str) -> list[RunFolder]:
    """All finished runs, by name; only those of ``models`` if any are given."""
    runs = [RunFolder(file.parent) for file in sorted(paths.runs().glob(f"*/{META}"))]
    made = [run for run in runs if run.meta().get("finished")]
    return [run for run in made if not models or run.config().model in models]


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
    return results.table(run)


def label(config: RunConfig) -> str:
    """What a run is called beside others: its method, and how it differs from plain."""
    usual = RunConfig()
    changed = [
        str(value)
        for name in ("geometry", "crop_policy", "crops")
        if (value := getattr(config, name)) != getattr(usual, name)
    ]
    options = [f"{key} {value}" for key, value in sorted(config.options.items())]
    how = ["boxes taken" if config.boxes_from else "", "gated" if config.gate else ""]
    parts = [config.method, config.fit, *changed, *how, *options]
    return ", ".join(filter(None, parts))


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
    for run in sorted(find(model), key=_rank):
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


@dataclass(frozen=True)
class Summary:
    """A run in numbers: its answers against the plain ones of the same samples."""

    n: int
    errors: int
    plain: Estimate
    score: Estimate
    gain: Estimate
    changes: stats.Changes


def summary(frame: pd.DataFrame) -> Summary:
    """What a run's table says (see ``results.table``).

    Args:
        frame: one row a sample, with ``score``, ``plain_score``, ``error`` and
            ``image``; samples that failed or have no score are left out.
    """
    kept = frame.dropna(subset=["plain_score", "score"])
    before, after, images = kept["plain_score"], kept["score"], kept["image"]
    return Summary(
        n=len(kept),
        errors=int(frame["error"].notna().sum()),
        plain=stats.accuracy(before, images),
        score=stats.accuracy(after, images),
        gain=stats.gain(before, after, images),
        changes=stats.changes(before, after, images),
    )
