"""Where data, results and weights are; nothing else knows a folder's name."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
WEIGHTS = PACKAGE / "adapters" / "weights"
CLONE = (PACKAGE.parent / "pyproject.toml").is_file()
ROOT = PACKAGE.parent if CLONE else Path.cwd()
"""The clone; where the package is installed without one, the folder it is called in."""


def data() -> Path:
    """Folder of the data sets (``VICROP_DATA``, else ``data/``)."""
    return Path(os.environ.get("VICROP_DATA", ROOT / "data"))


def results() -> Path:
    """Folder of the runs (``VICROP_RESULTS``, else ``book/results``)."""
    return Path(os.environ.get("VICROP_RESULTS", ROOT / "book" / "results"))


def runs() -> Path:
    """Folder with one folder a run."""
    return results() / "runs"


def executed() -> Path:
    """Folder of the executed notebooks that the book shows."""
    return ROOT / "book" / "executed"


def notebooks() -> Path:
    """Folder of the notebooks' sources."""
    return ROOT / "notebooks"
