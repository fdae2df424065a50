"""Gives every page the line that says which edition of the book it is of."""

import sys
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # not another tree's package that is installed


def told(app: Any, config: Any) -> None:
    """Both lines, for the template, and below every page."""
    from workflow import edition

    band, built = edition.band(), edition.built()
    config.html_context |= {"band": band, "built": built}
    whole = " · ".join(filter(None, (band, built)))
    config.html_theme_options |= {"extra_footer": f"<p>{escape(whole)}</p>"}


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("config-inited", told)
    return {"parallel_read_safe": True}
