"""The paper's maps: what prompts say about their images, and how that is combined.

All arrays are of several images at once: (images, …).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vicrop.prompts import Grid, Prompt, log_likelihood

if TYPE_CHECKING:
    from vicrop.adapters.decoder import Decoder

GENERAL_QUESTION = "Write a general description of the image."
"""The paper's q', whose map divides out what is looked at whatever is asked."""

# What prompts say: of each, an array of all of its images, float32.


def attention_to_image(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Attention from the starting answer token to the image, mean over heads.

    Of each prompt (images, rows, cols), in the map's layer.

    Source: paper, section 4: A_si = A_st · A_ti, each averaged over heads; A_ti is the
    identity for an MLP connector. The starting answer token's query is that of the
    prompt's last token.
    """
    if all(prompt.answered for prompt in prompts):  # the answers' own pass
        rows = [first.row for first in vlm.run(prompts)]
    else:
        rows = [row[0] for row in vlm.attend(prompts, [vlm.layer])]
    return [mean_of_heads(*pair) for pair in zip(rows, prompts, strict=True)]


def mean_of_heads(row: Tensor, prompt: Prompt) -> np.ndarray:
    """(images, rows, cols) from (images, heads, keys) of the prompt's last token."""
    return prompt.cells(row.mean(1)[:, prompt.prefix.span])


def weighted_attention(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Attention times the positive part of the answer's gradient to it.

    Of each prompt (images, rows, cols).

    Source: paper, section 5 (grad-att): each attention is weighted by the relu of its
    own gradient, then averaged over heads; the starting answer token's probability is
    differentiated in its logarithm.
    """
    return [_weighted(vlm, prompt) for prompt in prompts]


def _weighted(vlm: Decoder, prompt: Prompt) -> np.ndarray:
    scores, attentions = vlm.trace(prompt)
    found = torch.autograd.grad(log_likelihood(scores), attentions)
    gradients = [vlm.finite(gradient, "gradients") for gradient in found]
    pairs = zip(attentions, gradients, strict=True)
    return prompt.on_image([(a * g.relu()).mean(1).detach() for a, g in pairs])


def pixel_gradient(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Norm, over channels, of the answer's gradient to each pixel.

    Of each prompt (images, height, width) of the vision tower's input.

    Source: paper, section 5 (pure-grad).
    """
    return [_gradient(vlm, prompt) for prompt in prompts]


def _gradient(vlm: Decoder, prompt: Prompt) -> np.ndarray:
    scores, pixels = vlm.trace_pixels(prompt)
    # The graph up to the prefix is shared with the general prompt's gradient.
    (gradient,) = torch.autograd.grad(log_likelihood(scores), pixels, retain_graph=True)
    gradient = vlm.finite(gradient, "gradients").float()
    picture = vlm.facts.picture(gradient, prompt.grid)
    return prompt.array(picture.norm(dim=1))


# How the question's and the general prompt's are put together.


def relative(question: np.ndarray, general: np.ndarray, *_: Any) -> np.ndarray:
    """The question's attention over the general prompt's, cell by cell.

    Source: paper, section 4, A_rel. No epsilon there, none here: a cell that the
    general prompt does not look at at all gives infinity, which a Map refuses.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return question / general


def mean_of_layers(question: np.ndarray, general: np.ndarray, *_: Any) -> np.ndarray:
    """Mean of all layers' rel-att (paper, Table 3)."""
    return relative(question, general).mean(1)


def most_of_layers(question: np.ndarray, general: np.ndarray, *_: Any) -> np.ndarray:
    """Each layer's rel-att over its own maximum; the most of the middle half."""
    layers, quarter = relative(question, general), question.shape[1] // 4
    layers = layers[:, quarter : question.shape[1] - quarter]
    with np.errstate(invalid="ignore"):  # what is not finite is refused by Map
        return (layers / layers.max((2, 3), keepdims=True)).max(1)


def floored(question: np.ndarray, general: np.ndarray, *_: Any) -> np.ndarray:
    """As ``relative``, but over no less than one cell's share of the whole row.

    Not in the paper: dividing by almost nothing lifts cells nobody looks at. A model
    that gives the image a small part of its attention is divided by a constant.
    """
    return question / np.maximum(general, 1 / float(np.prod(general.shape[-2:])))


def alone(question: np.ndarray, *_: Any) -> np.ndarray:
    """The question's own values."""
    return question


def filtered(
    question: np.ndarray,
    general: np.ndarray,
    pictures: Sequence[Image.Image],
    grid: Grid,
) -> np.ndarray:
    """Pixel gradients, question over general, where there is detail; mean in a cell.

    Args:
        question: (images, height, width).
        general: the same for the general prompt.
        pictures: what the model saw.
        grid: (rows, cols).

    Returns:
        (images, rows, cols) float32.

    Source: paper, section 5 (pure-grad): a high-pass filter, thresholded at its
    median, removes the high gradients of even regions. The division is in the authors'
    code only; we follow the code, whose numbers the paper's tables are.
    """
    masks = np.stack([detail_mask(one, question.shape[1:]) for one in pictures])
    # Not a product: what is masked out may be infinite.
    return cell_means(np.where(masks, relative(question, general), 0), grid)


def detail_mask(picture: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """``shape`` boolean: where there is more detail than in half of the picture."""
    detail = high_pass(picture, shape)
    return detail > np.median(detail)


def high_pass(image: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """How much detail there is at each pixel of a model's input.

    The image, resized bilinearly, minus its Gaussian blur (3×3, sigma 0.8); the root of
    the sum of squares over channels; its median over 7×7.

    Args:
        image: RGB.
        shape: (height, width) of the model's input, pixels.

    Returns:
        ``shape`` float64, of colours in [0, 1].

    Source: paper, section 5 (pure-grad), and its code, where the median is over 7×7
    and the paper's text says 3×3, the blur's size.
    """
    from scipy import ndimage

    height, width = shape
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(small, np.float64) / 255
    blurred = ndimage.gaussian_filter(values, 0.8, mode="mirror", radius=1, axes=(0, 1))
    detail = np.sqrt(((values - blurred) ** 2).sum(-1))
    return ndimage.median_filter(detail, 7)


def cell_means(values: np.ndarray, grid: Grid) -> np.ndarray:
    """(images, rows, cols) float32 means of (images, height, width) in each cell."""
    count, height, width = values.shape
    rows, cols = grid
    cells = values.reshape(count, rows, height // rows, cols, width // cols)
    return cells.mean((2, 4)).astype(np.float32)
