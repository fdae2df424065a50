"""Removes what `make book` can make again, and says what it keeps.

Runs that are not of the embedded size, such as days of a GPU, stay, with their pages,
markers and logs.
"""

import shutil
from pathlib import Path

import typer

import workflow
from vicrop import paths
from vicrop.adapters.registry import MODELS
from workflow import matrix, plans

SIZE = "embedded"
BUILT = (paths.ROOT / "book" / "results", workflow.executed())
"""In this clone: where VICROP_RESULTS points is not ours to clean."""

SHARED = ("runs", "work", "work/due", "logs", "pages", "pages/runs")
"""Folders of both, with an entry for each run, group or page."""


def names() -> set[str]:
    """What the runs, groups and pages of the embedded size are called."""
    configs, pages = matrix.chosen(plans.MATRIX, SIZE)
    runs = {config.run_id for config in configs}
    whole = {f"pages-{SIZE}", f"scores-{SIZE}"}
    return {*runs, *pages, *plans.grouped(configs), *whole}


def foreign(results: Path, ours: set[str]) -> list[Path]:
    """Runs that are not of the embedded size."""
    return sorted(run for run in results.glob("runs/*") if run.name not in ours)


def clean(results: Path, executed: Path, ours: set[str]) -> list[Path]:
    """Remove what can be made again.

    Returns:
        Runs that were kept.
    """
    kept = foreign(results, ours)
    shutil.rmtree(results / "studies", ignore_errors=True)  # unpacked: archives stay
    for entry in results.glob("*/probes/*"):
        entry.unlink()  # markers and logs of what is measured in a minute
    for entry in results.glob("probes/*"):
        if is_here(entry.name.partition("__")[0]):
            _remove(entry)
    if not kept:
        shutil.rmtree(results, ignore_errors=True)
        shutil.rmtree(executed, ignore_errors=True)
    for folder in (*(results / name for name in SHARED), executed, executed / "runs"):
        for entry in folder.glob("*"):
            if _name(entry) in ours:
                _remove(entry)
    return kept


def _name(entry: Path) -> str:
    """An entry's name without the ending that makes it a page, marker or log."""
    endings = (".ipynb", ".json", ".done", ".log", ".txt")
    return entry.stem if entry.suffix in endings else entry.name


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def is_here(model: str) -> bool:
    """Whether a model's weights are in this repository."""
    return model in MODELS and MODELS[model].folder is not None


def main() -> None:
    """Clean this clone."""
    kept = clean(*BUILT, names())
    for run in kept:
        typer.echo(f"kept: {run}")
    if kept:
        typer.echo("not of the embedded size, so not made again by `make book`")


if __name__ == "__main__":
    typer.run(main)
