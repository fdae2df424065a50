"""Pictures that a model looks at together, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vicrop import attribution
from vicrop import cache as kept
from vicrop.adapters.base import GENERAL_QUESTION, Adapter
from vicrop.attribution import Attribution
from vicrop.prompts import Prefix, Prompt, Seen, Words


class Look:
    """Pictures of one size that a model looks at together, and what it keeps of them.

    Kept: their features, their prefix in the language model's cache, the last question
    as far as it was run, and the general prompt's map of each kind.

    Attributes:
        vlm: the model.
        pictures: as they are given to the processor.
        geometry: ``exact`` or ``upstream`` (see ``Adapter.look``).
        answered: whether questions will be answered, or only maps made: then nothing
            is run above the map's layer.
    """

    def __init__(
        self,
        vlm: Adapter,
        pictures: Sequence[Image.Image],
        geometry: str = "exact",
        answered: bool = True,
    ):
        self.vlm, self.pictures, self.geometry = vlm, list(pictures), geometry
        self.answered = answered
        self._seen: Seen | None = None
        self._prefixes: dict[Hashable, Prefix] = {}
        self._asked: tuple[str, Prompt] | None = None
        self._general: dict[Callable, np.ndarray] = {}

    @property
    def seen(self) -> Seen:
        """The pictures through the vision tower (and the connector, if it can)."""
        if self._seen is None:
            self._seen = self.vlm.look_at(self.pictures)
        return self._seen

    def ask(self, question: str) -> Prompt:
        """A question about the pictures; the last one is kept as far as it was run."""
        if self._asked is None or self._asked[0] != question:
            self._asked = None  # freed before the next one is run
            self._asked = question, self.prompt(question, answered=self.answered)
        return self._asked[1]

    def prompt(
        self, question: str, crop: Seen | None = None, answered: bool = True
    ) -> Prompt:
        """A question about the pictures, or about one and a crop of it; not run yet."""
        return self.follow(self.words(question, crop), crop, answered=answered)

    def words(self, question: str, crop: Seen | None = None) -> Words:
        """The tokens of such a question."""
        return self.vlm.checked_words(question, self._shown(crop))

    @torch.no_grad()
    def follow(
        self,
        words: Words,
        crop: Seen | None = None,
        tokens: Sequence[Tensor] | None = None,
        answered: bool = True,
    ) -> Prompt:
        """``prompt`` from its words, and the crop's image tokens if made already."""
        prefix = self._prefix(words, answered)
        prompt = self.vlm.follow(words, self._shown(crop), prefix, tokens)
        prompt.answered = answered
        return prompt

    def _shown(self, crop: Seen | None) -> list[Seen]:
        return [self.seen] if crop is None else [self.seen, crop]

    def _prefix(self, words: Words, answered: bool) -> Prefix:
        """Kept while the words' connector reads the same (see ``prefix_key``)."""
        key = self.vlm.prefix_key(words)
        if key not in self._prefixes:
            # Where the question matters, keep two: its own and the general one.
            self._prefixes = dict(list(self._prefixes.items())[-1:])
            shared = key is None and self.answered
            depth = None if answered or shared else self.vlm.layer + 1
            self._prefixes[key] = self.vlm.begin(words, self.seen, depth)
        return self._prefixes[key]

    def maps(self, question: str, method: str) -> np.ndarray:
        """(pictures, rows, cols) importance for a question."""
        kind, general = attribution.get(method), None
        with self._graph(kind):
            if kind.needs_general:
                general = self._of_general(kind)
            about = kind.of_prompt(self.vlm, self.ask(question))
        shown = self.pictures
        if self.geometry == "exact":
            shown = [self.vlm.shown(picture) for picture in shown]
        return kind.combine(about, general, shown, self.seen.grid)

    def _of_general(self, kind: Attribution) -> np.ndarray:
        """What the general prompt says of the image, once for all questions."""
        if kind.of_prompt not in self._general:
            prompt = self.prompt(GENERAL_QUESTION, answered=False)
            self._general[kind.of_prompt] = kind.of_prompt(self.vlm, prompt)
        return self._general[kind.of_prompt]

    @contextmanager
    def _graph(self, kind: Attribution) -> Iterator[None]:
        """Keep the way from the pixels for the body, if that kind of map needs it."""
        if kind.from_pixels and self._seen is None:
            self._seen = self.vlm.look_with_graph(self.pictures)
        elif kind.from_pixels:
            self.seen.graph = self.vlm.graph(self.seen)
        try:
            yield
        finally:
            # Gigabytes of a 7B model, while a map's arrays are kilobytes.
            self.seen.graph = None

    def forget_prompts(self) -> None:
        """Free keys and values; features and general maps stay."""
        self._prefixes, self._asked = {}, None

    def close(self) -> None:
        """Free all that is kept."""
        self.forget_prompts()
        self._seen, self._general = None, {}

    @property
    def held_bytes(self) -> int:
        """Memory that is kept on the model's device, bytes."""
        caches = [prefix.cache for prefix in self._prefixes.values()]
        if self._asked is not None and self._asked[1].start is not None:
            caches.append(self._asked[1].start.cache)
        held = sum(map(kept.size, caches))
        if self._seen is not None:
            held += self._seen.features.nbytes + self._seen.pixels.nbytes
        return held
