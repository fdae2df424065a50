"""Maps by the question's words: where each token behind the image looks.

Not the paper's, which reads the last token alone. In LLaVA what is asked for enters the
question's words first and the last token later (Zhang et al., 2411.18620).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from vicrop.attribution import paper
from vicrop.prompts import Prompt

if TYPE_CHECKING:
    from vicrop.adapters.decoder import Decoder


def attention_of_words(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Attention from every token behind the image to the image, in every layer.

    Of each prompt (images, layers, tokens, rows, cols), mean over heads; through the
    connector's mean heads, where it made the image tokens.
    """
    pairs = zip(vlm.attend_all(prompts), prompts, strict=True)
    return [to_cells(read.transpose(0, 1), prompt) for read, prompt in pairs]


def to_cells(values: Tensor, prompt: Prompt) -> np.ndarray:
    """(images, …, rows, cols) float32 from (images, …, image tokens).

    Through the mean heads of a connector that made the image tokens.
    """
    lead, (rows, cols) = values.shape[:-1], prompt.grid
    if prompt.prefix.connector is not None:
        step = prompt.prefix.connector.mean(1)
        patches = step[..., -rows * cols :]  # class tokens come first
        values = values.flatten(1, -2) @ patches
    return prompt.array(values.float()).reshape(*lead, rows, cols)


OTHERS = (paper.GENERAL_QUESTION, "1 or 2")
"""Other questions, which neither begin nor end alike."""


def own_words(vlm: Decoder, prompt: Prompt) -> slice:
    """Which of the tokens behind the image are the question's own.

    The prompt's fixed words are those that it begins and ends with whatever is asked.
    """
    ids = prompt.words.ids[0].tolist()
    others = [vlm.words(other, prompt.seen).ids[0].tolist() for other in OTHERS]
    first = min(_alike(ids, other) for other in others)
    last = min(_alike(ids[::-1], other[::-1]) for other in others)
    behind = prompt.prefix.ids.shape[1]
    return slice(first - behind, len(ids) - last - behind)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common before they part."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)


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
