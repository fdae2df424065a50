"""The procedure as the authors' code has it, on stock transformers: the yardstick.

Every pass starts from the pixels and keeps all layers' attention with its graph, the
general prompt is asked again for every question, and each answer is made from scratch.
The model must be loaded with eager attention and weights that want gradients, as theirs
is. Written for all families over the verbs that an adapter has.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

from vicrop import attribution, boxes, geometry
from vicrop.adapters.adapter import Adapter
from vicrop.attribution import GENERAL_QUESTION
from vicrop.prompts import Prompt, Seen, Words, log_likelihood
from vicrop.types import Box, Map


def unfreeze(vlm: Adapter) -> Adapter:
    """A model as ``from_pretrained`` gives it: eager, its weights with gradients."""
    vlm.model.set_attn_implementation("eager")
    vlm.model.requires_grad_(True)
    return vlm


def whole(vlm: Adapter, seen: Sequence[Seen], words: Words, attentions: bool = False):
    """The language model's output for a whole prompt, and the cache it filled."""
    tokens = [vlm.connect([one], [words], False)[0][0] for one in seen]
    cache = DynamicCache(config=vlm.text_model.config)
    output = vlm.text_model(
        inputs_embeds=vlm.embed(words.ids, tokens),
        position_ids=positions(vlm, words, seen),
        cache=cache,
        use_cache=True,
        output_attentions=attentions,
    )
    return output, cache


def positions(vlm: Adapter, words: Words, seen: Sequence[Seen]) -> Tensor | None:
    """Of a whole prompt's tokens; None if the language model counts them."""
    places = vlm.facts.positions(words.ids, [one.grid for one in seen])
    return None if places is None else places.to(vlm.device)


@torch.no_grad()
def generate(
    vlm: Adapter, pictures: Sequence[Image.Image], question: str, tokens: int
) -> list[int]:
    """Greedy answer from one image or two, from scratch."""
    seen = [vlm.look_at([picture]) for picture in pictures]
    words = vlm.words(question, seen)
    output, cache = whole(vlm, seen, words)
    places = positions(vlm, words, seen)
    place = None if places is None else places[..., -1:]
    scores, said = vlm.logits(output.last_hidden_state[:, -1]), []
    while True:
        (token,) = vlm.choose(scores)
        if token in vlm.end_ids:
            return said
        said.append(token)
        if len(said) == tokens:
            return said
        place = None if place is None else place + 1
        hidden = vlm.hidden(vlm.embed(torch.tensor([[token]])), cache, place)
        scores = vlm.logits(hidden[:, -1])


class Attended:
    """A map's pass: attention of all layers, with the graph that it is part of.

    Attributes:
        rows: (1, heads, queries, keys) of each layer.
        row: of the map's.
        cross: (1, heads, queries, patches) of the Q-Former's; None without one.
        scores: (1, vocabulary) of the first answer token.
    """

    def __init__(self, vlm: Adapter, picture: Image.Image, question: str):
        crossed: list[Tensor] = []
        connector = vlm.facts.connector
        module = connector and connector.attention[connector.layer]
        hook = module and module.register_forward_hook(
            lambda module, given, output: crossed.append(output[1])
        )
        self.seen = vlm.see(*pixels_of(vlm, picture), 1)
        self.words = vlm.words(question, [self.seen])
        output, _ = whole(vlm, [self.seen], self.words, attentions=True)
        if hook:
            hook.remove()
        self.rows = output.attentions
        self.row = self.rows[vlm.layer]
        self.cross = crossed[0] if crossed else None
        # A stock forward scores every position.
        self.scores = vlm.logits(output.last_hidden_state)[:, -1]
        self.span = vlm.begin(self.words, self.seen).span

    def to_cells(self, row: Tensor, cross: Tensor | None) -> np.ndarray:
        """(rows, cols) of the last token's attention, through the queries."""
        return self._on_cells(row.mean(1)[0, -1:, self.span], cross)[0]

    def most_of_words(self) -> np.ndarray:
        """(layers, rows, cols) the most that a token behind the image attends."""
        words = slice(self.span.stop, None)
        read = [row.mean(1)[0, words, self.span] for row in self.rows]
        return np.stack([self._on_cells(one, self.cross).max(0) for one in read])

    def _on_cells(self, values: Tensor, cross: Tensor | None) -> np.ndarray:
        """(tokens, rows, cols) of (tokens, image tokens)."""
        rows, cols = self.seen.grid
        if cross is not None:
            values = values @ cross.mean(1)[0, : values.shape[1], -rows * cols :]
        return Prompt.array(values.detach().float().reshape(-1, rows, cols))


def pixels_of(vlm: Adapter, picture: Image.Image) -> tuple[Tensor, tuple[int, int]]:
    """The vision tower's input, where the model is, and the map's grid."""
    pixels, grid = vlm.facts.pixels([picture])
    return pixels.to(vlm.device, vlm.dtype), grid


