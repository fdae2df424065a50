"""Figures and tables of the book's pages."""

from analysis.figures.charts import (
    bars,
    curves,
    embedded,
    fits,
    forest,
    forests,
    histogram,
    layers,
)
from analysis.figures.tables import numbers, table

__all__ = [
    "bars",
    "curves",
    "embedded",
    "fits",
    "forest",
    "forests",
    "histogram",
    "layers",
    "numbers",
    "table",
]
