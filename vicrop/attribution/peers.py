"""Maps that peers of the paper have, or that people try first.

What each asks of prompts, and how it is combined; formulas in words at each. Chosen
numbers are the sources'; where there is none, ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from vicrop.attribution import paper
from vicrop.attribution.words import attention_of_words, own_words, to_cells
from vicrop.prompts import FirstToken, Grid, Prompt, Work, log_likelihood

if TYPE_CHECKING:
    from vicrop.adapters.decoder import Decoder

BEST = 3
"""Heads that are enough to find a thing (Kang et al., CVPR 2025)."""
SINK = 20.0
"""From here on a dimension over its token's root mean square makes the token a sink.

No dimension is more than the root of the width: below a width of 400 there is none.
"""
AT_ONCE = 16
"""Occluded copies of an image that are run as one batch."""


def middle(layers: int) -> slice:
    """The middle half of so many layers."""
    return slice(layers // 4, layers - layers // 4)


# Layers.


def last_of_words(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Attention from the prompt's last token to the image, in every layer.

    Of each prompt (images, layers, rows, cols), mean over heads.
    """
    return [found[:, :, -1] for found in attention_of_words(vlm, prompts)]


def mean_of_layers(question: np.ndarray, general: np.ndarray, *_: Any) -> np.ndarray:
    """Mean of all layers' rel-att.

    Source: paper, Table 3.
    """
    return paper.relative(question, general).mean(1)


def most_of_layers(question: np.ndarray, general: np.ndarray, *_: Any) -> np.ndarray:
    """Each layer's rel-att over its own maximum; the most of the middle half."""
    layers = paper.relative(question, general)[:, middle(question.shape[1])]
    with np.errstate(invalid="ignore"):  # what is not finite is refused by Map
        return (layers / layers.max((2, 3), keepdims=True)).max(1)


# Heads.


def heads_to_image(
    vlm: Decoder, prompts: Sequence[Prompt], layers: Sequence[int]
) -> list[np.ndarray]:
    """Attention from the prompt's last token to the image, head by head.

    Of each prompt (images, layers, heads, rows, cols).
    """
    read = vlm.attend(prompts, layers)
    return [
        to_cells(own[..., prompt.prefix.span].transpose(0, 1), prompt)
        for own, prompt in zip(read, prompts, strict=True)
    ]


