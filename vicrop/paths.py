"""Where data, results and weights are; nothing else knows a folder's name."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
WEIGHTS = PACKAGE / "adapters" / "weights"
CLONE = (PACKAGE.parent / "_toc.yml").is_file()
"""Whether this package lies in a clone, and not among installed ones."""

ROOT = PACKAGE.parent if CLONE else Path.cwd()
"""The clone; where the package is installed without one, the folder it is called in."""

MAKERS = dict.fromkeys(
    ("plates", "plates-hd", "plates-wide", "plates-val"), "python -m data_prep.plates"
) | {
    key: f"vicrop prep {key}"
    for key in (
        "textvqa docvqa gqa aokvqa aokvqa-mc pope vstar vqav2 hr-bench-4k hr-bench-8k"
        " zoombench treebench infographicvqa"
    ).split()
}
"""Data sets that have a key, and the command that makes each in ``data()``."""


def data() -> Path:
    """Folder of the data sets (``VICROP_DATA``, else ``data/``)."""
    return Path(os.environ.get("VICROP_DATA") or ROOT / "data")


def results() -> Path:
    """Folder of runs and scores.

    ``VICROP_RESULTS``, else a clone's ``book/results``; ``results/`` without a clone.
    """
    usual = ROOT / "book" / "results" if CLONE else ROOT / "results"
    return Path(os.environ.get("VICROP_RESULTS") or usual)


def runs() -> Path:
    """Folder with one folder a run."""
    return results() / "runs"


def run(name: Path) -> Path:
    """A run's folder; what is only a name is looked for among the runs."""
    is_name = len(name.parts) == 1 and not name.is_dir()
    return runs() / name if is_name else name


def dataset(name: str) -> str:
    """A data set's one name: its key, else its folder from the root on.

    The folder in which a key's data are is that key, and its ``data.json`` stands for
    the folder; what is none of these stays as it is.
    """
    given = Path(os.path.expanduser(name))
    folder = given.parent if given.name == "data.json" else given
    if name in MAKERS or not folder.is_dir():
        return name
    folder = folder.resolve()
    known = folder.parent == data().resolve() and folder.name in MAKERS
    return folder.name if known else str(folder)


def places() -> list[tuple[str, Path, str]]:
    """What is in a folder, where that is, and why there or how that is changed."""
    from huggingface_hub.constants import HF_HUB_CACHE

    home = "in this clone" if CLONE else "in the folder that vicrop is called in"

    def why(variable: str) -> str:
        given = os.environ.get(variable)
        return f"{variable} says so" if given else f"{home}; {variable} names another"

    return [
        ("data sets", data(), why("VICROP_DATA")),
        ("runs", runs(), f"{why('VICROP_RESULTS')} for it and scores"),
        ("embedded weights", WEIGHTS, "a part of the package"),
        ("downloaded weights", Path(HF_HUB_CACHE), "HF_HOME names another"),
    ]
