"""Figures and tables of the book's pages."""

from analysis.figures.charts import (
    bars,
    binned,
    by_layers,
    cells,
    compared,
    curves,
    forest,
    histogram,
    in_percent,
    ladders,
    layers,
    lines,
    panels,
    shares,
    size_histograms,
    stacks,
)
from analysis.figures.hero import hero
from analysis.figures.pictures import cases, fits, grid
from analysis.figures.stacked import stacked
from analysis.figures.tables import numbers, table

__all__ = [
    "bars",
    "binned",
    "by_layers",
    "cases",
    "cells",
    "compared",
    "curves",
    "fits",
    "forest",
    "grid",
    "hero",
    "histogram",
    "in_percent",
    "ladders",
    "layers",
    "lines",
    "numbers",
    "panels",
    "shares",
    "size_histograms",
    "stacked",
    "stacks",
    "table",
]
