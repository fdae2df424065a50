"""The paper's maps: where a model looks for the answer to a question.

A map is what prompts say about their images (``of_prompts``), and how the question's
and the general prompt's are put together (``combine``). A new map is one such pair
and one line in ``MAPS``. All arrays are of several images at once: (images, …).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vicrop import images, methods
from vicrop.prompts import Grid, Prompt
from vicrop.types import known

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
    step = prompt.prefix.connector
    return to_image([row.mean(1), *([] if step is None else [step.mean(1)])], prompt)


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
    return to_image([(a * g.relu()).mean(1).detach() for a, g in pairs], prompt)


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
    return array(picture.norm(dim=1))


def log_likelihood(scores: Tensor) -> Tensor:
    """Log-probability of the likeliest first answer token, summed over images.

    Source: paper, section 5, v(x, q).
    """
    chances = scores.float().log_softmax(-1)
    # One token's even where several are likeliest: the one that is then said.
    return chances.gather(-1, scores.argmax(-1, keepdim=True)).sum()


def to_image(chain: Sequence[Tensor], prompt: Prompt) -> np.ndarray:
    """Attention from the answer to the image's cells: the product of all steps.

    Args:
        chain: (images, keys) of the language model; then, where a connector made the
            image tokens, (images, tokens, patches).
        prompt: whose last token attends.

    Returns:
        (images, rows, cols) float32.
    """
    first, *connector = chain
    rows, cols = prompt.grid
    values = first[:, prompt.prefix.span]
    for step in connector:
        patches = step[..., -rows * cols :]  # class tokens come first
        values = (values[:, None] @ patches)[:, 0]
    return array(values.reshape(-1, rows, cols).float())


def array(values: Tensor) -> np.ndarray:
    """Values off the device, for all that is done with maps from here on."""
    return values.cpu().numpy()


# How the question's and the general prompt's are put together.


def relative(question: np.ndarray, general: np.ndarray, *_: Any) -> np.ndarray:
    """The question's attention over the general prompt's, cell by cell.

    Source: paper, section 4, A_rel. No epsilon there, none here: a cell that the
    general prompt does not look at at all gives infinity, which a Map refuses.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return question / general


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
    detail = images.high_pass(picture, shape)
    return detail > np.median(detail)


def cell_means(values: np.ndarray, grid: Grid) -> np.ndarray:
    """(images, rows, cols) float32 means of (images, height, width) in each cell."""
    count, height, width = values.shape
    rows, cols = grid
    cells = values.reshape(count, rows, height // rows, cols, width // cols)
    return cells.mean((2, 4)).astype(np.float32)


@dataclass(frozen=True)
class Attribution:
    """One kind of map.

    Attributes:
        of_prompts: (vlm, prompts) -> (images, …) of each.
        combine: (question's array, general prompt's or None, pictures, grid) ->
            (images, rows, cols).
        needs_general: whether the general prompt is asked too.
        tiles: most that are run as one batch. One where the whole graph is kept for
            its gradient, some 5 GB a tile of a 7B model (estimate).
        from_pixels: whether gradients go down to the pixels.
        traced: whether the pass is made for a gradient. Where several methods are
            asked, these come first: plain answers go on from their passes.
    """

    of_prompts: Callable[[Decoder, Sequence[Prompt]], list[np.ndarray]]
    combine: Callable[..., np.ndarray]
    needs_general: bool = True
    tiles: int = 8
    from_pixels: bool = False
    traced: bool = False


MAPS = {
    "rel-att": Attribution(attention_to_image, relative),
    "grad-att": Attribution(
        weighted_attention, alone, needs_general=False, traced=True
    ),
    "pure-grad": Attribution(
        pixel_gradient, filtered, tiles=1, from_pixels=True, traced=True
    ),
    "raw-att": Attribution(attention_to_image, alone, needs_general=False),
    "floor-att": Attribution(attention_to_image, floored),
}


def get(method: str) -> Attribution:
    """A kind of map by its key.

    Raises:
        ValueError: for an unknown key.
    """
    return MAPS[known(method, MAPS, "map")]


def split(method: str) -> tuple[str, bool]:
    """A map's key without ``-high``, and whether it had that."""
    kind = str(method).removesuffix(methods.HIGH)
    get(kind)
    return kind, kind != method


def compute(
    method: str,
    vlm: Decoder,
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
        image: the image itself, all of which the model saw, for pure-grad's high-pass.

    Returns:
        (rows, cols) float32.

    Raises:
        ValueError: for an unknown method, or a general prompt or image that is missing.
    """
    kind = get(method)
    if kind.needs_general and general is None:
        raise ValueError(f"{method} divides by a general prompt; pass general=")
    if kind.combine is filtered and image is None:
        raise ValueError(f"{method} filters by the image's detail; pass image=")
    asked, described = vlm.read(question), None
    (about,) = kind.of_prompts(vlm, [asked])
    if kind.needs_general:
        prompt = vlm.read(general, prefix=asked.prefix)
        (described,) = kind.of_prompts(vlm, [prompt])
    pictures = [] if image is None else [images.to_rgb(image)]
    return kind.combine(about, described, pictures, asked.grid)[0]
