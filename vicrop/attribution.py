"""The paper's maps: where a model looks for the answer to a question.

A map is what one prompt says about the image (``of_prompt``), and how the question's
and the general prompt's are put together (``combine``). A new map is one such pair
and one line in ``MAPS``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from vicrop import capture
from vicrop.adapters.base import Adapter, Prompt


@torch.no_grad()
def attention_to_image(
    vlm: Adapter, prompt: Prompt, layers: list[int] | None = None
) -> np.ndarray:
    """Attention from the starting answer token to the image, mean over heads.

    Args:
        vlm: the model.
        prompt: what it is asked.
        layers: to read, in rising order; None for the map's layer alone. Layers above
            the last one are not run.

    Returns:
        (layers, rows, cols) float32, or (rows, cols) if ``layers`` is None.

    Source: paper, section 4: A_st averaged over heads; A_ti is the identity for an
    MLP connector. The starting answer token's query is that of the prompt's last token.
    """
    chosen = [vlm.layer] if layers is None else layers
    modules = vlm.attention
    with capture.read_rows([modules[layer] for layer in chosen]) as rows:
        vlm.run(prompt)
    span = prompt.prefix.span
    read = [rows[number][0, :, span].mean(0) for number in range(len(chosen))]
    values = torch.stack(read).reshape(-1, *prompt.grid).cpu().numpy()
    return values[0] if layers is None else values


def relative(question: np.ndarray, general: np.ndarray, image: Any) -> np.ndarray:
    """The question's attention over the general prompt's, cell by cell.

    Source: paper, section 4, A_rel. No epsilon there, none here: a cell that the
    general prompt does not look at at all gives infinity, which a Map refuses.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return question / general


def alone(question: np.ndarray, general: None, image: Any) -> np.ndarray:
    """The question's own values."""
    return question


@dataclass(frozen=True)
class Attribution:
    """One kind of map.

    Attributes:
        of_prompt: (vlm, prompt) -> array.
        combine: (question's array, general prompt's or None, image) -> (rows, cols).
        needs_general: whether the general prompt is asked too.
    """

    of_prompt: Callable[[Adapter, Prompt], np.ndarray]
    combine: Callable[[np.ndarray, Any, Any], np.ndarray]
    needs_general: bool = True


MAPS = {
    "rel-att": Attribution(attention_to_image, relative),
    "raw-att": Attribution(attention_to_image, alone, needs_general=False),
}


def get(method: str) -> Attribution:
    """A kind of map by its key.

    Raises:
        ValueError: for an unknown key.
    """
    if method not in MAPS:
        raise ValueError(f"unknown map {method!r}; known: {', '.join(MAPS)}")
    return MAPS[method]


def compute(
    method: str,
    vlm: Adapter,
    question: Any,
    general: Any = None,
    image: Image.Image | None = None,
) -> np.ndarray:
    """A map from ready-made inputs, without a View.

    Args:
        method: key of ``MAPS``.
        vlm: the model.
        question: what its processor returns for the image and the question
            (``input_ids``, ``pixel_values``, …).
        general: the same for the image and the general question, where needed.
        image: the image itself, for maps that look at its pixels.

    Returns:
        (rows, cols) float32.

    Raises:
        ValueError: for an unknown method, or a general prompt that is missing.
    """
    kind = get(method)
    if kind.needs_general and general is None:
        raise ValueError(f"{method} divides by a general prompt; pass general=")
    asked = vlm.read(question)
    about = kind.of_prompt(vlm, asked)
    if not kind.needs_general:
        return kind.combine(about, None, image)
    described = kind.of_prompt(vlm, vlm.read(general, prefix=asked.prefix))
    return kind.combine(about, described, image)
