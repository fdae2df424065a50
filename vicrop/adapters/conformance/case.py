"""What the checks of an adapter look at, and the registry that they are in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image

from vicrop.adapters.adapter import Adapter
from vicrop.prompts import Prompt, Seen

TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Relative to the range of what is compared; the paths round differently."""
CORNERS = {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1)}


class Broken(Exception):
    """A promise that the adapter does not keep."""


class NotPossible(Exception):
    """A promise that cannot be looked at with this model."""


def expect(kept: bool, otherwise: str) -> None:
    """Fail the check, saying why, unless the promise is kept."""
    if not kept:
        raise Broken(otherwise)


@dataclass
class Case:
    """What the checks look at; each part is made once, when it is first needed.

    Attributes:
        vlm: the adapter.
        image: upright RGB.
        question: the question.
        inputs: what the stock processor returns for them, if the caller gave it.
        before: what a look must leave as it was, as it was at the start.
    """

    vlm: Adapter
    image: Image.Image
    question: str
    inputs: Any = None
    before: dict[str, tuple] = field(init=False)

    def __post_init__(self):
        self.before = state(self.vlm)

    @cached_property
    def seen(self) -> Seen:
        """The image, looked at."""
        return self.vlm.look_at([self.image])

    @cached_property
    def prompt(self) -> Prompt:
        """The question about the image."""
        return self.vlm.prompt(self.question, [self.seen])

    def marked(self, corner: str) -> Image.Image:
        """The image with a bright square in a corner of what the model sees."""
        left, top, right, bottom = self.vlm.visible(self.image.size)
        x, y = CORNERS[corner]
        width, height = (right - left) / 4, (bottom - top) / 4
        place = (round(left + 3 * width * x), round(top + 3 * height * y))
        picture = self.image.copy()
        picture.paste((255, 255, 255), (*place, *_end(place, width, height)))
        return picture

    @property
    def tolerance(self) -> float:
        """Of what is compared, relative to its range."""
        return TOLERANCE[self.vlm.dtype]


Check = Callable[[Case], str]
CHECKS: dict[str, Check] = {}


def promise(name: str) -> Callable[[Check], Check]:
    """Decorator: put a check into ``CHECKS``."""

    def keep(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return keep


def default_image(size: tuple[int, int] = (448, 320)) -> Image.Image:
    """Seeded blocks of colour, wider than high, so that no cell is like another."""
    colours = np.random.default_rng(0).integers(30, 200, (10, 14, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


def _end(start: tuple[int, int], width: float, height: float) -> tuple[int, int]:
    """The lower right corner of a square of at least one pixel."""
    return start[0] + max(round(width), 1), start[1] + max(round(height), 1)


def state(vlm: Adapter) -> dict[str, tuple]:
    """What a look must leave as it was, for each module."""
    return {
        name: (
            id(getattr(module, "config", None)),
            getattr(getattr(module, "config", None), "_attn_implementation", None),
            module.training,
            tuple(p.requires_grad for p in module.parameters(recurse=False)),
            any(p.grad is not None for p in module.parameters(recurse=False)),
        )
        for name, module in vlm.model.named_modules()
    }


def hooks(vlm: Adapter) -> dict[str, tuple]:
    """How many hooks each module has.

    To be compared from the second look on: at the first, transformers 5 leaves some of
    its own on vision towers.
    """
    return {
        name: (
            len(module._forward_hooks) + len(module._forward_pre_hooks),
            len(module._backward_hooks) + len(module._backward_pre_hooks),
        )
        for name, module in vlm.model.named_modules()
    }
