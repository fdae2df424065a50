"""Maps that peers of the paper have, or that people try first.

As the paper's: what prompts say, of each an array of all of its images, and how that is
combined. Arrays are (images, rows, cols) where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from vicrop.prompts import FirstToken, Grid, Prompt, log_likelihood
from vicrop.types import Work

if TYPE_CHECKING:
    from vicrop.adapters.decoder import Decoder

BEST = 3
"""Heads that are enough to find a thing (Kang et al., CVPR 2025)."""
SINK = 20.0
"""A dimension that is so many times its token's root mean square makes it a sink.

None is more than the root of the width: below a width of 400 there can be no sink.
"""
AT_ONCE = 16
"""Occluded copies of an image that are run as one batch."""


def heads_to_image(
    vlm: Decoder, prompts: Sequence[Prompt], layers: Sequence[int]
) -> list[np.ndarray]:
    """(images, layers, heads, rows, cols) attention from the last token."""
    pairs = zip(vlm.attend(prompts, layers), prompts, strict=True)
    return [p.cells(row[..., p.prefix.span].transpose(0, 1)) for row, p in pairs]


def upper_heads(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """``heads_to_image`` of all layers but the first two, where there are more."""
    layers = range(len(vlm.attention))
    return heads_to_image(vlm, prompts, layers[2:] or layers)


def local_heads(question: np.ndarray, *_: Any) -> np.ndarray:
    """Sum of the heads that look at the image most and at the fewest places.

    Source: Kang et al., CVPR 2025: of the heads whose sum over the image is above the
    elbow, those of lowest spatial entropy, of equals those that look most; heads that
    light the bottom row come last.
    """
    return np.stack([_local(one.reshape(-1, *one.shape[2:])) for one in question])


def _local(heads: np.ndarray) -> np.ndarray:
    sums = heads.sum((1, 2))
    most = np.argsort(-sums)[: np.sum(sums >= elbow(sums))]
    return np.sum(sorted(heads[most], key=scatter)[:BEST], 0)


def elbow(values: np.ndarray) -> float:
    """The value, of the sorted ones, that is farthest from their chord."""
    rising = np.sort(values)
    chord = np.linspace(rising[0], rising[-1], len(rising))
    return rising[np.abs(rising - chord).argmax()]


def scatter(attention: np.ndarray) -> tuple[bool, float]:
    """Whether the bottom row has its even share or more; then the spatial entropy.

    Both of what is above the mean; the entropy is of the shares of its regions, which
    connect at corners too.
    """
    lit = np.maximum(attention - attention.mean(), 0)
    regions, count = ndimage.label(lit, np.ones((3, 3)))
    sums = ndimage.sum_labels(lit, regions, range(1, count + 1))
    shares = sums / sums.sum()  # of one region exactly 1
    below = lit[-1].sum() * len(lit) >= lit.sum()
    return bool(below), float(-(shares * np.log(shares)).sum())


def gaze_heads(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Sum of the heads that were chosen on validation data (``vlm.heads``).

    Raises:
        ValueError: if nobody has chosen any.
    """
    if not vlm.heads:
        raise ValueError(
            "gaze-heads needs heads that were chosen on validation data; set vlm.heads "
            "to what analysis.looking.best_heads finds, or take local-heads"
        )
    layers = sorted({layer for layer, _ in vlm.heads})
    return [
        np.sum([found[:, layers.index(layer), head] for layer, head in vlm.heads], 0)
        for found in heads_to_image(vlm, prompts, layers)
    ]


