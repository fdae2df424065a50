"""Maps by the question's words: where each token behind the image looks.

Not the paper's, which reads the last token alone. In LLaVA what is asked for enters the
question's words first and the last token later (Zhang et al., 2411.18620).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from vicrop.prompts import FirstToken, Prompt

if TYPE_CHECKING:
    from vicrop.adapters.decoder import Decoder


def attention_of_words(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Attention from every token behind the image to the image, in every layer.

    Of each prompt (images, layers, tokens, rows, cols), mean over heads; through the
    connector's mean heads, where it made the image tokens.
    """
    pairs = zip(vlm.attend_all(prompts), prompts, strict=True)
    return [prompt.cells(read.transpose(0, 1)) for read, prompt in pairs]


def most_of_words(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """The most that any token behind the image attends to each cell, in every layer.

    Of each prompt (images, layers, rows, cols).
    """
    return [found.max(2) for found in attention_of_words(vlm, prompts)]


def more_than_general(question: np.ndarray, general: np.ndarray, *_: Any) -> np.ndarray:
    """What the question's tokens attend to more than the general prompt's, all layers.

    The difference takes out what any text attends to (visual sinks). Negatives are cut
    layer by layer, so that one layer's do not hide what another sees.

    Args:
        question: (images, layers, rows, cols), as ``most_of_words`` gives it.
        general: the same of the general prompt.

    Returns:
        (images, rows, cols) float32.
    """
    return np.clip(question - general, 0, None).sum(1)


def last_of_words(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """(images, layers, rows, cols) attention from the last token, mean over heads."""
    return [found[:, :, -1] for found in attention_of_words(vlm, prompts)]


# The question's own words.

OTHERS = ("What is it?", "1 or 2")
"""Other questions, which neither begin nor end alike."""


def own_words(vlm: Decoder, prompt: Prompt) -> slice:
    """Which of the tokens behind the image are the question's own.

    The prompt's fixed words are those that it begins and ends with whatever is asked.

    Raises:
        ValueError: for a prompt in other words than the family's.
    """
    ids = prompt.words.ids[0].tolist()
    others = [vlm.words(other, prompt.seen).ids[0].tolist() for other in OTHERS]
    first = min(_alike(ids, other) for other in others)
    last = min(_alike(ids[::-1], other[::-1]) for other in others)
    behind = prompt.prefix.ids.shape[1]
    if first < behind:
        raise ValueError(
            "the prompt is not as this model's family writes it, so its own words are "
            "not known; build it with vlm.prompt"
        )
    return slice(first - behind, len(ids) - last - behind)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common before they part."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)


def words_over_prompt(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Where the question's words look, less where the prompt's first words look.

    Means of words, each one's attention, mean over layers and heads, over its sum.

    Raises:
        ValueError: if the prompt has no fixed words between image and question.

    Source: HiDe (2510.00054).
    """
    pairs = zip(attention_of_words(vlm, prompts), prompts, strict=True)
    return [_over(found.mean(1), own_words(vlm, prompt)) for found, prompt in pairs]


def _over(rows: np.ndarray, own: slice) -> np.ndarray:
    if not own.start:
        raise ValueError(
            "prefix-att compares with fixed words between the image and the question, "
            "and this model's prompt has none; take word-att"
        )
    shares = rows / rows.sum((2, 3), keepdims=True)
    return shares[:, own].mean(1) - shares[:, : own.start].mean(1)


def value_similarity(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Cosine of the question's words' and the image's cached values.

    Mean over the question's own words and the middle half of the layers, all heads as
    one vector; through a connector's attention where it made the image tokens.

    Source: FOCUS (NeurIPS 2025).
    """
    pairs = zip(vlm.run(prompts), prompts, strict=True)
    return [_similar(first, one, own_words(vlm, one)) for first, one in pairs]


def _similar(first: FirstToken, prompt: Prompt, own: slice) -> np.ndarray:
    layers: list[Any] = first.cache.layers  # all have values
    quarter = len(layers) // 4
    middle = layers[quarter : len(layers) - quarter]
    values = torch.stack([layer.values for layer in middle])
    units = functional.normalize(values.transpose(2, 3).flatten(3).float(), dim=-1)
    words = units[:, :, prompt.prefix.ids.shape[1] :][:, :, own]
    image = units[:, :, prompt.prefix.span]
    found = (words @ image.transpose(2, 3)).mean((0, 2))
    return prompt.cells(found)


def local_means(question: np.ndarray, *_: Any) -> np.ndarray:
    """Means of 3 × 3 cells, those at the edge repeated; negatives cut."""
    means = ndimage.uniform_filter(question, (1, 3, 3), mode="nearest")
    return positive(means)


def positive(question: np.ndarray, *_: Any) -> np.ndarray:
    """The question's own values, negatives cut."""
    return np.maximum(question, 0)