def attention(vlm: Adapter, picture: Image.Image, question: str) -> np.ndarray:
    """(rows, cols) attention of the prompt's last token."""
    found = Attended(vlm, picture, question)
    return found.to_cells(found.row, found.cross)


def rel_att(vlm: Adapter, picture: Image.Image, question: str) -> np.ndarray:
    """The question's attention over the general prompt's."""
    asked, general = (attention(vlm, picture, q) for q in (question, GENERAL_QUESTION))
    return attribution.paper.relative(asked, general)


def grad_att(vlm: Adapter, picture: Image.Image, question: str) -> np.ndarray:
    """Attention times the positive part of the answer's gradient to it."""
    found = Attended(vlm, picture, question)
    steps = [step for step in (found.row, found.cross) if step is not None]
    likelihood = log_likelihood(found.scores)
    gradients = torch.autograd.grad(likelihood, steps)
    weighted = [a * g.relu() for a, g in zip(steps, gradients, strict=True)]
    return found.to_cells(*weighted, *([None] if found.cross is None else []))


def gradient(vlm: Adapter, picture: Image.Image, question: str) -> np.ndarray:
    """(1, height, width) norm of the answer's gradient to each pixel."""
    pixels, grid = pixels_of(vlm, picture)
    seen = vlm.see(pixels.requires_grad_(), grid, 1)
    output, _ = whole(vlm, [seen], vlm.words(question, [seen]))
    likelihood = log_likelihood(vlm.logits(output.last_hidden_state)[:, -1])
    (found,) = torch.autograd.grad(likelihood, pixels)
    return Prompt.array(vlm.facts.picture(found.float(), grid).norm(dim=1))


def pure_grad(vlm: Adapter, picture: Image.Image, question: str) -> np.ndarray:
    """Pixel gradients, question over general, where there is detail."""
    asked, general = (gradient(vlm, picture, q) for q in (question, GENERAL_QUESTION))
    _, grid = vlm.facts.pixels([picture])
    return attribution.paper.filtered(asked, general, [vlm.shown(picture)], grid)[0]


def word_att(vlm: Adapter, picture: Image.Image, question: str) -> np.ndarray:
    """What any word attends to more than the general prompt's do, over all layers."""
    asked, general = (
        Attended(vlm, picture, text).most_of_words()
        for text in (question, GENERAL_QUESTION)
    )
    return np.clip(asked - general, 0, None).sum(0)


MAPS: dict[str, Callable[[Adapter, Image.Image, str], np.ndarray]] = {
    "rel-att": rel_att,
    "grad-att": grad_att,
    "pure-grad": pure_grad,
    "word-att": word_att,
}


def best_window(values: np.ndarray, size: tuple[int, int]) -> tuple[int, int, float]:
    """(top, left, sharpness) of the window with the largest sum, columns first."""
    height, width = size
    rows, cols = values.shape
    sums = np.zeros((rows - height + 1, cols - width + 1))
    best, place = -np.inf, (0, 0)
    for left in range(cols - width + 1):
        for top in range(rows - height + 1):
            sums[top, left] = values[top : top + height, left : left + width].sum()
            if sums[top, left] > best:
                best, place = sums[top, left], (top, left)
    return *place, boxes.sharpness(sums, place, size)


def select_box(
    amap: Map,
    image_size: tuple[int, int],
    crop_px: int,
    ratios: Sequence[float] = boxes.RATIOS,
) -> Box:
    """As ``vicrop.boxes.select_box``, by loops over all windows."""
    values, region = np.asarray(amap.values, np.float64), amap.region
    found = []
    for ratio in ratios:
        size = boxes.window_size(amap.shape, region, crop_px * ratio)
        if size == amap.shape:
            break
        found.append((*best_window(values, size), size, ratio))
    if not found:
        return Box(0, 0, *image_size)
    top, left, _, size, ratio = max(found, key=lambda window: window[2])
    center = boxes.window_center(amap.shape, region, (top, left), size)
    return boxes.square(center, crop_px * ratio, image_size)


def box(vlm: Adapter, image: Image.Image, question: str, method: str) -> Box:
    """The crop that a map points to."""
    values = MAPS[method](vlm, image, question)
    amap = Map(*geometry.place(values, vlm.facts.fit, image.size))
    return select_box(amap, image.size, vlm.crop_px)


def answer(
    vlm: Adapter,
    image: Image.Image,
    question: str,
    method: str,
    tokens: int = 20,
    crop: Box | None = None,
) -> tuple[list[int], list[int]]:
    """Tokens of the plain answer, and of the one with the crop that a map points to.

    Args:
        vlm: see ``unfreeze``.
        image: upright RGB.
        question: the question.
        method: key of ``MAPS``.
        tokens: at most so many each.
        crop: shown instead of the map's, so that costs can be compared at one size.
    """
    said = generate(vlm, [image], question, tokens)
    found = box(vlm, image, question, method)
    return said, generate(vlm, [image, image.crop(crop or found)], question, tokens)
