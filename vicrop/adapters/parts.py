"""What an adapter hands on: images seen, tokens, kept prefixes, prompts."""

from dataclasses import dataclass

from torch import Tensor
from transformers import DynamicCache


@dataclass(eq=False)
class Seen:
    """Images of one shape, as the model keeps them once it has looked.

    Attributes:
        pixels: the vision tower's input, as the processor gives it.
        features: (images, tokens, hidden), what the vision tower makes of them: image
            tokens for the language model, or what a connector reads them from.
        grid: (rows, cols) of the importance map.
    """

    pixels: Tensor
    features: Tensor
    grid: tuple[int, int]


@dataclass(eq=False)
class Words:
    """A prompt's tokens.

    Attributes:
        ids: (1, tokens) of the whole prompt, image placeholders expanded.
        asked: (1, tokens) of the question for a connector that reads it, else None.
    """

    ids: Tensor
    asked: Tensor | None = None


@dataclass(eq=False)
class Prefix:
    """The images' tokens, run once through the language model.

    Attributes:
        cache: keys and values; never grown, only branched.
        ids: (1, tokens) that it holds, up to the image's last.
        span: where the image's tokens are among them.
        connector: (images, heads, tokens, patches) attention of a connector that made
            the image tokens from patches, class tokens first; None where each token is
            a patch.
    """

    cache: DynamicCache
    ids: Tensor
    span: slice
    connector: Tensor | None = None


@dataclass(eq=False)
class Prompt:
    """A prompt as a kept prefix and the embeddings that are still to be run.

    Attributes:
        words: the whole prompt's tokens.
        seen: what it shows: images, or images and their crops.
        prefix: of the (first) images.
        suffix: (images, tokens, hidden) embeddings of what follows it.
        positions: of the suffix, for the language model; None if it counts them.
    """

    words: Words
    seen: list[Seen]
    prefix: Prefix
    suffix: Tensor
    positions: Tensor | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the importance map."""
        return self.seen[0].grid
