"""The same question asked briefly and at length: what its words do to the map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.random import Generator

from analysis import crops, looking
from vicrop import boxes
from vicrop.run import datasets
from vicrop.run.records import Sample
from vicrop.types import Map

if TYPE_CHECKING:  # what is computed of maps that are there needs no torch
    from vicrop.adapters.adapter import Adapter
    from vicrop.view import View

SHORT, LISTED, CHOICE = "the question", "with options", "with options and instruction"
"""Ways to ask; the last is how V* and A-OKVQA ask."""

INSTRUCTION = "Answer with the option's letter from the given choices directly."
"""The last line of V*'s questions."""


def answers(dataset: str) -> dict[str, list[str]]:
    """All labels of a data set by the kind of question: what options are drawn from."""
    found: dict[str, set[str]] = {}
    for sample in datasets.load(dataset):
        found.setdefault(_kind(sample), set()).update(sample.labels)
    return {kind: sorted(labels) for kind, labels in found.items()}


def _kind(sample: Sample) -> str:
    return str(sample.meta.get("kind", ""))


def options(
    sample: Sample, known: Sequence[str], rng: Generator, count: int = 4
) -> list[str]:
    """The label among other answers to such questions, in random order.

    Args:
        sample: whose first label is the right option.
        known: answers, see ``answers``.
        rng: of choice and order.
        count: at most so many.
    """
    label = sample.labels[0]
    others = [one for one in known if one not in sample.labels]
    chosen = rng.permutation(others)[: count - 1].tolist()
    return [str(one) for one in rng.permutation([label, *chosen])]


def listed(question: str, choices: Sequence[str]) -> str:
    """A question and its lettered options, a line each."""
    lettered = zip(ascii_uppercase, choices, strict=False)
    return "\n".join([question, *(f"({letter}) {one}" for letter, one in lettered)])


def asked(question: str, choices: Sequence[str]) -> dict[str, str]:
    """A question in each way to ask it.

    >>> print(asked("Which?", ["red", "blue"])[CHOICE])
    Which?
    (A) red
    (B) blue
    Answer with the option's letter from the given choices directly.
    """
    long = listed(question, choices)
    return {SHORT: question, LISTED: long, CHOICE: f"{long}\n{INSTRUCTION}"}


def asked_of(
    dataset: str, samples: Iterable[Sample], seed: int = 0
) -> dict[str, dict[str, str]]:
    """Samples' questions in each way, by sample id."""
    known = answers(dataset)
    return {
        one.id: asked(
            looking.asked(one), options(one, known[_kind(one)], _rng(one, seed))
        )
        for one in samples
    }


def _rng(sample: Sample, seed: int) -> Generator:
    """A sample's own, so that its options do not depend on which others are asked."""
    return np.random.default_rng([seed, *sample.id.encode()])


def measure(
    vlm: Adapter,
    dataset: str,
    looked: Sequence[looking.Looked],
    texts: Mapping[str, Mapping[str, str]],
) -> pd.DataFrame:
    """The crops of rel-att's map by how the question was asked, as ``crops.measure``.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        looked: the maps of the short questions (see ``looking.looks``).
        texts: by sample id, then by way to ask (see ``asked_of``).

    Source: the authors' code looks with ``short_question`` where the data have one; the
    paper does not mention it.
    """
    views = looking.views(vlm, dataset, [one.sample for one in looked])
    return crops.table(
        (sample, name, boxes.select_box(amap, one.image_size, vlm.crop_px))
        for one, (sample, view) in zip(looked, views, strict=True)
        for name, amap in _maps(view, one.maps[vlm.layer], texts[sample.id])
    )


def _maps(view: View, known: Map, ways: Mapping[str, str]) -> Iterator[tuple[str, Map]]:
    """Each way's map; that of the short question is there."""
    for name, text in ways.items():
        yield name, known if name == SHORT else view.importance(text)