def upper_heads(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """``heads_to_image`` of all layers but the first two."""
    return heads_to_image(vlm, prompts, range(2, len(vlm.attention)))


def local_heads(question: np.ndarray, *_: Any) -> np.ndarray:
    """Sum of the heads that look at the image most and at the fewest places.

    Args:
        question: (images, layers, heads, rows, cols).

    Returns:
        (images, rows, cols).

    Source: Kang et al., CVPR 2025: of the heads whose sum over the image is above the
    elbow, those of lowest spatial entropy; heads that light the bottom row come last.
    """
    return np.stack([_local(one.reshape(-1, *one.shape[2:])) for one in question])


def _local(heads: np.ndarray) -> np.ndarray:
    sums = heads.sum((1, 2))
    kept = heads[sums >= elbow(sums)]
    entropies = [spatial_entropy(one) for one in kept]
    order = np.lexsort((entropies, [is_lit_below(one) for one in kept]))
    return kept[order[:BEST]].sum(0)


def elbow(values: np.ndarray) -> float:
    """The value, of the sorted ones, that is farthest from their chord."""
    rising = np.sort(values)
    chord = np.linspace(rising[0], rising[-1], len(rising))
    return rising[np.abs(rising - chord).argmax()]


def above_mean(attention: np.ndarray) -> np.ndarray:
    """What is above a map's mean, and by how much; (rows, cols)."""
    return np.maximum(attention - attention.mean(), 0)


def spatial_entropy(attention: np.ndarray) -> float:
    """Entropy of the shares that connected regions have of what is above the mean.

    Cells that touch at a corner are connected. Infinite of an even map.
    """
    lit = above_mean(attention)
    if not lit.any():
        return np.inf
    regions, count = ndimage.label(lit, np.ones((3, 3)))
    shares = ndimage.sum_labels(lit, regions, range(1, count + 1)) / lit.sum()
    return float(-(shares * np.log(shares)).sum())


def is_lit_below(attention: np.ndarray) -> bool:
    """Whether the bottom row has more than its even share of what is above the mean."""
    lit = above_mean(attention)
    return bool(lit[-1].sum() * len(lit) > lit.sum())


def gaze_heads(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Sum of the heads that were chosen on validation data (``vlm.heads``).

    Of each prompt (images, rows, cols).

    Raises:
        ValueError: if nobody has chosen any.
    """
    if not vlm.heads:
        raise ValueError(
            "gaze-heads sums heads that were chosen on validation data, and this "
            "model has none; set vlm.heads to what analysis.looking.best_heads finds, "
            "or take local-heads, which needs no choice"
        )
    layers = sorted({layer for layer, _ in vlm.heads})
    return [
        np.sum([found[:, layers.index(layer), head] for layer, head in vlm.heads], 0)
        for found in heads_to_image(vlm, prompts, layers)
    ]


# The question's words against the prompt's.


def words_over_prompt(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Where the question's words look, less where the prompt's first words look.

    Of each prompt (images, rows, cols): of a word, attention to the image, mean over
    layers and heads, over its sum; means of words.

    Source: HiDe (2510.00054), which takes the first words of the prompt for what any
    text looks at, in the same pass.

    Raises:
        ValueError: if the prompt has no fixed words between image and question.
    """
    pairs = zip(attention_of_words(vlm, prompts), prompts, strict=True)
    return [_over(found.mean(1), own_words(vlm, prompt)) for found, prompt in pairs]


def _over(rows: np.ndarray, own: slice) -> np.ndarray:
    if not own.start:
        raise ValueError(
            "prefix-att needs fixed words of the prompt between the image and the "
            "question to compare with, and this model's prompt has none there; take "
            "word-att"
        )
    shares = rows / rows.sum((2, 3), keepdims=True)
    return shares[:, own].mean(1) - shares[:, : own.start].mean(1)


def positive(question: np.ndarray, *_: Any) -> np.ndarray:
    """The question's own values, negatives cut."""
    return np.maximum(question, 0)


# Gradients to the features.


def entropy_gradient(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Norm of the first token's entropy's gradient to each feature of the image.

    Of each prompt (images, rows, cols).

    Source: entropy-gradient grounding (2604.08456).
    """
    return [
        _cells(_feature_gradient(vlm, prompt, entropy)[1].norm(dim=-1), prompt)
        for prompt in prompts
    ]


def entropy(scores: Tensor) -> Tensor:
    """Entropy of what may be said first, summed over images."""
    return torch.special.entr(scores.float().softmax(-1)).sum()


def grad_cam(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Features weighted by their channels' mean gradients, negatives cut.

    Of each prompt (images, rows, cols).

    Source: Selvaraju et al., ICCV 2017, at what the tower gives the rest of the model.
    """
    return [_cam(*_feature_gradient(vlm, one, log_likelihood), one) for one in prompts]


def _cam(features: Tensor, gradient: Tensor, prompt: Prompt) -> np.ndarray:
    weighted = (features * gradient.mean(1, keepdim=True)).sum(-1)
    return _cells(weighted.relu(), prompt)


def _feature_gradient(
    vlm: Decoder, prompt: Prompt, score: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Features of the cells and a score's gradient to them: (images, cells, hidden)."""
    scores, features = vlm.trace_features(prompt)
    (gradient,) = torch.autograd.grad(score(scores), features)
    gradient, cells = vlm.finite(gradient, "gradients"), prompt.grid[0] * prompt.grid[1]
    # Of patches that a connector reads, class tokens come first.
    return features.detach()[:, -cells:].float(), gradient[:, -cells:].float()


def _cells(values: Tensor, prompt: Prompt) -> np.ndarray:
    return prompt.array(values).reshape(-1, *prompt.grid)


# Sinks.


def attention_without_sinks(vlm: Decoder, prompts: Sequence[Prompt]) -> list[Any]:
    """Attention as rel-att reads it, without sinks and the heads that look at them.

    Of each prompt (images, rows, cols); 0 at sinks. Heads that give sinks more than
    half of what they give the image are left out.

    Source: Kang et al. (2503.03321).
    """
    read = vlm.attend(prompts, [vlm.layer])
    return [_unsunk(vlm, *pair) for pair in zip(read, prompts, strict=True)]


def _unsunk(vlm: Decoder, read: Tensor, prompt: Prompt) -> np.ndarray:
    row = read[0][..., prompt.prefix.span]
    free = row * ~sinks(vlm, prompt)[:, None]
    kept = 2 * free.sum(-1, keepdim=True) >= row.sum(-1, keepdim=True)
    mean = (free * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True)
    return to_cells(mean, prompt)[:, 0]


@torch.no_grad()
def sinks(vlm: Decoder, prompt: Prompt) -> Tensor:
    """(images, image tokens) boolean: what is a sink where the map's layer begins."""
    seen, prefix = prompt.seen[0], prompt.prefix
    count, tokens = len(seen.features), prefix.span.stop - prefix.span.start
    if vlm.text_model.config.hidden_size < SINK**2:
        return torch.zeros(count, tokens, dtype=torch.bool, device=vlm.device)
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
    nothing = (question == 0) & (general == 0)
    return np.where(nothing, 0, paper.relative(question, general))


# Cached values.


def value_similarity(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """Cosine of the question's words' and the image's cached values.

    Of each prompt (images, rows, cols): mean over the question's own words and the
    middle half of the layers, all heads as one vector; through a connector's attention
    where it made the image tokens.

    Source: FOCUS (NeurIPS 2025).
    """
    pairs = zip(vlm.run(prompts), prompts, strict=True)
    return [_similar(first, one, own_words(vlm, one)) for first, one in pairs]


def _similar(first: FirstToken, prompt: Prompt, own: slice) -> np.ndarray:
    layers: list[Any] = first.cache.layers  # all have values
    values = torch.stack([layer.values for layer in layers[middle(len(layers))]])
    units = functional.normalize(values.transpose(2, 3).flatten(3).float(), dim=-1)
    words = units[:, :, prompt.prefix.ids.shape[1] :][:, :, own]
    image = units[:, :, prompt.prefix.span]
    found = (words @ image.transpose(2, 3)).mean((0, 2))
    return to_cells(found[:, None], prompt)[:, 0]


def local_means(question: np.ndarray, *_: Any) -> np.ndarray:
    """Means of 3 × 3 cells, those at the edge repeated; negatives cut."""
    means = ndimage.uniform_filter(question, (1, 3, 3), mode="nearest")
    return positive(means)


# Without the model's insides.


@torch.no_grad()
def occlusion(vlm: Decoder, prompts: Sequence[Prompt]) -> list[np.ndarray]:
    """What the likeliest first token's log-probability loses by a grey window.

    Of each prompt (images, rows, cols): by a window of 3 × 3 cells around each cell.

    Source: Zeiler and Fergus, ECCV 2014. A pass a cell: the causal reference.
    """
    return [
        _occluded(vlm, *pair) for pair in zip(vlm.run(prompts), prompts, strict=True)
    ]


def _occluded(vlm: Decoder, first: FirstToken, prompt: Prompt) -> np.ndarray:
    chances = first.scores.float().log_softmax(-1)
    each = prompt.seen[0].pixels.chunk(len(chances))
    return np.stack(
        [_losses(vlm, *pair, prompt) for pair in zip(each, chances, strict=True)]
    )


def _losses(
    vlm: Decoder, pixels: Tensor, chances: Tensor, prompt: Prompt
) -> np.ndarray:
    """(rows, cols) of one image."""
    said, windows = chances.argmax(), windows_of(vlm, pixels, prompt.grid)
    batches = [windows[n : n + AT_ONCE] for n in range(0, len(windows), AT_ONCE)]
    left = torch.cat([_chances(vlm, pixels, one, prompt)[:, said] for one in batches])
    return prompt.array(chances[said] - left).reshape(prompt.grid)


def windows_of(vlm: Decoder, pixels: Tensor, grid: Grid) -> list[Tensor]:
    """Of each cell, which numbers of an image's flat vision input are around it."""
    places = torch.arange(pixels.numel(), device=pixels.device).reshape(pixels.shape)
    picture, (rows, cols) = vlm.facts.picture(places, grid)[0], grid
    high, wide = picture.shape[1] // rows, picture.shape[2] // cols
    return [
        picture[
            :,
            max(row - 1, 0) * high : (row + 2) * high,
            max(col - 1, 0) * wide : (col + 2) * wide,
        ].flatten()
        for row in range(rows)
        for col in range(cols)
    ]


def _chances(
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
    """A Gaussian around the middle, a quarter of each side wide, whatever is shown.

    Of each prompt (images, rows, cols). People put in the middle what they show.
    """
    return [np.stack([gaussian(p.grid)] * len(p.seen[0].features)) for p in prompts]


def gaussian(grid: Grid) -> np.ndarray:
    """(rows, cols) float32, 1 in the middle."""
    rows, cols = (np.exp(-8 * ((np.arange(n) + 0.5) / n - 0.5) ** 2) for n in grid)
    return np.outer(rows, cols).astype(np.float32)