def entropy_gradient(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Norm of the gradient of the first token's entropy to each cell's features.

    Source: entropy-gradient grounding (2604.08456).
    """
    each = [_gradient(vlm, prompt, entropy)[1] for prompt in prompts]
    return [Prompt.array(gradient.norm(dim=-1)) for gradient in each]


def entropy(scores: Tensor) -> Tensor:
    """Entropy of what may be said first, summed over images."""
    return torch.special.entr(scores.float().softmax(-1)).sum()


def grad_cam(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Features weighted by their channels' mean gradients, negatives cut.

    Source: Selvaraju et al., ICCV 2017, at what the tower gives the rest of the model.
    """
    pairs = [_gradient(vlm, prompt, log_likelihood) for prompt in prompts]
    return [Prompt.array((f * g.mean((1, 2), True)).sum(-1).relu()) for f, g in pairs]


def _gradient(
    vlm: Decoder, prompt: Prompt, score: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """Cells' features, a score's gradient to them: (images, rows, cols, hidden) both.

    Class tokens, which come first where a connector reads them, are left out.
    """
    scores, features = vlm.trace_features(prompt)
    (gradient,) = torch.autograd.grad(score(scores), features)
    pair = features.detach(), vlm.finite(gradient, "gradients")
    patches = slice(-prompt.grid[0] * prompt.grid[1], None)
    return [one[:, patches].float().unflatten(1, prompt.grid) for one in pair]


def attention_but_sinks(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Attention as rel-att reads it, without sinks and the heads that look at them.

    Those give sinks more than half of what they give the image. 0 at sinks.

    Source: Kang et al. (2503.03321).
    """
    read = vlm.attend(prompts, [vlm.layer])
    return [_unsunk(vlm, *pair) for pair in zip(read, prompts, strict=True)]


def _unsunk(vlm: Decoder, read: Tensor, prompt: Prompt) -> np.ndarray:
    row = read[0][..., prompt.prefix.span]
    free = row * ~sinks(vlm, prompt)[:, None]
    kept = 2 * free.sum(-1, keepdim=True) >= row.sum(-1, keepdim=True)
    mean = (free * kept).sum(1) / kept.sum(1)
    return prompt.cells(mean)


@torch.no_grad()
def sinks(vlm: Decoder, prompt: Prompt) -> Tensor:
    """(images, image tokens) boolean: what is a sink where the map's layer begins."""
    seen, prefix = prompt.seen[0], prompt.prefix
    count, tokens = len(seen.features), prefix.span.stop - prefix.span.start
    if vlm.text_model.config.hidden_size < SINK**2:
        return torch.zeros(count, tokens, device=vlm.device).bool()
    ((made, _),) = vlm.connect([seen], [prompt.words], False)
    places = vlm.facts.positions(prefix.ids, [seen.grid])
    vlm.work += Work(1, count * prefix.ids.shape[1])
    output = vlm.text_model(
        inputs_embeds=vlm.embed(prefix.ids, [made]),
        position_ids=None if places is None else places.to(vlm.device),
        output_hidden_states=True,
        use_cache=False,
    )
    hidden = output.hidden_states[vlm.layer][:, prefix.span].float()
    return (hidden.abs() / hidden.square().mean(-1, True).sqrt()).amax(-1) > SINK


def relative_but_sinks(
    question: np.ndarray, general: np.ndarray, *_: Any
) -> np.ndarray:
    """As rel-att; 0 where neither looks, which is at sinks."""
    looked = (question != 0) | (general != 0)
    with np.errstate(divide="ignore", invalid="ignore"):  # as rel-att
        return np.divide(question, general, np.zeros_like(question), where=looked)


@torch.no_grad()
def occlusion(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """What a window of 3 × 3 grey cells costs the likeliest token's log-probability.

    Source: Zeiler and Fergus, ECCV 2014. A pass a cell: the causal reference.
    """
    pairs = zip(vlm.run(prompts), prompts, strict=True)
    return [_occluded(vlm, *pair) for pair in pairs]


def _occluded(vlm: Decoder, first: FirstToken, prompt: Prompt) -> np.ndarray:
    chances = first.scores.float().log_softmax(-1)
    each = zip(prompt.seen[0].pixels.chunk(len(chances)), chances, strict=True)
    lost = [own.max() - _without(vlm, p, prompt)[:, own.argmax()] for p, own in each]
    return prompt.array(torch.stack(lost)).reshape(-1, *prompt.grid)


def _without(vlm: Decoder, pixels: Tensor, prompt: Prompt) -> Tensor:
    """(cells, vocabulary) log-probabilities of an image without what is around each."""
    windows = windows_of(vlm, pixels, prompt.grid)
    batches = [windows[n : n + AT_ONCE] for n in range(0, len(windows), AT_ONCE)]
    return torch.cat([_greyed(vlm, pixels, batch, prompt) for batch in batches])


def windows_of(vlm: Decoder, pixels: Tensor, grid: Grid) -> list[Tensor]:
    """Of each cell, which numbers of an image's flat vision input are around it."""
    places = torch.arange(pixels.numel(), device=pixels.device).reshape(pixels.shape)
    picture, (rows, cols) = vlm.facts.picture(places, grid)[0], grid
    cells = picture.unflatten(2, (cols, -1)).unflatten(1, (rows, -1))
    return [
        cells[:, max(row - 1, 0) : row + 2, :, max(col - 1, 0) : col + 2]
        for row, col in np.ndindex(*grid)
    ]


def _greyed(
    vlm: Decoder, pixels: Tensor, windows: Sequence[Tensor], prompt: Prompt
) -> Tensor:
    """(windows, vocabulary) log-probabilities, each window at its input's mean: 0."""
    copies = pixels.repeat(len(windows), *[1] * (pixels.ndim - 1))
    for copy, window in zip(copies.chunk(len(windows)), windows, strict=True):
        copy.view(-1)[window] = 0
    seen, words = vlm.see(copies, prompt.grid, len(windows)), prompt.words
    asked = vlm.follow([(words, [seen], vlm.begin(words, seen))])
    return vlm.run(asked)[0].scores.float().log_softmax(-1)


def center(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """A Gaussian around the middle, its deviation a quarter of a side; no model."""
    return [np.stack([gaussian(p.grid)] * len(p.seen[0].features)) for p in prompts]


def gaussian(grid: Grid) -> np.ndarray:
    """(rows, cols) float32, 1 in the middle."""
    rows, cols = (np.exp(-8 * ((np.arange(n) + 0.5) / n - 0.5) ** 2) for n in grid)
    return np.outer(rows, cols).astype(np.float32)
