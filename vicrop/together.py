"""Several images in one batch: made here at once, left where their Views look for it.

A GPU is fast on batches, and a View asks about its image alone. What is made here, in
any order or not at all, the ordinary calls find and go on from: the images seen, the
general prompt's maps, questions run to their first answer tokens, answers. Prompts of
unequal lengths are padded, and the padding is cut out of all that is kept; it goes
through the model, though, and is counted in its ``work``. What is there already is not
made again.

In float32 a batch gives what images one by one give, to rounding (tests). In half
precision a batch rounds otherwise: a map's last digits, and a word where two were all
but equally likely, may differ.

Maps of gradients (``grad-att``, ``pure-grad``) are made one by one by their View: a
batch would have to keep every image's graph at once, for ``pure-grad`` some 5 GB of a
7B model each (estimate), and ``grad-att`` adds a single token to the answer's pass,
which is made here. Only InstructBLIP's ``grad-att`` is a pass of its own.

Memory that runs out (``torch.OutOfMemoryError``) is the caller's to see. A View is
given only what is finished, so that the same can be asked again in smaller batches.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache

from vicrop import attribution, capture
from vicrop import cache as kept
from vicrop.adapters.base import GENERAL_QUESTION, Adapter
from vicrop.attribution import Attribution
from vicrop.look import Look
from vicrop.prompts import Prefix, Prompt, Seen, Start, Words, not_none
from vicrop.tail import last_token_only
from vicrop.types import Box
from vicrop.view import View

Asked = tuple[View, str, Box | None]
"""A question about a view's image, or about the image and a crop of it."""


@torch.no_grad()
def see(views: Sequence[View]) -> None:
    """Look at images that were not looked at yet, the vision tower run once for all."""
    wholes = dict.fromkeys(view.whole for view in views)
    looks = [look for look in wholes if look._seen is None]
    if not looks:
        return
    seen = _model(views).look_apart([look.pictures[0] for look in looks])
    for look, own in zip(looks, seen, strict=True):
        look._seen = own


@torch.no_grad()
def start(vlm: Adapter, prompts: Sequence[Prompt]) -> None:
    """Run prompts to their first answer tokens, as ``vlm.start`` does one by one.

    Args:
        vlm: the model that they are for.
        prompts: about any images, or images and crops, of any lengths; those that were
            run already are left as they are.
    """
    waiting = [one for one in dict.fromkeys(prompts) if one.start is None]
    if not waiting:
        return
    _fill(vlm, waiting, len(vlm.attention))
    hidden, cache, rows = _read(vlm, waiting)
    scores = vlm.logits(not_none(hidden)[:, -1]).split(_rows(waiting))
    places = _cuts(waiting)
    caches = kept.apart(cache, places)
    for number, prompt in enumerate(waiting):
        place = None if prompt.positions is None else prompt.positions[..., -1:]
        own, row = scores[number].clone(), places[number].of(rows)
        prompt.start = Start(own, caches[number], place, row)


@torch.no_grad()
def general(views: Sequence[View], kind: Attribution) -> None:
    """What the general prompt says of several images, for maps of one layer.

    Args:
        views: those whose is kept already are left as they are.
        kind: of map; nothing is done for one without the general prompt or with
            gradients, which its View makes.
    """
    if not kind.needs_general or kind.of_prompt is not attribution.attention_to_image:
        return
    wholes = dict.fromkeys(view.whole for view in views)
    looks = [look for look in wholes if kind.of_prompt not in look._general]
    if not looks:
        return
    see(views)
    vlm = _model(views)
    prompts = [look.prompt(GENERAL_QUESTION, answered=False) for look in looks]
    _fill(vlm, prompts, vlm.layer + 1)
    _, _, rows = _read(vlm, prompts, vlm.layer + 1)
    for look, prompt, place in zip(looks, prompts, _cuts(prompts), strict=True):
        row = place.of(rows)[None]
        look._general[kind.of_prompt] = attribution.from_rows(row, prompt)[0]


@torch.no_grad()
def say(asked: Sequence[Asked], max_new_tokens: int = 20) -> None:
    """Answer several questions at once; ``View.ask`` then has them ready.

    Args:
        asked: a view, a question, and a crop of its image or None, any of which may
            come several times; what was said already is not said again.
        max_new_tokens: at most so many, as it will be given to ``View.ask``.
    """
    keys = [
        (view, (question, crop and tuple(crop), max_new_tokens))
        for view, question, crop in asked
    ]
    left = {
        key: case
        for key, case in zip(keys, asked, strict=True)
        if key[1] not in key[0]._said
    }
    if not left:
        return
    vlm = _model([view for view, _, _ in asked])
    prompts = _prompts(vlm, list(left.values()))
    start(vlm, prompts)
    answers = vlm.decode([not_none(one.start) for one in prompts], max_new_tokens)
    for (view, key), tokens in zip(left, answers, strict=True):
        view._said[key] = vlm.text(tokens)


def _prompts(vlm: Adapter, asked: Sequence[Asked]) -> list[Prompt]:
    """Prompts not run yet, all images and crops looked at."""
    see([view for view, _, _ in asked])
    crops = _crops(vlm, asked)
    cases = [
        (view.whole, question, None if crop is None else crops[view, tuple(crop)])
        for view, question, crop in asked
    ]
    cropped = [
        (look, question, crop) for look, question, crop in cases if crop is not None
    ]
    ready = iter(_connected(vlm, cropped))
    return [
        look.ask(question) if crop is None else look.follow(*next(ready))
        for look, question, crop in cases
    ]


