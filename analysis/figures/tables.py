"""Tables for pages: the book's style, links in cells, and the numbers to take along."""

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import HTML
from pandas.io.formats.style import Styler

from vicrop.run.stats import Estimate
from vicrop.types import printable

Links = Mapping[str, str]
"""Addresses by the text that leads there."""

Points = Estimate | Sequence[Estimate] | Mapping[str, Estimate] | pd.DataFrame
"""What one entry of a figure's legend, or one panel of it, is drawn from."""


class Table(Styler):
    """A table for a page, with a link to its numbers as CSV."""

    def format(self, *args: Any, **kwargs: Any) -> "Table":
        """As a Styler's, but texts stay escaped unless told not to be."""
        super().format(*args, **({"escape": "html"} | kwargs))
        return self

    def _repr_html_(self) -> str:
        """The table and the link: what a notebook shows."""
        frame = self.data  # type: ignore[attr-defined]
        return self.to_html() + csv_link(frame, "table")


def csv_link(frame: pd.DataFrame, what: str) -> str:
    """A link that holds a frame as CSV, so that it works without a server."""
    text = frame.to_csv(index=False).encode()
    data = base64.b64encode(text).decode()
    name = f"{what}-{hashlib.sha256(text).hexdigest()[:8]}.csv"
    link = f'<a class="take-along" download="{name}" href="data:text/csv;base64,'
    return f'{link}{data}">{what} as CSV</a>'


def numbers(series: Mapping[str, Points]) -> HTML:
    """A link to the numbers that a figure is drawn from.

    Args:
        series: what the figure was given: by legend entry or panel, estimates in a row
            (numbered from 0), by label, or a single one; or other numbers, as a frame.
    """
    frames = {name: _placed(points) for name, points in series.items()}
    parts = [frame.assign(series=name) for name, frame in frames.items()]
    if not parts:
        raise ValueError("a figure of no series has no numbers")
    rows = pd.concat(parts, ignore_index=True)
    return HTML(csv_link(rows[["series", *rows.columns.drop("series")]], "figure"))


def _placed(points: Points) -> pd.DataFrame:
    """Numbers, each with its place in the figure."""
    if isinstance(points, pd.DataFrame):
        return points.rename_axis("at").reset_index()
    if isinstance(points, Estimate):
        points = {"": points}
    pairs = points.items() if isinstance(points, Mapping) else enumerate(points)
    return pd.DataFrame([{"at": at} | vars(estimate) for at, estimate in pairs])


def table(frame: pd.DataFrame, links: Links | None = None) -> Table:
    """A table for a page: no index, the book's style, the same HTML every time.

    Texts are escaped: what a model says is no markup.

    Args:
        frame: of texts and numbers.
        links: addresses of texts that stand in a cell, alone or between commas.
    """
    frame = frame.map(_plain)
    name = hashlib.sha256(frame.to_csv().encode()).hexdigest()[:8]
    styled = Table(frame, uuid=name, cell_ids=False)
    if links is None:
        styled.format()
    else:
        styled.format(lambda cell: _linked(cell, links), escape=None)
    styled.format_index(escape="html", axis="columns").hide(axis="index")
    # In Jupyter and in the book, `$` in a cell would begin a formula otherwise.
    styled.set_table_attributes('class="dataframe tex2jax_ignore mathjax_ignore"')
    return styled


def _plain(cell: Any) -> Any:
    """A number as it is, all else as a text: in lists, none would be escaped."""
    text = isinstance(cell, str) or not pd.api.types.is_scalar(cell)
    return printable(cell) if text else cell


def _linked(cell: object, links: Links) -> str:
    """A cell as HTML, the parts that have an address as links."""
    parts = [(part, links.get(part)) for part in str(cell).split(", ")]
    shown = (
        html.escape(part)
        if address is None
        else f'<a href="{html.escape(address)}">{html.escape(part)}</a>'
        for part, address in parts
    )
    return ", ".join(shown)
