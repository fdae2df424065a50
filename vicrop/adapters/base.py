"""What a model family must offer, and the registry of models.

A new family is one file with a subclass of ``Adapter`` and one line in ``FAMILIES``;
a new model is one line in ``MODELS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import DynamicCache

from vicrop import capture, geometry, images
from vicrop.types import Region, check_question

if TYPE_CHECKING:
    from vicrop.view import View

GENERAL_QUESTION = "Write a general description of the image."
"""The paper's q', whose map divides out what is looked at whatever is asked."""


@dataclass(eq=False)
class Seen:
    """An image as the model keeps it once it has looked.

    Attributes:
        pixels: the vision tower's input, as the processor gives it.
        features: (1, tokens, hidden) image tokens for the language model.
        grid: (rows, cols) of the importance map.
    """

    pixels: Tensor
    features: Tensor
    grid: tuple[int, int]


@dataclass(eq=False)
class Prefix:
    """The image's tokens, run once through the language model.

    Attributes:
        cache: keys and values; never grown, only branched.
        ids: (1, tokens) that it holds, up to the image's last.
        span: where the image's tokens are among them.
    """

    cache: DynamicCache
    ids: Tensor
    span: slice


@dataclass(eq=False)
class Prompt:
    """A prompt as a kept prefix and the embeddings that are still to be run.

    Attributes:
        prefix: of the (first) image.
        suffix: (1, tokens, hidden) embeddings of what follows it.
        grid: (rows, cols) of the importance map.
    """

    prefix: Prefix
    suffix: Tensor
    grid: tuple[int, int]


class Adapter(ABC):
    """A model and its processor behind the few verbs that the method needs.

    Attributes:
        family: key in ``FAMILIES``.
        model: a transformers model, in evaluation mode.
        layer: of the map, counted from 0.
        crop_px: side of the vision input, and of the smallest crop, pixels.
    """

    family: ClassVar[str]
    architecture: ClassVar[str]
    default_layer: ClassVar[int]

    def __init__(
        self, model: nn.Module, processor: Any = None, layer: int | None = None
    ):
        found = type(model).__name__
        if found != self.architecture:
            raise ValueError(
                f"family {self.family!r} is {self.architecture}, but the model is a "
                f"{found}; pass the family that fits it (known: {', '.join(FAMILIES)})"
            )
        self.model, self._processor = model.eval(), processor
        self.layer = self.default_layer if layer is None else layer
        if not 0 <= self.layer < len(self.attention):
            raise ValueError(
                f"layer {self.layer} is not one of this model's layers, counted from "
                f"0 to {len(self.attention) - 1}"
            )

    @classmethod
    def model_class(cls) -> type[nn.Module]:
        """The transformers class of the family's architecture."""
        return getattr(transformers, cls.architecture)

    # What a family says.

    @property
    @abstractmethod
    def attention(self) -> list[nn.Module]:
        """The language model's self-attention modules, lowest first."""

    @property
    @abstractmethod
    def crop_px(self) -> int:
        """Side of the vision input, pixels."""

    @property
    @abstractmethod
    def fit(self) -> str:
        """How the processor fits an image (see ``geometry.region``)."""

    @abstractmethod
    def pixels(self, image: Image.Image) -> Tensor:
        """The vision tower's input for an upright RGB image."""

    @abstractmethod
    def see(self, pixels: Tensor) -> Seen:
        """Run the vision tower and the connector."""

    @abstractmethod
    def token_ids(self, question: str, seen: list[Seen]) -> Tensor:
        """(1, tokens) of the whole prompt, image placeholders expanded."""

    @abstractmethod
    def image_span(self, ids: Tensor, seen: Seen) -> slice:
        """Where the first image's tokens are."""

    @abstractmethod
    def embed(self, ids: Tensor, seen: list[Seen]) -> Tensor:
        """(1, tokens, hidden) embeddings, image tokens filled in from ``seen``."""

    @abstractmethod
    def hidden(self, embeddings: Tensor, cache: DynamicCache) -> Tensor:
        """Language model's last hidden states (1, tokens, hidden); grows ``cache``."""

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary."""

    # What all families share.

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the model's weights."""
        return next(self.model.parameters()).dtype

    @property
    def processor(self) -> Any:
        """The model's processor.

        Raises:
            RuntimeError: if the model was wrapped without one.
        """
        if self._processor is None:
            raise RuntimeError(
                "this model was wrapped without a processor, so it can only take "
                "ready-made inputs; pass processor= to vicrop.adapters.wrap"
            )
        return self._processor

    @property
    def tokenizer(self):
        """The processor's tokenizer."""
        return self.processor.tokenizer

    def look(self, image: images.ImageLike) -> View:
        """Encode an image once, for any number of questions."""
        from vicrop.view import View

        return View(self, images.load(image))

    def visible(self, image_size: tuple[int, int]) -> Region:
        """The part of an image of (width, height) that reaches the model."""
        return geometry.visible(self.fit, image_size)

    def prefix(self, ids: Tensor, seen: Seen) -> Prefix:
        """Run a prompt's tokens up to the end of its (first) image."""
        span = self.image_span(ids, seen)
        head = ids[:, : span.stop]
        cache = DynamicCache(config=self.model.config.get_text_config())
        with torch.no_grad():
            self.hidden(self.embed(head, [seen]), cache)
        return Prefix(cache, head, span)

    def prompt(self, question: str, seen: list[Seen], prefix: Prefix | None) -> Prompt:
        """A question about one image, or about an image and its crop."""
        ids = self.token_ids(check_question(question), seen)
        return self.follow(ids, seen, prefix or self.prefix(ids, seen[0]))

    def follow(self, ids: Tensor, seen: list[Seen], prefix: Prefix) -> Prompt:
        """A prompt's tokens as what follows a kept prefix.

        Raises:
            RuntimeError: if the tokens do not begin with the prefix's.
        """
        length = prefix.ids.shape[1]
        if not torch.equal(ids[:, :length], prefix.ids):
            raise RuntimeError(
                "the prompt does not begin with the kept image tokens; was the view "
                "made with another prompt or processor?"
            )
        with torch.no_grad():
            suffix = self.embed(ids[:, length:], seen[1:])
        return Prompt(prefix, suffix, seen[0].grid)

    def read(self, inputs: Any, prefix: Prefix | None = None) -> Prompt:
        """A prompt from what the processor returns (input_ids, pixel_values, …)."""
        ids = inputs["input_ids"].to(self.device)
        seen = self.see(inputs["pixel_values"].to(self.device, self.dtype))
        return self.follow(ids, [seen], prefix or self.prefix(ids, seen))

    def run(self, prompt: Prompt) -> tuple[Tensor, DynamicCache]:
        """Last hidden states (1, tokens, hidden) of a suffix, and its cache."""
        cache = capture.branch(prompt.prefix.cache)
        return self.hidden(prompt.suffix, cache), cache

    @torch.no_grad()
    def generate(self, prompt: Prompt, max_new_tokens: int = 20) -> list[int]:
        """Greedy continuation, up to and without the end token."""
        hidden, cache = self.run(prompt)
        ends = self.end_ids
        tokens: list[int] = []
        while True:
            token = int(self.logits(hidden[:, -1:]).argmax())
            if token in ends:
                return tokens
            tokens.append(token)
            if len(tokens) == max_new_tokens:
                return tokens
            step = torch.tensor([[token]], device=self.device)
            hidden = self.hidden(self.embed(step, []), cache)

    @property
    def end_ids(self) -> set[int]:
        """Tokens that end an answer."""
        end = self.model.generation_config.eos_token_id
        end = self.model.config.get_text_config().eos_token_id if end is None else end
        return set(end) if isinstance(end, list) else {end}

    def text(self, tokens: list[int]) -> str:
        """An answer's tokens as text."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()


FAMILIES: dict[str, type[Adapter]] = {}
"""Adapter classes by family; ``register`` fills it."""


def register(adapter: type[Adapter]) -> type[Adapter]:
    """Class decorator: make a family known."""
    FAMILIES[adapter.family] = adapter
    return adapter