def _crops(vlm: Adapter, asked: Sequence[Asked]) -> dict[tuple[View, tuple], Seen]:
    """Crops through the vision tower at once, each once."""
    wanted = {(view, tuple(crop)): crop for view, _, crop in asked if crop is not None}
    if not wanted:
        return {}
    parts = [view.part(crop) for (view, _), crop in wanted.items()]
    return dict(zip(wanted, vlm.look_apart(parts), strict=True))


def _connected(
    vlm: Adapter, asked: Sequence[tuple[Look, str, Seen]]
) -> list[tuple[Words, Seen, list[Tensor]]]:
    """Words, crop and its image tokens, a connector run once for all."""
    if not asked:
        return []
    words = [look.words(question, crop) for look, question, crop in asked]
    crops = [crop for _, _, crop in asked]
    read = vlm.connect(crops, words)
    tokens = [[made] for made, _ in read]
    return list(zip(words, crops, tokens, strict=True))


def _model(views: Sequence[View]) -> Adapter:
    """The views' own.

    Raises:
        ValueError: if they are of several.
    """
    vlm = views[0].vlm
    if any(view.vlm is not vlm for view in views):
        raise ValueError(
            "views of several models cannot be one batch; give each model its own call"
        )
    return vlm


# Prefixes: padded on the right, where no token of a causal model looks.


def _fill(vlm: Adapter, prompts: Sequence[Prompt], depth: int) -> None:
    """Run the prefixes that hold fewer layers, those of one depth at once."""
    by_depth: dict[int, dict[Prefix, Prompt]] = {}
    for prompt in prompts:
        prefix = prompt.prefix
        if prefix.cache is None or prefix.depth < depth:
            by_depth.setdefault(max(prefix.depth, depth), {})[prefix] = prompt
    for common, lacking in by_depth.items():
        _fill_to(vlm, list(lacking.values()), common)


def _fill_to(vlm: Adapter, prompts: Sequence[Prompt], depth: int) -> None:
    """``Language.fill`` for several; no prefix is changed before all are run."""
    prefixes, images = [one.prefix for one in prompts], [one.seen[0] for one in prompts]
    read = vlm.connect(images, [one.words for one in prompts])
    embeddings = [
        vlm.embed(one.ids, [tokens])
        for one, (tokens, _) in zip(prefixes, read, strict=True)
    ]
    places = [vlm.positions(one.prefix.ids, one.seen[:1]) for one in prompts]
    positions = None
    if places[0] is not None:
        positions = _batch([not_none(one) for one in places], -1, after=True)
    cache = DynamicCache(config=vlm.text_model.config)
    with capture.stop_at(vlm.attention[depth - 1]):
        vlm.hidden(_batch(embeddings, -2, after=True), cache, positions)
    cuts = [
        kept.Cut(cut.rows, (slice(one.ids.shape[1]),))
        for one, cut in zip(prefixes, _cuts(prompts), strict=True)
    ]
    caches = kept.apart(cache, cuts)
    for prefix, own, (_, step) in zip(prefixes, caches, read, strict=True):
        prefix.depth, prefix.cache, prefix.connector = depth, own, step


# Suffixes: padded on the left, so that the last token is every prompt's own last.


def _read(
    vlm: Adapter, prompts: Sequence[Prompt], depth: int | None = None
) -> tuple[Tensor | None, DynamicCache, Tensor]:
    """Run suffixes behind their prefixes: padding, prefix, padding, suffix.

    Args:
        vlm: the model.
        prompts: whose prefixes were run.
        depth: stop in this layer once its row is read; None to run all.

    Returns:
        Last hidden states (None if stopped), the grown cache, and (rows, heads, keys)
        the map's row; all of the batch, padded.
    """
    hidden = None
    cache, mask = kept.side_by_side(
        [not_none(one.prefix.cache) for one in prompts], depth
    )
    places = _batch([_places(one) for one in prompts], -1)
    module, stop = vlm.attention[vlm.layer], depth is not None
    if mask is not None:
        ones = [mask.new_ones(one.suffix.shape[:2]) for one in prompts]
        mask = torch.cat([mask, _batch(ones, -1)], 1)
    with capture.read_rows([module], stop) as rows, last_token_only(vlm.end):
        suffixes = _batch([one.suffix for one in prompts], -2)
        hidden = vlm.hidden(suffixes, cache, places, mask)
    return hidden, cache, rows[0]


def _places(prompt: Prompt) -> Tensor:
    """Positions of a suffix, counted where the model would count them."""
    if prompt.positions is not None:
        return prompt.positions
    rows, tokens = prompt.suffix.shape[:2]
    first = prompt.prefix.ids.shape[1]
    counted = torch.arange(first, first + tokens, device=prompt.suffix.device)
    return counted.expand(rows, -1)


def _cuts(prompts: Sequence[Prompt]) -> list[kept.Cut]:
    """Where each prompt is in their batch."""
    return kept.cuts(
        _rows(prompts),
        [one.prefix.ids.shape[1] for one in prompts],
        [one.suffix.shape[1] for one in prompts],
    )


def _rows(prompts: Sequence[Prompt]) -> list[int]:
    """Images that each prompt is asked about, a row of the batch each."""
    return [len(one.suffix) for one in prompts]


def _batch(tensors: Sequence[Tensor], axis: int, after: bool = False) -> Tensor:
    """Tensors as one batch, padded with zeros to the longest.

    Args:
        tensors: (…, rows, tokens, …).
        axis: of the tokens, counted from the end; that of the rows is before it.
        after: whether the padding comes after the tokens.
    """
    longest = max(one.shape[axis] for one in tensors)
    padded = []
    for one in tensors:
        short = longest - one.shape[axis]
        sides = (0, short) if after else (short, 0)
        padded.append(functional.pad(one, (0, 0) * (-axis - 1) + sides))
    return torch.cat(padded, axis - 1)
