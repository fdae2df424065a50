"""Notebooks that a reader takes along are without outputs, as in the tree."""

from pathlib import Path

import nbformat
from sphinx.application import Sphinx


def empty(app: Sphinx, error: Exception | None) -> None:
    """Take the outputs, which the pages show, out of the site's copies."""
    for file in Path(app.outdir, "_sources").rglob("*.ipynb"):
        book = nbformat.read(file, as_version=4)
        if any(cell.get("outputs") for cell in book.cells):
            for cell in book.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            nbformat.write(book, file)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("build-finished", empty)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
