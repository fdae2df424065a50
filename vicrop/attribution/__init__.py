"""Maps: where a model looks for the answer to a question.

A map is what prompts say about their images (``of_prompts``), and how the question's
and the general prompt's are put together (``combine``). A new map is one such pair and
one line in ``MAPS``; its key stands in ``methods``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vicrop import images, methods
from vicrop.attribution import paper, peers, words
from vicrop.attribution.paper import GENERAL_QUESTION
from vicrop.prompts import Prompt
from vicrop.types import known

if TYPE_CHECKING:
    from vicrop.adapters.decoder import Decoder

__all__ = ["GENERAL_QUESTION", "MAPS", "Attribution", "compute", "get", "split"]


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
        words: whether what all words look at is read; these come next.
    """

    of_prompts: Callable[[Decoder, Sequence[Prompt]], list[np.ndarray]]
    combine: Callable[..., np.ndarray]
    needs_general: bool = True
    tiles: int = 8
    from_pixels: bool = False
    traced: bool = False
    words: bool = False


MAPS = {
    "rel-att": Attribution(paper.attention_to_image, paper.relative),
    "grad-att": Attribution(
        paper.weighted_attention, paper.alone, needs_general=False, traced=True
    ),
    "pure-grad": Attribution(
        paper.pixel_gradient, paper.filtered, tiles=1, from_pixels=True, traced=True
    ),
    "word-att": Attribution(words.most_of_words, words.more_than_general, words=True),
    "max-layers": Attribution(words.last_of_words, paper.most_of_layers, words=True),
    "mean-layers": Attribution(words.last_of_words, paper.mean_of_layers, words=True),
    "local-heads": Attribution(
        peers.upper_heads, peers.local_heads, needs_general=False
    ),
    "gaze-heads": Attribution(peers.gaze_heads, paper.alone, needs_general=False),
    "prefix-att": Attribution(
        words.words_over_prompt, words.positive, needs_general=False, words=True
    ),
    "entropy-grad": Attribution(
        peers.entropy_gradient, paper.alone, needs_general=False, tiles=1, traced=True
    ),
    "grad-cam": Attribution(
        peers.grad_cam, paper.alone, needs_general=False, tiles=1, traced=True
    ),
    "sink-free": Attribution(peers.attention_but_sinks, peers.relative_but_sinks),
    "kv-similarity": Attribution(
        words.value_similarity, words.local_means, needs_general=False
    ),
    "occlusion": Attribution(peers.occlusion, words.positive, needs_general=False),
    "center-prior": Attribution(peers.center, paper.alone, needs_general=False),
    "raw-att": Attribution(paper.attention_to_image, paper.alone, needs_general=False),
    "floor-att": Attribution(paper.attention_to_image, paper.floored),
}


def get(method: str) -> Attribution:
    """A kind of map by its key.

    Raises:
        ValueError: for an unknown key.
    """
    return MAPS[known(method, MAPS, "map")]


def split(method: str) -> tuple[str, bool]:
    """A map's key without ``-high``, and whether it had that.

    Raises:
        ValueError: for an unknown key, or a map that is not made tile by tile.
    """
    kind = str(method).removesuffix(methods.HIGH)
    get(kind)
    if kind != method and kind in methods.WHOLE:
        raise ValueError(f"{kind} is of the whole image only; take {kind}")
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
        raise ValueError(f"{method} needs a general prompt too; pass general=")
    if kind.combine is paper.filtered and image is None:
        raise ValueError(f"{method} filters by the image's detail; pass image=")
    asked, described = vlm.read(question), None
    (about,) = kind.of_prompts(vlm, [asked])
    if kind.needs_general:
        prompt = vlm.read(general, prefix=asked.prefix)
        (described,) = kind.of_prompts(vlm, [prompt])
    pictures = [] if image is None else [images.to_rgb(image)]
    return kind.combine(about, described, pictures, asked.grid)[0]
