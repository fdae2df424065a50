"""Whether a family's facts are true: ``check(vlm)``, a row for each thing relied on.

A new check is one function in ``checks``. Loading a model never imports this.
"""

import inspect
from collections.abc import Iterator
from typing import Any

from vicrop import images
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.conformance.case import Broken, Case, NotPossible, default_image
from vicrop.adapters.conformance.checks import CHECKS
from vicrop.adapters.conformance.report import Report, Row
from vicrop.adapters.facts import Facts
from vicrop.adapters.registry import FAMILIES

__all__ = ["CHECKS", "Report", "Row", "check", "default_image", "facts"]

QUESTION = "What is in the image?"


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
        except NotPossible as reason:
            yield Row(name, "not possible", str(reason))
        except Broken as reason:
            yield Row(name, "failed", str(reason))
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
        for name, value in vars(Facts).items()
        if name not in must and not name.startswith("_") and callable(value)
    ]
    return [_row(name, "every family") for name in must] + [
        _row(name, ", ".join(_who(name))) for name in may
    ]


def _who(name: str) -> list[str]:
    """Families that say a fact otherwise than the others."""
    return [key for key, family in FAMILIES.items() if name in vars(family.facts)]


def _row(name: str, families: str) -> dict[str, str]:
    said = inspect.getdoc(getattr(Facts, name))
    assert said is not None
    meaning = said.splitlines()[0].replace("``", "")
    return {"fact": name, "says": meaning, "families": families}
