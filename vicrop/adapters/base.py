"""What a model family must offer, and the registry of families.

A new family is one file with a subclass of ``Adapter``; a new model is one line in
``MODELS``. What differs between families is here as methods to override, each with the
usual answer: image tokens in the prompt's embeddings, then a causal language model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import transformers
from PIL import Image
from torch import Tensor, nn

from vicrop import cache as kept
from vicrop import geometry, images
from vicrop.adapters.prompting import Prompting
from vicrop.prompts import Graph, Prompt, Seen, Start, Words
from vicrop.types import Region

if TYPE_CHECKING:
    from vicrop.view import View

GENERAL_QUESTION = "Write a general description of the image."
"""The paper's q', whose map divides out what is looked at whatever is asked."""

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


class Adapter(Prompting):
    """A model and its processor behind the few verbs that the method needs.

    Attributes:
        family: key in ``FAMILIES``.
        architecture: name of the transformers class.
        processor_class: name of its processor's class.
        default_layer: of the map, counted from 0 (paper, section 6).
        options: keyword arguments beyond these that the family takes.
        refused: why related architectures cannot be used, by the class's name.
        most_images: that one prompt may show.
        model: a transformers model, in evaluation mode, its weights frozen.
        layer: of the map, counted from 0.
        connector_layer: of the map, where the connector has several, counted from 0.
    """

    architecture: ClassVar[str]
    processor_class: ClassVar[str]
    default_layer: ClassVar[int]
    options: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[dict[str, str]] = {}
    connector_layer: int = 0

    def __init__(
        self, model: nn.Module, processor: Any = None, layer: int | None = None
    ):
        self.check_class(type(model).__name__)
        if processor is not None:
            self._check_processor(processor)
        # Frozen: gradients go to attention and pixels, never to weights.
        self.model = model.eval().requires_grad_(False)
        self._processor = processor
        if self.dtype not in DTYPES.values():
            raise ValueError(
                f"the model's weights are {self.dtype}; maps and answers need one of "
                f"{', '.join(DTYPES)}"
            )
        self.layer = self.default_layer if layer is None else layer
        if not 0 <= self.layer < len(self.attention):
            raise ValueError(
                f"layer {self.layer} is not one of this model's layers, counted from "
                f"0 to {len(self.attention) - 1}"
            )

    @classmethod
    def check_class(cls, found: str) -> None:
        """Refuse a model of another class than the family's.

        Raises:
            ValueError: saying why, where the class is a known relative.
        """
        if found == cls.architecture:
            return
        reason = cls.refused.get(found)
        raise ValueError(
            f"family {cls.family!r} is {cls.architecture}, but the model is a {found}"
            + (f", {reason}" if reason else "")
            + f"; pass the family that fits it (known: {', '.join(FAMILIES)})"
        )

    def _check_processor(self, processor: Any) -> None:
        found = type(processor).__name__
        if found != self.processor_class:
            raise ValueError(
                f"family {self.family!r} wants a {self.processor_class}, but the "
                f"processor is a {found}; load it from the model's own folder"
            )

    @classmethod
    def model_class(cls) -> type[transformers.PreTrainedModel]:
        """The transformers class of the family's architecture."""
        return getattr(transformers, cls.architecture)

    @classmethod
    def load_processor(cls, source: str, **where: Any) -> Any:
        """The processor of a checkpoint, from a folder or the hub."""
        return transformers.AutoProcessor.from_pretrained(
            source, backend="pil", trust_remote_code=False, **where
        )

    # What a family says.

    @property
    @abstractmethod
    def crop_px(self) -> int:
        """Side of the smallest crop, pixels; the vision input's (paper, section 5)."""

    @property
    @abstractmethod
    def patch_px(self) -> int:
        """Side of a map's cell in the vision input, pixels."""

    @property
    @abstractmethod
    def fit(self) -> str:
        """How the processor fits an image (see ``geometry.region``)."""

    @abstractmethod
    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, tuple[int, int]]:
        """The vision tower's input for RGB images of one size, and the map's grid."""

    # What most families say alike.

    def by_connector(self) -> list[Adapter]:
        """This model, once for each layer of its connector that a map can be read at.

        A connector that has no attention counts as one layer (paper, Figure 3).
        """
        return [self]

    def picture(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Something in the vision input's layout as (images, channels, height, width).

        ``height`` and ``width`` are multiples of the grid's rows and columns: what a
        vision tower drops at the edges is left out.
        """
        height, width = (
            length // cells * cells
            for length, cells in zip(pixels.shape[-2:], grid, strict=True)
        )
        return pixels[..., :height, :width]

    def see_apart(
        self, pixels: Sequence[Tensor], grids: Sequence[tuple[int, int]]
    ) -> list[Seen]:
        """Images of any sizes through the vision tower at once, each kept by itself.

        Args:
            pixels: the tower's input for each image.
            grids: (rows, cols) of each one's map.
        """
        if len({one.shape for one in pixels}) > 1:
            return [self.see(*one) for one in zip(pixels, grids, strict=True)]
        features = self.see(torch.cat(list(pixels)), grids[0]).features
        parts = features.split(len(features) // len(pixels))
        # Clones: what is closed is freed, whoever was looked at with it.
        return [
            Seen(own, part.clone(), grid)
            for own, part, grid in zip(pixels, parts, grids, strict=True)
        ]

    def connect(
        self, seen: Sequence[Seen], words: Sequence[Words]
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Image tokens of several images, each asked about in words of its own.

        Returns:
            Of each, (images, tokens, hidden), and a connector's attention as a
            ``Prefix`` keeps it.
        """
        pairs = zip(seen, words, strict=True)
        return [(self.image_tokens(*pair), None) for pair in pairs]

    # What all families share.

    def look(
        self,
        image: images.ImageLike,
        fit: str | None = None,
        geometry: str = "exact",
    ) -> View:
        """Encode an image once, for any number of questions.

        Args:
            image: a path, a PIL image or an array.
            fit: ``pad``, ``squash`` or ``centre-crop`` to fit it otherwise than the
                model's processor does; None for the processor's way.
            geometry: ``exact``, or ``upstream`` to lay maps over the whole image
                whatever the model sees of it, as the authors' code does.

        Raises:
            ValueError: for an image that cannot be read or is smaller than a patch, or
                an unknown fit or geometry.
        """
        from vicrop.view import View

        return View(self, images.load(image), fit, geometry)

    def visible(self, image_size: tuple[int, int], fit: str | None = None) -> Region:
        """The part of an image of (width, height) that reaches the model."""
        return geometry.visible(fit or self.fit, image_size)

    def fitted(self, image: Image.Image, fit: str | None = None) -> Image.Image:
        """An image as it has to be given to the processor to be fitted that way."""
        if fit is None or fit == self.fit:
            return image
        if fit == "native":
            raise ValueError(
                f"family {self.family!r} takes squares only, so it cannot keep an "
                "image's own ratio; use pad, squash or centre-crop"
            )
        mean = self.processor.image_processor.image_mean
        return images.fit(image, fit, tuple(round(255 * value) for value in mean))

    def shown(self, picture: Image.Image) -> Image.Image:
        """What of a picture that is given to the processor reaches the model."""
        left, top, right, bottom = map(round, self.visible(picture.size))
        return picture.crop((left, top, right, bottom))

    @torch.no_grad()
    def look_at(self, pictures: Sequence[Image.Image]) -> Seen:
        """Images of one size through the processor and the vision tower."""
        return self.see(*self.pixels(pictures))

    @torch.no_grad()
    def look_apart(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        """Images of any sizes as ``look_at`` sees each, the tower run once for all."""
        made = [self.pixels([one]) for one in pictures]
        return self.see_apart([one for one, _ in made], [grid for _, grid in made])

    def look_with_graph(self, pictures: Sequence[Image.Image]) -> Seen:
        """``look_at``, with the way from the pixels kept for gradients."""
        pixels, grid = self.pixels(pictures)
        graph = self.graph(Seen(pixels, pixels, grid))
        return Seen(pixels, graph.seen.features.detach(), grid, graph)

    def graph(self, seen: Seen) -> Graph:
        """The vision tower run again on the images, for gradients to the pixels."""
        with torch.enable_grad():
            leaf = seen.pixels.detach().requires_grad_()
            return Graph(self.see(leaf, seen.grid))

    def trace_pixels(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """Scores of the first answer token, and the pixels that they were made from.

        What the image's ``graph`` holds already is not run again.

        Returns:
            (images, vocabulary), and the vision tower's input, a leaf of their graph.
        """
        seen, words = prompt.seen[0], prompt.words
        graph = seen.graph or self.graph(seen)
        key = self.prefix_key(words)
        with torch.enable_grad():
            if key not in graph.prefixes:
                graph.prefixes[key] = self.prefix(words, graph.seen)
            traced = self.follow(words, [graph.seen], graph.prefixes[key])
            start = self.read_through(traced)
        prompt.prefix.take(traced.prefix)
        self.begun(prompt, start)
        return start.scores, graph.seen.pixels

    def begun(self, prompt: Prompt, start: Start) -> None:
        """Let a prompt's answer go on from a pass that was made for a gradient."""
        if prompt.answered and prompt.start is None:
            cache = kept.detached(start.cache)
            prompt.start = Start(start.scores.detach(), cache, start.place, start.row)


FAMILIES: dict[str, type[Adapter]] = {}
"""Adapter classes by family; ``register`` fills it."""


def register(adapter: type[Adapter]) -> type[Adapter]:
    """Class decorator: make a family known."""
    FAMILIES[adapter.family] = adapter
    return adapter
