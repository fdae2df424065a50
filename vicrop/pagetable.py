"""Tables for pages: the book's style, links in cells, and the numbers to take along."""

import base64
import hashlib
import html
from collections.abc import Mapping

import pandas as pd
from pandas.io.formats.style import Styler

Links = Mapping[str, str]
"""Addresses by the text that leads there."""


class Table(Styler):
    """A table for a page, with a link to its numbers as CSV."""

    def _repr_html_(self) -> str:
        """The table and the link: what a notebook shows."""
        text = self.data.to_csv(index=False).encode()  # type: ignore[attr-defined]
        data = base64.b64encode(text).decode()
        name = f"table-{hashlib.sha256(text).hexdigest()[:8]}.csv"
        link = f'<a class="take-along" download="{name}" href="data:text/csv;base64,'
        return f'{self.to_html()}{link}{data}">table as CSV</a>'


def table(frame: pd.DataFrame, links: Links | None = None) -> Table:
    """A table for a page: no index, the book's style, the same HTML every time.

    Texts are escaped: what a model says is no markup.

    Args:
        frame: of texts and numbers.
        links: addresses of texts that stand in a cell, alone or between commas.
    """
    name = hashlib.sha256(frame.to_csv().encode()).hexdigest()[:8]
    styled = Table(frame, uuid=name, cell_ids=False)
    if links is None:
        styled.format(escape="html")
    else:
        styled.format(lambda cell: _linked(cell, links))
    styled.format_index(escape="html", axis="columns").hide(axis="index")
    styled.set_table_attributes('class="dataframe"')
    return styled


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
