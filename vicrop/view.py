"""A View: an image that a model has looked at once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from PIL import Image

from vicrop import attribution, capture, geometry, images
from vicrop.adapters.base import GENERAL_QUESTION, Adapter, Prefix, Prompt, Seen
from vicrop.types import Answer, Box, Map


class View:
    """Asks and looks without encoding the image again.

    Kept: the image's features, its prefix in the language model's cache, the general
    prompt's map of each kind, and the plain answer of each question.
    """

    def __init__(self, vlm: Adapter, image: Image.Image):
        self.vlm, self.image = vlm, image
        self._general: dict[str, np.ndarray] = {}
        self._plain: dict[tuple[str, int], str] = {}

    @cached_property
    def seen(self) -> Seen:
        """The image through the vision tower and the connector."""
        return self.vlm.see(self.vlm.pixels(self.image))

    @cached_property
    def prefix(self) -> Prefix:
        """The image's tokens in the language model's cache."""
        ids = self.vlm.token_ids(GENERAL_QUESTION, [self.seen])
        return self.vlm.prefix(ids, self.seen)

    def prompt(self, question: str, crop: Box | None = None) -> Prompt:
        """A question about the image, or about the image and a crop of it."""
        seen = [self.seen]
        if crop is not None:
            part = images.crop(self.image, crop)
            seen.append(self.vlm.see(self.vlm.pixels(part)))
        return self.vlm.prompt(question, seen, self.prefix)

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
        return Answer(text, plain, crop, visible=self.vlm.visible(self.image.size))

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
            method: key of ``attribution.MAPS``.

        Raises:
            ValueError: for an unknown method, or a map that is not finite.
        """
        kind = attribution.get(method)
        about = kind.of_prompt(self.vlm, self.prompt(question))
        general = None
        if kind.needs_general:
            if method not in self._general:
                prompt = self.prompt(GENERAL_QUESTION)
                self._general[method] = kind.of_prompt(self.vlm, prompt)
            general = self._general[method]
        return self._map(kind.combine(about, general, self.image))

    def layer_maps(self, question: str, method: str = "rel-att") -> list[Map]:
        """An attention map for every layer, in one pass a prompt.

        Args:
            question: the question.
            method: ``rel-att`` or ``raw-att``.
        """
        layers = list(range(len(self.vlm.attention)))

        def read(text: str) -> np.ndarray:
            return attribution.attention_to_image(self.vlm, self.prompt(text), layers)

        combine = attribution.get(method).combine
        values = combine(read(question), read(GENERAL_QUESTION), self.image)
        return [self._map(layer) for layer in values]

    def _map(self, values: np.ndarray) -> Map:
        return Map(values, geometry.region(self.vlm.fit, self.image.size))

    @property
    def held_bytes(self) -> int:
        """Memory that this view keeps on the model's device, bytes."""
        kept = self.seen.features
        return capture.cache_bytes(self.prefix.cache) + kept.numel() * kept.itemsize
