"""Where data, results and weights are; nothing else knows a folder's name."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = Path(__file__).resolve().parent / "adapters" / "weights"


def data() -> Path:
    """Folder of the data sets (``VICROP_DATA``, else ``data/`` of the repository)."""
    return Path(os.environ.get("VICROP_DATA", _home() / "data"))


def results() -> Path:
    """Folder of the runs (``VICROP_RESULTS``, else ``book/results``)."""
    return Path(os.environ.get("VICROP_RESULTS", _home() / "book" / "results"))


def _home() -> Path:
    """The repository; the working folder for a package that was installed without."""
    return ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()


def runs() -> Path:
    """Folder with one folder a run."""
    return results() / "runs"


def executed() -> Path:
    """Folder of the executed notebooks that the book shows."""
    return ROOT / "book" / "executed"


def notebooks() -> Path:
    """Folder of the notebooks' sources."""
    return ROOT / "notebooks"
