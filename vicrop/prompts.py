"""What a model is asked with: images seen, words, prefixes, prompts, first tokens."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from torch import Tensor
from transformers import DynamicCache

T = TypeVar("T")

Grid = tuple[int, int]
"""(rows, cols) of an importance map."""


def not_none(value: T | None) -> T:
    """What by now is there, or the code that was to make it is wrong."""
    assert value is not None
    return value


@dataclass(eq=False)
class Seen:
    """Images of one shape, as the model keeps them once it has looked.

    Attributes:
        pixels: the vision tower's input, as the processor gives it.
        features: (images, tokens, hidden), what the vision tower makes of them: image
            tokens for the language model, or what a connector reads them from.
        grid: (rows, cols) of the importance map.
        prefixes: of prompts about them, by ``Words.key``.
        graph: the same images with the way from the pixels, a leaf of it; kept while
            gradients to the pixels are taken.
    """

    pixels: Tensor
    features: Tensor
    grid: Grid
    prefixes: dict[Hashable, Prefix] = field(default_factory=dict)
    graph: Seen | None = None


@dataclass(eq=False)
class Words:
    """A prompt's tokens, in the CPU's memory.

    Attributes:
        ids: (1, tokens) of the whole prompt, image placeholders expanded.
        asked: (1, tokens) of the question for a connector that reads it, else None.
    """

    ids: Tensor
    asked: Tensor | None = None

    @property
    def key(self) -> Hashable:
        """What a kept prefix depends on beside the image: what a connector reads."""
        return None if self.asked is None else tuple(self.asked[0].tolist())


@dataclass(eq=False)
class Prefix:
    """The images' tokens, run once through the language model when first needed.

    Attributes:
        ids: (1, tokens) up to the image's last.
        span: where the image's tokens are among them.
        depth: layers that hold, or are to hold, its keys and values. Those of the last
            are all that is computed there.
        cache: keys and values; never grown, only branched. None before it is run.
        connector: (images, heads, tokens, patches) attention of a connector that made
            the image tokens from patches, class tokens first; None where each token is
            a patch.
    """

    ids: Tensor
    span: slice
    depth: int
    cache: DynamicCache | None = None
    connector: Tensor | None = None


@dataclass(eq=False)
class FirstToken:
    """What a prompt has led to once it was run to its first answer token.

    Attributes:
        scores: (images, vocabulary) of that token.
        cache: of the whole prompt; never grown, only branched.
        place: position of the prompt's last token; None if the model counts them.
        row: (images, heads, keys) what the prompt's last token attends to in the
            map's layer; the heads' mean alone where ``words`` are there.
        words: (layers, images, tokens, image tokens) what all tokens behind the image
            attend to, mean over heads; None if that was not asked for.
    """

    scores: Tensor
    cache: DynamicCache
    place: Tensor | None
    row: Tensor
    words: Tensor | None = None


@dataclass(eq=False)
class Prompt:
    """A prompt as a kept prefix and the embeddings that are still to be run.

    Attributes:
        words: the whole prompt's tokens.
        seen: what it shows: images, or images and their crops.
        prefix: of the (first) images.
        suffix: (images, tokens, hidden) embeddings of what follows it.
        positions: of the suffix, for the language model; None if it counts them.
        answered: whether its answer will be wanted, or where it looks alone.
        first: once it has been run.
    """

    words: Words
    seen: list[Seen]
    prefix: Prefix
    suffix: Tensor
    positions: Tensor | None = None
    answered: bool = True
    first: FirstToken | None = field(default=None, init=False)

    @property
    def grid(self) -> Grid:
        """(rows, cols) of the importance map."""
        return self.seen[0].grid

    def on_image(self, chain: Sequence[Tensor]) -> np.ndarray:
        """Attention from the answer to the image's cells: the product of all steps.

        Args:
            chain: (images, keys) of what the last token attends to in the language
                model; then, where a connector made the image tokens, (images, tokens,
                patches).

        Returns:
            (images, rows, cols) float32.
        """
        first, *connector = chain
        rows, cols = self.grid
        values = first[:, self.prefix.span]
        for step in connector:
            patches = step[..., -rows * cols :]  # class tokens come first
            values = (values[:, None] @ patches)[:, 0]
        return self.array(values.reshape(-1, rows, cols).float())

    def cells(self, values: Tensor) -> np.ndarray:
        """(images, …, rows, cols) float32 from (images, …, image tokens).

        Through the mean heads of a connector that made the image tokens.
        """
        lead, (rows, cols) = values.shape[:-1], self.grid
        if self.prefix.connector is not None:
            patches = self.prefix.connector.mean(1)[..., -rows * cols :]
            values = values.reshape(len(values), -1, values.shape[-1]) @ patches
        return self.array(values.float()).reshape(*lead, rows, cols)

    @staticmethod
    def array(values: Tensor) -> np.ndarray:
        """Values off the device, for all that is done with maps from here on."""
        return values.cpu().numpy()


def log_likelihood(scores: Tensor) -> Tensor:
    """Log-probability of the likeliest first answer token, summed over images.

    Source: paper, section 5, v(x, q).
    """
    chances = scores.float().log_softmax(-1)
    # One token's even where several are likeliest: the one that is then said.
    return chances.gather(-1, scores.argmax(-1, keepdim=True)).sum()
