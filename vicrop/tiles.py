"""High-resolution maps: an image looked at tile by tile (paper, section 5)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from PIL import Image

from vicrop import attribution, geometry, images
from vicrop.adapters.base import Adapter
from vicrop.look import Look
from vicrop.types import Map, Region


class Tiled:
    """An image's tiles; only their maps are made, so no answer is run on them.

    Attributes:
        vlm: the model.
        image: upright RGB.
        fit: how a tile is fitted to the model's input; None for the model's way.
        geometry: ``exact`` or ``upstream`` (see ``Adapter.look``).
    """

    def __init__(
        self, vlm: Adapter, image: Image.Image, fit: str | None, geometry: str
    ):
        self.vlm, self.image, self.fit, self.geometry = vlm, image, fit, geometry
        self._looks: dict[int, list[tuple[list[int], Look]]] = {}

    @cached_property
    def tiles(self) -> images.Tiles:
        """Where they are."""
        return images.tile(self.image.size)

    def importance(self, question: str, kind: str) -> Map:
        """The tiles' maps, joined on one grid over the whole image."""
        found: dict[int, np.ndarray] = {}
        for numbers, look in self.looks(attribution.get(kind).tiles):
            found |= dict(zip(numbers, look.maps(question, kind), strict=True))
            look.forget_prompts()
        rows, cols = found[0].shape
        shape = (self.tiles.rows * rows, self.tiles.cols * cols)
        width, height = map(float, self.image.size)
        whole = (0.0, 0.0, width, height)
        parts = (
            geometry.lay(*self._place(found[number], number), whole, shape)
            for number in found
        )
        joined = np.asarray(sum(parts))
        return Map(joined, None if self.geometry == "upstream" else whole)

    def looks(self, most: int) -> list[tuple[list[int], Look]]:
        """Tiles of one size together, at most so many at once; with their numbers."""
        if most not in self._looks:
            self._looks[most] = [
                (numbers, self._look(numbers)) for numbers in self._batches(most)
            ]
        return self._looks[most]

    def _look(self, numbers: list[int]) -> Look:
        parts = [images.crop(self.image, self.tiles.boxes[n]) for n in numbers]
        pictures = [self.vlm.fitted(part, self.fit) for part in parts]
        return Look(self.vlm, pictures, self.geometry, answered=False)

    def _batches(self, most: int) -> list[list[int]]:
        by_size: dict[tuple[int, int], list[int]] = {}
        for number, box in enumerate(self.tiles.boxes):
            by_size.setdefault((box.width, box.height), []).append(number)
        return [
            numbers[start : start + most]
            for numbers in by_size.values()
            for start in range(0, len(numbers), most)
        ]

    def _place(self, values: np.ndarray, number: int) -> tuple[np.ndarray, Region]:
        """A tile's map and where in the original image it lies."""
        if self.geometry == "upstream":
            return values, self._even(number)
        left, top, right, bottom = self.tiles.boxes[number]
        size = (right - left, bottom - top)
        fit = self.fit or self.vlm.fit
        values, (x0, y0, x1, y1) = geometry.place(values, fit, size)
        return values, (left + x0, top + y0, left + x1, top + y1)

    def _even(self, number: int) -> Region:
        """A tile's place if all were of one size, as the authors' code takes them."""
        row, col = divmod(number, self.tiles.cols)
        width = self.image.width / self.tiles.cols
        height = self.image.height / self.tiles.rows
        return (col * width, row * height, (col + 1) * width, (row + 1) * height)

    def close(self) -> None:
        """Free all that is kept."""
        self._looks = {}

    @property
    def held_bytes(self) -> int:
        """Memory that is kept on the model's device, bytes."""
        looks = [look for batches in self._looks.values() for _, look in batches]
        return sum(look.held_bytes for look in looks)
