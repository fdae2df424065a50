"""Whether an adapter keeps its promises: ``check(vlm)``, a row for each of them.

A new check is one function in ``promises``. Checks use the adapter's verbs alone.
"""

from collections.abc import Iterator
from typing import Any

from vicrop import images
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.conformance import promises  # noqa: F401 (register)
from vicrop.adapters.conformance.case import (
    CHECKS,
    Broken,
    Case,
    NotPossible,
    default_image,
)
from vicrop.adapters.conformance.report import Report, Row
from vicrop.adapters.conformance.verbs import verbs

__all__ = ["CHECKS", "Report", "Row", "check", "default_image", "verbs"]

QUESTION = "What is in the image?"


def check(
    vlm: Adapter,
    image: images.ImageLike | None = None,
    question: str = QUESTION,
    inputs: Any = None,
) -> Report:
    """Look whether an adapter does what the method relies on.

    Nothing is raised for a promise that is not kept: call ``raise_if_failed`` on the
    report for that.

    Args:
        vlm: any adapter, with its processor.
        image: to look at; None for a drawn one.
        question: to ask.
        inputs: what the stock processor returns for the family's prompt with this
            image and question, to hold the stock model's own answer against; None to
            build them from the adapter's tokens and pixels.

    Raises:
        RuntimeError: if the model was wrapped without a processor.
    """
    vlm.processor  # noqa: B018 (raises where there is none)
    picture = default_image() if image is None else images.load(image)
    case = Case(vlm, picture, question, inputs)
    return Report(type(vlm).__name__, tuple(_rows(case)))


def _rows(case: Case) -> Iterator[Row]:
    for name, run in CHECKS.items():
        try:
            yield Row(name, "passed", run(case))
        except NotPossible as reason:
            yield Row(name, "not possible", str(reason))
        except Broken as reason:
            yield Row(name, "failed", str(reason))
        except Exception as error:  # whatever a foreign adapter raises is a finding
            said = (str(error).strip() or "no message").splitlines()[0]
            yield Row(name, "failed", f"{type(error).__name__}: {said}")
