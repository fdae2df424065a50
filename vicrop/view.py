"""A View: an image that a model has looked at once. Look, map, crop, ask."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vicrop import attribution, geometry, images
from vicrop.adapters.base import GENERAL_QUESTION, Adapter
from vicrop.look import Look
from vicrop.prompts import Prompt, Seen
from vicrop.tiles import Tiled
from vicrop.types import Answer, Box, Map

GEOMETRIES = ("exact", "upstream")


class View:
    """Asks and looks without encoding the image again.

    Kept: the image's features, its prefix in the language model's cache, the last
    question as far as it was run, the general prompt's map of each kind, maps made and
    what was answered. ``close``, or leaving a ``with`` block, frees all of it.

    Attributes:
        vlm: the model.
        image: upright RGB.
        fit: how the image is fitted to the model's input.
        geometry: ``exact`` or ``upstream`` (see ``Adapter.look``).
        whole: the image as one picture.
        tiled: the image tile by tile.
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
        images.check_shape(image.size, vlm.patch_px)
        self.vlm, self.image, self.geometry = vlm, image, geometry
        self._fit = fit
        self.whole = Look(vlm, [vlm.fitted(image, fit)], geometry)
        self.tiled = Tiled(vlm, image, fit, geometry)
        self._said: dict[tuple[str, tuple | None, int], str] = {}
        self._maps: dict[tuple[str, str], Map] = {}

    @property
    def fit(self) -> str:
        """How the image is fitted to the model's input."""
        return self._fit or self.vlm.fit

    @property
    def seen(self) -> Seen:
        """The image through the vision tower."""
        return self.whole.seen

    @property
    def tiles(self) -> images.Tiles:
        """Boxes that the high-resolution variants look at one by one."""
        return self.tiled.tiles

    def prompt(self, question: str, crop: Box | None = None) -> Prompt:
        """A question about the image, or about the image and a crop of it."""
        if crop is None:
            return self.whole.ask(question)
        return self.whole.prompt(question, self.vlm.look_at([self.part(crop)]))

    def part(self, crop: Box) -> Image.Image:
        """A crop as it is given to the processor."""
        return self.vlm.fitted(images.crop(self.image, crop), self._fit)

    def ask(
        self,
        question: str,
        crop: Box | None = None,
        max_new_tokens: int = 20,
        lockstep: bool = False,
    ) -> Answer:
        """The model's greedy answer from the image, or from [image, crop].

        Args:
            question: the question, without the prompt around it.
            crop: a box in pixels of the original image.
            max_new_tokens: at most so many.
            lockstep: decode both answers side by side: fewer steps on a GPU. In half
                precision a batch rounds otherwise, so that the plain answer may depend
                on the crop; hence not the rule.

        Raises:
            ValueError: for an empty question or a box that leaves the image.
        """
        if lockstep and crop is not None:
            return self._ask_both(question, crop, max_new_tokens)
        plain, text = (
            self._say(question, shown, max_new_tokens) for shown in (None, crop)
        )
        visible = self.vlm.visible(self.image.size, self._fit)
        return Answer(text, plain, crop, visible=visible)

    def _ask_both(self, question: str, crop: Box, max_new_tokens: int) -> Answer:
        prompts = [self.prompt(question), self.prompt(question, crop)]
        starts = [self.vlm.start(prompt) for prompt in prompts]
        plain, text = map(self.vlm.text, self.vlm.decode(starts, max_new_tokens))
        visible = self.vlm.visible(self.image.size, self._fit)
        return Answer(text, plain, crop, visible=visible)

    def _say(self, question: str, crop: Box | None, max_new_tokens: int) -> str:
        """An answer, said once: several methods may choose the same crop."""
        key = (question, crop and tuple(crop), max_new_tokens)
        if key not in self._said:
            prompt = self.prompt(question, crop)
            self._said[key] = self.vlm.text(self.vlm.generate(prompt, max_new_tokens))
        return self._said[key]

    def importance(self, question: str, method: str = "rel-att") -> Map:
        """Where the model looks for the answer.

        The pass that is made for it is the plain answer's too (and the other way
        round): asking the same question next costs its decoding alone.

        Args:
            question: the question (a short form of it, where the data has one).
            method: key of ``attribution.MAPS``; with ``-high`` after it, the image is
                looked at tile by tile (paper, section 5).

        Raises:
            ValueError: for an unknown method, or a map that is not finite.
        """
        if (question, method) not in self._maps:
            kind, high = attribution.split(method)
            made = self.tiled.importance if high else self._whole_map
            self._maps[question, method] = made(question, kind)
        return self._maps[question, method]

    def _whole_map(self, question: str, kind: str) -> Map:
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
        general = self._all_layers(GENERAL_QUESTION) if kind.needs_general else None
        values = kind.combine(self._all_layers(question), general)
        return [self._map(layer) for layer in values]

    def _all_layers(self, question: str) -> np.ndarray:
        """(layers, rows, cols) attention to the image."""
        layers = range(len(self.vlm.attention))
        prompt = self.whole.prompt(question)
        return attribution.attention_to_image(self.vlm, prompt, layers)[:, 0]

    def _map(self, values: np.ndarray) -> Map:
        if self.geometry == "upstream":
            return Map(values)
        return Map(*geometry.place(values, self.fit, self.image.size))

    @property
    def held_bytes(self) -> int:
        """Memory that this view keeps on the model's device, bytes."""
        return self.whole.held_bytes + self.tiled.held_bytes

    def close(self) -> None:
        """Free all that is kept; what is asked next is looked at anew."""
        self.whole.close()
        self.tiled.close()
        self._said, self._maps = {}, {}

    def __enter__(self) -> View:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
