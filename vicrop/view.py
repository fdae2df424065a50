"""A View: an image that a model has looked at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from vicrop import attribution, capture, geometry, images
from vicrop.adapters.base import GENERAL_QUESTION, Adapter
from vicrop.adapters.parts import Prefix, Prompt, Seen, Words
from vicrop.types import Answer, Box, Map, Region

GEOMETRIES = ("exact", "upstream")
MOST_STRETCHED = 200
"""Qwen2.5-VL's processor takes no longer image; the others would need gigabytes."""


class Look:
    """Pictures of one size that a model looks at together, and what it keeps of them.

    Attributes:
        vlm: the model.
        pictures: as they are given to the processor.
        geometry: ``exact`` or ``upstream`` (see ``Adapter.look``).
    """

    def __init__(
        self,
        vlm: Adapter,
        pictures: Sequence[Image.Image],
        geometry: str = "exact",
    ):
        self.vlm, self.pictures, self.geometry = vlm, list(pictures), geometry
        self._prefixes: dict[Hashable, Prefix] = {}
        self._general: dict[Callable, np.ndarray] = {}

    @cached_property
    def seen(self) -> Seen:
        """The pictures through the vision tower (and the connector, if it can)."""
        return self.vlm.look_at(self.pictures)

    def prompt(self, question: str, crop: Seen | None = None) -> Prompt:
        """A question about the pictures, or about one and a crop of it."""
        seen = [self.seen] if crop is None else [self.seen, crop]
        words = self.vlm.checked_words(question, seen)
        with torch.no_grad():
            return self.vlm.follow(words, seen, self._prefix(words))

    def _prefix(self, words: Words) -> Prefix:
        """Kept while the words' connector reads the same (see ``prefix_key``)."""
        key = self.vlm.prefix_key(words)
        if key not in self._prefixes:
            # Where the question matters, keep two: its own and the general one.
            kept = list(self._prefixes.items())[-1:]
            made = self.vlm.prefix(words, self.seen)
            self._prefixes = dict([*kept, (key, made)])
        return self._prefixes[key]

    def maps(self, question: str, method: str) -> np.ndarray:
        """(pictures, rows, cols) importance for a question."""
        kind = attribution.get(method)
        about, general = kind.of_prompt(self.vlm, self.prompt(question)), None
        if kind.needs_general:
            if kind.of_prompt not in self._general:
                prompt = self.prompt(GENERAL_QUESTION)
                self._general[kind.of_prompt] = kind.of_prompt(self.vlm, prompt)
            general = self._general[kind.of_prompt]
        shown = self.pictures
        if self.geometry == "exact":
            shown = [self.vlm.shown(picture) for picture in shown]
        return kind.combine(about, general, shown, self.seen.grid)

    def forget_prefixes(self) -> None:
        """Free the keys and values; features and general maps stay."""
        self._prefixes = {}

    @property
    def held_bytes(self) -> int:
        """Memory that is kept on the model's device, bytes."""
        caches = sum(capture.cache_bytes(p.cache) for p in self._prefixes.values())
        return caches + self.seen.features.numel() * self.seen.features.itemsize


