"""Who looks: each token behind the image in every layer, and maps made from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import looking
from vicrop import boxes, scoring
from vicrop.run.records import Sample
from vicrop.run.stats import Estimate
from vicrop.types import Map

if TYPE_CHECKING:  # what was measured before is read without torch
    from vicrop.adapters.adapter import Adapter
    from vicrop.adapters.decoder import Decoder
    from vicrop.prompts import Prompt
    from vicrop.view import View

Row = dict[str, object]
FIRST, NAME, OTHER, LAST, END = ROLES = (
    "prompt's first words",
    "the object's word",
    "other words of the question",
    "prompt's last words",
    "last token",
)
"""What a token behind the image is; the paper reads the last one."""

QUERIES = "queries alone"
"""A connector's own attention, mean over its queries, whatever any word attends to."""
MAPS = ("raw-att", "rel-att", "word-att")


def looks(
    vlm: Adapter, dataset: str, samples: list[Sample]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What every token and map prefers, on right and wrong answers without a crop.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        samples: with a ground-truth box and a label each.

    Returns:
        A row a question, layer and token, with its ``place`` behind the image,
        ``token``, ``role`` and the ``ratio`` of its attention as it is; and a row a
        question and map, with ``name``, ``ratio`` and its crop's ``coverage``. Both
        with the question's ``id``, ``image`` and ``answer``.
    """
    tokens, maps = [], []
    for sample, view in looking.views(vlm, dataset, samples):
        # The words first: the answer goes on from the pass that reads them.
        rows = list(_of_tokens(view, sample))
        said = view.ask(sample.question).plain
        score = scoring.of_answer(dataset, said, sample.labels, sample.question)
        answer = looking.ANSWERS[score is None or score < 0.5]
        about = {"id": sample.id, "image": sample.image_path, "answer": answer}
        tokens += [about | row for row in rows]
        maps += [about | row for row in _of_maps(view, sample)]
    return pd.DataFrame(tokens), pd.DataFrame(maps)


def _of_tokens(view: View, sample: Sample) -> Iterator[Row]:
    from vicrop.attribution.words import attention_of_words, own_words  # torch

    prompt = view.whole.ask(looking.asked(sample))
    told = texts(view.vlm, prompt)
    role = roles(told, own_words(view.vlm, prompt))
    (found,) = attention_of_words(view.vlm, [prompt])
    for (layer, place), ratio in np.ndenumerate(ratios(view, found[0], sample)):
        row: Row = {"layer": layer, "place": place, "ratio": ratio}
        yield row | {"token": told[place], "role": role[place]}


def _of_maps(view: View, sample: Sample) -> Iterator[Row]:
    question, box, size = looking.asked(sample), sample.boxes[0], view.image.size
    made = {name: view.importance(question, name) for name in MAPS}
    if view.vlm.facts.connector is not None:
        made[QUERIES] = view.placed(of_queries(view, question).mean(0))
    for name, amap in made.items():
        crop = boxes.select_box(amap, size, view.vlm.crop_px)
        row: Row = {"name": name, "coverage": boxes.coverage(crop, box)}
        yield row | {"ratio": looking.attention_ratio(amap, box, size)}


def texts(vlm: Decoder, prompt: Prompt) -> list[str]:
    """The tokens behind a prompt's image, as they are written."""
    ids = prompt.words.ids[0, prompt.prefix.span.stop :].tolist()
    return [vlm.tokenizer.decode([one]).strip() or "↵" for one in ids]


def roles(told: list[str], own: slice) -> list[str]:
    """What each token is; ``own`` are the question's (see ``own_words``).

    >>> roles("Q: which red ? A:".split(), slice(1, 4))[2]
    'other words of the question'
    """
    last = len(told) - own.stop
    count = own.stop - own.start
    return [*[FIRST] * own.start, *[OTHER] * count, *[LAST] * last][:-1] + [END]


def named(tokens: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """Tokens of ``looks`` where some words, such as colours, name the object."""
    is_name = tokens["token"].isin(names) & (tokens["role"] == OTHER)
    return tokens.assign(role=tokens["role"].mask(is_name, NAME))


def ratios(view: View, values: np.ndarray, sample: Sample) -> np.ndarray:
    """(…) attention ratios of (…, rows, cols) maps (see ``looking``)."""
    flat, size = values.reshape(-1, *values.shape[-2:]), view.image.size
    maps = map(view.placed, flat)
    made = [looking.attention_ratio(one, sample.boxes[0], size) for one in maps]
    return np.reshape(made, values.shape[:-2])


def of_queries(view: View, question: str) -> np.ndarray:
    """(queries, rows, cols) a connector's own attention, at its layer of the map."""
    from vicrop.prompts import not_none  # torch

    prompt = view.whole.ask(question)
    view.vlm.run([prompt])
    rows, cols = prompt.grid
    step = not_none(prompt.prefix.connector)[0].float().mean(0)[:, -rows * cols :]
    return step.reshape(-1, rows, cols).cpu().numpy()


def of_question(tokens: pd.DataFrame, name: str) -> pd.DataFrame:
    """Ratio of one question's tokens (rows, in their order) in each layer (columns)."""
    one = tokens[tokens["id"] == name]
    made = one.pivot(index="place", columns="layer", values="ratio")
    return made.set_axis(one.groupby("place")["token"].first())


def by_role(tokens: pd.DataFrame, answer: str) -> dict[str, list[Estimate]]:
    """Median ratio by role, then layer; of a question's tokens of one role theirs."""
    kept = tokens[tokens["answer"] == answer]
    each = kept.groupby(["role", "layer", "id", "image"])["ratio"].median()
    by = dict(iter(each.reset_index().groupby("role")))
    return {role: looking.ratio_by_layer(by[role]) for role in ROLES if role in by}


def of_map(maps: pd.DataFrame, name: str, answer: str = "") -> pd.DataFrame:
    """Rows of a map, of all answers or only of the right or wrong ones."""
    kept = maps[maps["name"] == name]
    return kept[kept["answer"] == answer] if answer else kept


# Variants of the map by words, for validation scenes to choose from.


def _more(about: np.ndarray, general: np.ndarray) -> np.ndarray:
    """(layers, rows, cols) what the most of some tokens is above that of others."""
    return np.clip(about.max(1) - general.max(1), 0, None)


def _even(rows: np.ndarray) -> np.ndarray:
    return rows / rows.sum((-2, -1), keepdims=True)


def _sharpest(rows: np.ndarray) -> np.ndarray:
    peaks = _even(rows).max((-2, -1))
    return rows[np.unravel_index(peaks.argmax(), peaks.shape)]


BEST, OWN = "word-att: sum of layers, most of tokens", "the question's own words only"
VARIANTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    BEST: lambda q, g: _more(q, g).sum(0),
    "largest layer": lambda q, g: _more(q, g).max(0),
    "lower half of the layers": lambda q, g: _more(q, g)[: len(q) // 2].sum(0),
    "upper half of the layers": lambda q, g: _more(q, g)[len(q) // 2 :].sum(0),
    "mean of tokens": lambda q, g: np.clip(q.mean(1) - g.mean(1), 0, None).sum(0),
    "last token alone": lambda q, g: _more(q[:, -1:], g[:, -1:]).sum(0),
    "rows normalised first": lambda q, g: _more(_even(q), _even(g)).sum(0),
    "general prompt not subtracted": lambda q, _: q.max(1).sum(0),
    "the one row of the sharpest peak": lambda q, _: _sharpest(q),
}
"""From (layers, tokens, rows, cols) of the question and of the general prompt."""


def variant_maps(view: View, question: str) -> dict[str, Map]:
    """Each variant's map of a question (see ``VARIANTS``).

    One that is zero everywhere points nowhere and is left out: ``crops.hits`` counts
    it as a miss.
    """
    from vicrop.attribution import GENERAL_QUESTION  # torch
    from vicrop.attribution.words import attention_of_words, own_words

    prompts = [view.whole.prompt(one) for one in (question, GENERAL_QUESTION)]
    both = [found[0] for found in attention_of_words(view.vlm, prompts)]
    own = [own_words(view.vlm, one) for one in prompts]
    made = {name: combine(*both) for name, combine in VARIANTS.items()}
    made[OWN] = VARIANTS[BEST](*(a[:, kept] for a, kept in zip(both, own, strict=True)))
    return {name: view.placed(one) for name, one in made.items() if one.any()}
