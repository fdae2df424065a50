"""Whether a family's facts are true: ``check(vlm)``, a row for each thing relied on.

A new check is one function in ``checks``. Loading a model never imports this.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from vicrop import images
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.conformance.checks import CHECKS, Case, Found, default_image
from vicrop.adapters.facts import Facts
from vicrop.adapters.registry import FAMILIES

__all__ = ["CHECKS", "Report", "Row", "check", "default_image", "facts"]

QUESTION = "What is in the image?"


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

    @property
    def summary(self) -> str:
        """How many checks passed, in a sentence."""
        states = [row.state for row in self.rows]
        possible = len(states) - states.count("not possible")
        return f"{self.facts}: {states.count('passed')} of {possible} checks passed"

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [f"{r.name:{width}}  {r.state:12}  {r.note}" for r in self.rows]
        return "\n".join([self.summary, *lines])

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><td>{escape(row.name)}</td><td>{escape(row.state)}</td>"
            f'<td style="text-align: left">{escape(row.note)}</td></tr>'
            for row in self.rows
        )
        head = "<tr><th>check</th><th>result</th><th>what was found</th></tr>"
        return (
            '<table class="tex2jax_ignore mathjax_ignore">'
            f"<caption>{escape(self.summary)}</caption>"
            f"<thead>{head}</thead><tbody>{body}</tbody></table>"
        )


def check(
    vlm: Adapter,
    image: images.ImageLike | None = None,
    question: str = QUESTION,
    inputs: Any = None,
) -> Report:
    """Look whether a family's facts are what the method relies on.

    Nothing is raised for what does not hold: call ``raise_if_failed`` on the report
    for that.

    Args:
        vlm: a model of the family, with its processor.
        image: to look at; None for a drawn one.
        question: to ask.
        inputs: what the stock processor returns for the family's prompt with this
            image and question, to hold the stock model's own answer against; None to
            build them from the facts' tokens and pixels.

    Raises:
        RuntimeError: if the model was wrapped without a processor.
    """
    vlm.processor  # noqa: B018 (raises where there is none)
    picture = default_image() if image is None else images.load(image)
    case = Case(vlm, picture, question, inputs)
    return Report(type(vlm.facts).__name__, tuple(_rows(case)))


def _rows(case: Case) -> Iterator[Row]:
    for name, run in CHECKS.items():
        try:
            yield Row(name, "passed", run(case))
        except Found as found:
            yield Row(name, *found.args)
        except Exception as error:  # whatever foreign facts raise is a finding
            said = (str(error).strip() or "no message").splitlines()[0]
            yield Row(name, "failed", f"{type(error).__name__}: {said}")


def facts() -> list[dict[str, str]]:
    """What a family says, read off the code, for the page about it.

    Returns:
        Rows with the keys ``fact``, ``says`` and ``families``: those that every family
        says first, then those with a usual answer and the families without it.
    """
    must = sorted(Facts.__abstractmethods__)
    may = [
        name
        for name, fact in vars(Facts).items()
        if callable(fact) and name not in must and not name.startswith("_")
    ]
    rows = []
    for name in must + may:
        own = [key for key, family in FAMILIES.items() if name in vars(family.facts)]
        says = str(inspect.getdoc(getattr(Facts, name))).splitlines()[0]
        families = "every family" if name in must else ", ".join(own)
        rows.append(
            {"fact": name, "says": says.replace("``", ""), "families": families}
        )
    return rows
