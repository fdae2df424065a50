"""Sizes of the book and their jobs, pages, long studies, the README's table, the PDF.

What is stale and what runs where, ``workflow/Snakefile`` says.
"""

from pathlib import Path

from vicrop import paths


def executed() -> Path:
    """Folder of the executed notebooks that the book shows."""
    return paths.ROOT / "book" / "executed"


def notebooks() -> Path:
    """Folder of the notebooks' sources."""
    return paths.ROOT / "notebooks"
