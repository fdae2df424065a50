"""Gives every page the line that says which edition of the book it is of."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # not another tree's package that is installed


def told(app: Any, config: Any) -> None:
    """Both lines, for the template."""
    from workflow import edition

    config.html_context |= {"band": edition.band(), "built": edition.built()}


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("config-inited", told)
    return {"parallel_read_safe": True}