class View:
    """Asks and looks without encoding the image again.

    Kept: the image's features, its prefix in the language model's cache, the general
    prompt's map of each kind, and the plain answer of each question.

    Attributes:
        vlm: the model.
        image: upright RGB.
        fit: how the image is fitted to the model's input.
        geometry: ``exact`` or ``upstream`` (see ``Adapter.look``).
        whole: the image as one picture.
    """

    def __init__(
        self,
        vlm: Adapter,
        image: Image.Image,
        fit: str | None = None,
        geometry: str = "exact",
    ):
        if geometry not in GEOMETRIES:
            known = ", ".join(GEOMETRIES)
            raise ValueError(f"unknown geometry {geometry!r}; known: {known}")
        if min(image.size) < vlm.patch_px:
            raise ValueError(
                f"image of {image.width}×{image.height} pixels is smaller than one "
                f"patch of the model ({vlm.patch_px} pixels); enlarge it first"
            )
        if max(image.size) > MOST_STRETCHED * min(image.size):
            raise ValueError(
                f"image of {image.width}×{image.height} pixels: one side is more than "
                f"{MOST_STRETCHED} times the other; cut it into pieces first"
            )
        self.vlm, self.image, self.geometry = vlm, image, geometry
        self._fit = fit
        self.whole = Look(vlm, [vlm.fitted(image, fit)], geometry)
        self._plain: dict[tuple[str, int], str] = {}
        self._tile_looks: dict[int, list[tuple[list[int], Look]]] = {}

    @property
    def fit(self) -> str:
        """How the image is fitted to the model's input."""
        return self._fit or self.vlm.fit

    @property
    def seen(self) -> Seen:
        """The image through the vision tower."""
        return self.whole.seen

    def prompt(self, question: str, crop: Box | None = None) -> Prompt:
        """A question about the image, or about the image and a crop of it."""
        if crop is None:
            return self.whole.prompt(question)
        part = self.vlm.fitted(images.crop(self.image, crop), self._fit)
        return self.whole.prompt(question, self.vlm.look_at([part]))

    def ask(
        self, question: str, crop: Box | None = None, max_new_tokens: int = 20
    ) -> Answer:
        """The model's greedy answer from the image, or from [image, crop].

        Args:
            question: the question, without the prompt around it.
            crop: a box in pixels of the original image.
            max_new_tokens: at most so many.

        Raises:
            ValueError: for an empty question or a box that leaves the image.
        """
        plain = self._ask_plain(question, max_new_tokens)
        text = plain
        if crop is not None:
            prompt = self.prompt(question, crop)
            text = self.vlm.text(self.vlm.generate(prompt, max_new_tokens))
        visible = self.vlm.visible(self.image.size, self._fit)
        return Answer(text, plain, crop, visible=visible)

    def _ask_plain(self, question: str, max_new_tokens: int) -> str:
        key = (question, max_new_tokens)
        if key not in self._plain:
            tokens = self.vlm.generate(self.prompt(question), max_new_tokens)
            self._plain[key] = self.vlm.text(tokens)
        return self._plain[key]

    def importance(self, question: str, method: str = "rel-att") -> Map:
        """Where the model looks for the answer.

        Args:
            question: the question (a short form of it, where the data has one).
            method: key of ``attribution.MAPS``; with ``-high`` after it, the image is
                looked at tile by tile (paper, section 5).

        Raises:
            ValueError: for an unknown method, or a map that is not finite.
        """
        kind, high = attribution.split(method)
        if high:
            return self._tiled(question, kind)
        return self._map(self.whole.maps(question, kind)[0])

    def layer_maps(self, question: str, method: str = "rel-att") -> list[Map]:
        """An attention map for every layer, in one pass a prompt.

        Args:
            question: the question.
            method: ``rel-att``, ``raw-att`` or ``floor-att``.

        Raises:
            ValueError: for a map that is not one layer's attention.
        """
        kind = attribution.get(method)
        if kind.of_prompt is not attribution.attention_to_image:
            raise ValueError(
                f"{method} is no attention map of one layer; use rel-att, raw-att or "
                "floor-att"
            )
        layers = list(range(len(self.vlm.attention)))

        def read(text: str) -> np.ndarray:
            prompt = self.prompt(text)
            return attribution.attention_to_image(self.vlm, prompt, layers)[:, 0]

        general = read(GENERAL_QUESTION) if kind.needs_general else None
        values = kind.combine(read(question), general)
        return [self._map(layer) for layer in values]

    def _map(self, values: np.ndarray) -> Map:
        if self.geometry == "upstream":
            return Map(values)
        return Map(*geometry.place(values, self.fit, self.image.size))

    def _tiled(self, question: str, kind: str) -> Map:
        """The tiles' maps, joined on one grid over the whole image."""
        found: dict[int, np.ndarray] = {}
        for numbers, look in self._looks_at_tiles(attribution.get(kind).tiles):
            found |= dict(zip(numbers, look.maps(question, kind), strict=True))
            look.forget_prefixes()
        rows, cols = found[0].shape
        shape = (self.tiles.rows * rows, self.tiles.cols * cols)
        whole = (0.0, 0.0, *map(float, self.image.size))
        parts = (
            geometry.lay(*self._place_tile(found[number], number), whole, shape)
            for number in found
        )
        return Map(sum(parts), None if self.geometry == "upstream" else whole)

    @cached_property
    def tiles(self) -> images.Tiles:
        """Boxes that the high-resolution variants look at one by one."""
        return images.tile(self.image.size)

    def _looks_at_tiles(self, most: int) -> list[tuple[list[int], Look]]:
        """Tiles of one size together, at most so many at once; with their numbers."""
        if most not in self._tile_looks:
            self._tile_looks[most] = [
                (
                    numbers,
                    Look(self.vlm, [self._tile(n) for n in numbers], self.geometry),
                )
                for numbers in self._batches(most)
            ]
        return self._tile_looks[most]

    def _batches(self, most: int) -> list[list[int]]:
        by_size: dict[tuple[int, int], list[int]] = {}
        for number, box in enumerate(self.tiles.boxes):
            by_size.setdefault((box.width, box.height), []).append(number)
        return [
            numbers[start : start + most]
            for numbers in by_size.values()
            for start in range(0, len(numbers), most)
        ]

    def _tile(self, number: int) -> Image.Image:
        part = images.crop(self.image, self.tiles.boxes[number])
        return self.vlm.fitted(part, self._fit)

    def _place_tile(self, values: np.ndarray, number: int) -> tuple[np.ndarray, Region]:
        """A tile's map and where in the original image it lies."""
        if self.geometry == "upstream":
            return values, self._even(number)
        left, top, right, bottom = self.tiles.boxes[number]
        size = (right - left, bottom - top)
        values, (x0, y0, x1, y1) = geometry.place(values, self.fit, size)
        return values, (left + x0, top + y0, left + x1, top + y1)

    def _even(self, number: int) -> Region:
        """A tile's place if all were of one size, as the authors' code takes them."""
        row, col = divmod(number, self.tiles.cols)
        width = self.image.width / self.tiles.cols
        height = self.image.height / self.tiles.rows
        return (col * width, row * height, (col + 1) * width, (row + 1) * height)

    @property
    def held_bytes(self) -> int:
        """Memory that this view keeps on the model's device, bytes."""
        looks = [self.whole]
        for batches in self._tile_looks.values():
            looks += [look for _, look in batches]
        return sum(look.held_bytes for look in looks)
