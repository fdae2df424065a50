"""What the book's pages compute from records and models: imported by notebooks."""

from collections.abc import Mapping

import pandas as pd

FEWEST = 10
"""Samples below which an interval says little: not judged, and drawn hollow."""

Runs = Mapping[str, pd.DataFrame]
"""Tables of runs (see ``results.table``) by what they are called, rows by sample id."""
Models = Mapping[str, Runs]
"""Runs by model, mostly by their methods (see ``workflow.tables.by_model``)."""
