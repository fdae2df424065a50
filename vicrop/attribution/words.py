"""Maps by the question's words: where each token behind the image looks.

Not the paper's, which reads the last token alone. In LLaVA what is asked for enters the
question's words first and the last token later (Zhang et al., 2411.18620).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from vicrop.prompts import Prompt

if TYPE_CHECKING:
    from vicrop.adapters.decoder import Decoder


def attention_of_words(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Attention from every token behind the image to the image, in every layer.

    Of each prompt (images, layers, tokens, rows, cols), mean over heads; through the
    connector's mean heads, where it made the image tokens.
    """
    pairs = zip(vlm.attend_all(prompts), prompts, strict=True)
    return [_on_image(*pair) for pair in pairs]


def _on_image(read: Tensor, prompt: Prompt) -> np.ndarray:
    layers, count, tokens, _ = read.shape
    values, (rows, cols) = read.transpose(0, 1), prompt.grid
    if prompt.prefix.connector is not None:
        step = prompt.prefix.connector.mean(1)[
            ..., -rows * cols :
        ]  # class tokens first
        values = (values.flatten(1, 2) @ step).unflatten(1, (layers, tokens))
    return prompt.array(values.float()).reshape(count, layers, tokens, rows, cols)


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
