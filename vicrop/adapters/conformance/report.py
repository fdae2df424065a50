"""What the checks of a family's facts found, as rows that show as a table."""

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Row:
    """What one check found.

    Attributes:
        name: of the check.
        state: ``passed``, ``failed`` or ``not possible``.
        note: what was found, or why not.
    """

    name: str
    state: str
    note: str


@dataclass(frozen=True)
class Report:
    """What all checks found; shows as a table, in notebooks too.

    Attributes:
        facts: name of their class.
        rows: one a check.
    """

    facts: str
    rows: tuple[Row, ...]

    def __getitem__(self, name: str) -> Row:
        """A check's row."""
        return {row.name: row for row in self.rows}[name]

    @property
    def failed(self) -> list[Row]:
        """Rows of what does not hold."""
        return [row for row in self.rows if row.state == "failed"]

    def raise_if_failed(self) -> None:
        """Make failures loud, as in a test.

        Raises:
            ValueError: naming every check that failed, and why.
        """
        if self.failed:
            reasons = "; ".join(f"{row.name}: {row.note}" for row in self.failed)
            raise ValueError(f"{self.facts} breaks the method's rules: {reasons}")

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [f"{r.name:{width}}  {r.state:12}  {r.note}" for r in self.rows]
        return "\n".join([self.summary, *lines])

    @property
    def summary(self) -> str:
        """How many checks passed, in a sentence."""
        passed = sum(row.state == "passed" for row in self.rows)
        possible = sum(row.state != "not possible" for row in self.rows)
        return f"{self.facts}: {passed} of {possible} checks passed"

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><td>{escape(row.name)}</td><td>{escape(row.state)}</td>"
            f'<td style="text-align: left">{escape(row.note)}</td></tr>'
            for row in self.rows
        )
        head = "<tr><th>check</th><th>result</th><th>what was found</th></tr>"
        return (
            f"<table><caption>{escape(self.summary)}</caption>"
            f"<thead>{head}</thead><tbody>{body}</tbody></table>"
        )
