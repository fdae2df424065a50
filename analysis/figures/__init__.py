"""Figures and tables of the book's pages."""

from analysis.figures.charts import (
    bars,
    binned,
    by_layers,
    cells,
    curves,
    forest,
    forests,
    heat,
    histogram,
    in_percent,
    ladders,
    layers,
    lines,
    panels,
    shares,
    size_histograms,
    stacks,
    trade,
)
from analysis.figures.hero import hero
from analysis.figures.pictures import embedded, fits, gallery, grid
from analysis.figures.stacked import stacked
from analysis.figures.tables import numbers, table

__all__ = [
    "bars",
    "binned",
    "by_layers",
    "cells",
    "curves",
    "embedded",
    "fits",
    "forest",
    "forests",
    "gallery",
    "grid",
    "heat",
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
    "trade",
]
