"""The nouns of the project: frozen, validated, and free of torch."""

import operator
import re
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, field
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np

Stock = Any
"""A transformers model or a part of one: what attributes it has is its own business."""

Size = tuple[int, int]
"""(width, height) of an image, pixels."""

Region = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of the original image; may be fractional."""


class Box(NamedTuple):
    """Pixels of the original image; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, corners: Any) -> Self:
        """A box of four whole numbers, numpy's too; a ValueError if it is none."""
        try:
            left, top, right, bottom = map(operator.index, corners)
        except (TypeError, ValueError):
            left = top = right = bottom = 0
        if left >= right or top >= bottom:
            raise ValueError(
                f"{corners!r} is no box: expected left < right and top < bottom, in "
                "whole pixels"
            )
        return cls(left, top, right, bottom)

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.bottom - self.top

    @property
    def area(self) -> int:
        """Pixels covered."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """(x, y)."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True, eq=False)
class Map:
    """An importance map and where its cells lie in the original image.

    ``np.asarray`` of it gives its values.

    Attributes:
        values: (rows, cols) float32, non-negative and finite, not all zero.
        region: of the original image that the cells cover, evenly; None when the map
            is laid over the whole image, whatever its size.

    Raises:
        ValueError: if ``values`` breaks one of these rules.
    """

    values: np.ndarray
    region: Region | None = None

    def __post_init__(self):
        given = np.asarray(self.values)
        if given.dtype.kind not in "biuf":
            raise ValueError(f"an importance map must be numbers, got {given.dtype}")
        with np.errstate(over="ignore"):  # too large for float32 is infinite: below
            values = np.array(given, np.float32)
        if values.ndim != 2 or values.size == 0:
            raise ValueError(
                f"an importance map must be (rows, cols), got shape {values.shape}"
            )
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(
                f"importance map of shape {values.shape} has {bad} cells that are NaN "
                "or infinite, expected finite ones; was something divided by zero?"
            )
        if (values < 0).any():
            raise ValueError(
                f"importance map has a negative cell ({values.min():g}), expected all "
                "cells at or above 0; clip it or take absolute values first"
            )
        if not values.any():
            raise ValueError(
                f"importance map of shape {values.shape} is zero everywhere, so it "
                "points nowhere; check that the model saw the image"
            )
        object.__setattr__(self, "values", values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        rows, cols = self.values.shape
        return rows, cols


class Part(NamedTuple):
    """A crop, perhaps changed: ``change`` is a key of ``images.CHANGES``."""

    box: Box
    change: str = "none"


ORDERS = ("after", "first", "alone", "same-tokens")


@dataclass(frozen=True)
class Shown:
    """Pictures that are shown beside an image, or in its place.

    ``order`` is ``after`` (the image comes first), ``first`` (the parts do), ``alone``
    (no image) or ``same-tokens`` (the image alone, in as many visual tokens as it and
    its parts would take).
    """

    parts: tuple[Part, ...]
    order: str = "after"

    def __post_init__(self):
        known(self.order, ORDERS, "order of pictures")

    @classmethod
    def of(cls, crop: Any) -> Self | None:
        """What is shown with a box; it or None as it is."""
        if crop is None or isinstance(crop, cls):
            return crop
        return cls((Part(Box.of(crop)),))


@dataclass(frozen=True)
class Answer:
    """What a model said, and what it was shown.

    Attributes:
        text: the final answer.
        plain: the answer without a crop.
        box: the crop that was given beside the image; None if there was none.
        amap: the importance map that chose the box; None for plain and control boxes.
        visible: region of the original image that the model's preprocessing keeps.
        further: crops that were given beside the first.
        features: how sure the plain answer is, and how clear the map (see ``gate``).
        gated: whether a gate kept the plain answer, so that nothing was cropped.
    """

    text: str
    plain: str
    box: Box | None = None
    amap: Map | None = None
    visible: Region | None = None
    further: tuple[Box, ...] = ()
    features: Mapping[str, float] = field(default_factory=dict, compare=False)
    gated: bool = False


@dataclass(frozen=True)
class Work:
    """What the language model has done: the paper's costs beside seconds.

    Attributes:
        passes: calls of it, a decoding step each one too.
        tokens: that went through (a part of) it, images and words.
        image_tokens: those of them that stand for images.
    """

    passes: int = 0
    tokens: int = 0
    image_tokens: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: "Work") -> "Work":
        return Work(*map(operator.sub, astuple(self), astuple(other)))


def check_question(question: str) -> str:
    """The question, if it says something.

    Raises:
        ValueError: if it is no text, empty or blank, or holds half a character.
    """
    if not isinstance(question, str):
        raise ValueError(f"the question is {question!r}, expected text (a str)")
    if not question.strip():
        raise ValueError(
            f"the question is empty ({question!r}); ask something about the image"
        )
    if any("\ud800" <= letter <= "\udfff" for letter in question):
        raise ValueError(
            f"the question {question!r} holds bytes that are no text; write it in UTF-8"
        )
    return question


def known(name: Any, names: Collection[str], what: str) -> str:
    """A name of something, if it is known; a ValueError with those that are."""
    if not isinstance(name, str) or name not in names:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(names)}")
    return name


def whole(number: Any, name: str, least: int = 0) -> int:
    """A whole number that is large enough, if it is one; a ValueError with its name."""
    if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
        raise ValueError(f"{name} is {number!r}, expected a whole number from {least}")
    return int(number)


JOINS = "\n\u200c\u200d\u200e\u200f"  # lines; what joins and turns letters


def printable(said: object) -> str:
    r"""A text of others, all of which a reader is to see.

    Space is blanks and line breaks; what steers a screen is spelled out.

    >>> print(printable("a\x1b[2Jb\u202ec\td"))
    a\x1b[2Jb\u202ec d
    """
    spaced = re.sub(r"[^\S\n]", " ", str(said))
    return "".join(
        one if one.isprintable() or one in JOINS else repr(one)[1:-1] for one in spaced
    )


def markdown(said: object) -> str:
    """A text of others as a line of Markdown, of which nothing is markup."""
    line = printable(said).replace("\n", " ")
    return re.sub(r"[\\`*_\[\]<>|$&~#]", r"\\\g<0>", line)
