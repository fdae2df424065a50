"""Fields that rows of several data sets have: texts, boxes, lettered options."""

import ast
import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from vicrop.types import Region

Text = Annotated[str, Field(min_length=1)]
"""A text that may not be empty."""

Ten = Annotated[tuple[str, ...], Field(min_length=10, max_length=10)]
"""What ten people answered."""


def printed(value: str) -> Any:
    """A Python value from the text that ``print`` makes of it.

    Raises:
        ValueError: if it is no such text.
    """
    try:
        return ast.literal_eval(value)
    # What it raises, by its documentation.
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise ValueError("not a printed Python list; is it this file?") from None


def from_xywh(box: Sequence[float], where: str) -> Region:
    """(left, top, right, bottom) of a box given as (x, y, width, height).

    Raises:
        ValueError: if it is not four finite numbers with a positive size.
    """
    x, y, width, height = _four_numbers(box, where)
    if not (width > 0 and height > 0):
        raise ValueError(
            f"{where}: {list(box)} is not [x, y, width, height] with a width and a "
            "height above 0"
        )
    return x, y, x + width, y + height


def from_ltrb(box: Sequence[float], where: str) -> Region:
    """A box given as (left, top, right, bottom), checked.

    Raises:
        ValueError: if it is not four finite numbers in that order.
    """
    left, top, right, bottom = _four_numbers(box, where)
    if not (left < right and top < bottom):
        raise ValueError(
            f"{where}: {list(box)} is not [left, top, right, bottom]; is it "
            "[x, y, width, height]?"
        )
    return left, top, right, bottom


def _four_numbers(box: Sequence[float], where: str) -> Sequence[float]:
    numbers = all(isinstance(side, int | float) for side in box)
    if len(box) != 4 or not numbers or not all(map(math.isfinite, box)):
        raise ValueError(f"{where}: {list(box)} is not four finite numbers")
    return box


def lettered(question: str, options: Sequence[str]) -> str:
    """A multiple choice as upstream's V* rows have it: a line for each option.

    The closing line is needed: the authors' scorer takes the last line for one.
    """
    lines = [f"({letter(n)}) {option}" for n, option in enumerate(options)]
    return "\n".join([question, *lines, ASK_LETTER])


ASK_LETTER = "Answer with the option's letter from the given choices directly."
"""Closing line of V*Bench's own rows."""


def letter(number: int) -> str:
    """A, B, C, … from 0."""
    return chr(ord("A") + number)


def check_letter(label: str, options: Sequence[str], where: str) -> str:
    """The label, which must be the letter of an option.

    Raises:
        ValueError: if it is none.
    """
    letters = [letter(number) for number in range(len(options))]
    if label not in letters:
        raise ValueError(
            f"{where}: {label!r} is no letter of its options, {', '.join(letters)}"
        )
    return label
