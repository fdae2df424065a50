"""A few questions of a run, chosen by rule, and where the model looked for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from analysis import looking
from vicrop import images
from vicrop.run import datasets
from vicrop.run.records import Sample
from vicrop.types import Box, Map, Region

if TYPE_CHECKING:  # what was measured before is read without torch
    from vicrop.adapters.adapter import Adapter

REPAIRED, FAILED = 3, 1
"""How many are shown that the crop repairs, and that it does not."""


@dataclass(frozen=True)
class Example:
    """A question, what the model said to it, and what it looked at.

    Attributes:
        image: the whole picture.
        question: what was asked.
        truth: box of what is asked about, pixels.
        plain: answer from the picture alone.
        answer: answer with the crop beside it.
        right: whether that one is.
        label: what is right.
        box: the crop, pixels.
        cells: (rows, cols) float64 by name: attention for the ``question`` and the
            ``general`` prompt, and the package's ``relative`` map of the two.
        region: where the cells lie in the picture, pixels.
    """

    image: Image.Image
    question: str
    truth: tuple[float, ...]
    plain: str
    answer: str
    right: bool
    label: str
    box: Box
    cells: dict[str, np.ndarray]
    region: Region

    @property
    def relative(self) -> Map:
        """The map that chose the crop."""
        return Map(self.cells["relative"], self.region)


def chosen(run: pd.DataFrame) -> pd.DataFrame:
    """Rows of small objects that are misread without a crop, each of another picture.

    The first ``REPAIRED`` of a run that are read with its crop, then the first
    ``FAILED`` that are not.

    Args:
        run: its table (see ``results.table``).
    """
    missed = run[(run["group"] == "small") & (run["plain_score"] == 0)]
    missed = missed[missed["box"].notna()].drop_duplicates("image")
    read = missed["score"] > 0.5
    return pd.concat([missed[read].head(REPAIRED), missed[~read].head(FAILED)])


def maps(vlm: Adapter, dataset: str, run: pd.DataFrame) -> pd.DataFrame:
    """What the model looks at for each example, cell by cell.

    Returns:
        One row a cell: ``id``, ``image``, ``row``, ``column``, ``question``,
        ``general`` and ``relative`` (see ``Example``), and the region's ``left``,
        ``top``, ``right`` and ``bottom``.
    """
    kept = chosen(run).index
    samples = [one for one in datasets.load(dataset) if one.id in kept]
    return pd.DataFrame(
        {"id": sample.id, "image": sample.image_path} | cell
        for sample, view in looking.views(vlm, dataset, samples)
        for cell in _cells(view, looking.asked(sample))
    )


def _cells(view, asked: str) -> list[dict[str, float]]:
    from vicrop import attribution  # torch

    relative = view.importance(asked, "rel-att")
    question, general = (
        attribution.paper.attention_to_image(view.vlm, [view.whole.ask(text)])[0][0]
        for text in (asked, attribution.GENERAL_QUESTION)
    )
    region = relative.region or (0, 0, *view.image.size)
    edges = dict(zip(("left", "top", "right", "bottom"), region, strict=True))
    made = {"question": question, "general": general, "relative": relative.values}
    return [
        {"row": row, "column": column}
        | {name: float(values[row, column]) for name, values in made.items()}
        | edges
        for row, column in np.ndindex(question.shape)
    ]


def of(dataset: str, run: pd.DataFrame, cells: pd.DataFrame) -> list[Example]:
    """The examples of a run, in the order of ``chosen``.

    Args:
        dataset: key or folder.
        run: its table.
        cells: as ``maps`` gives them.
    """
    by_id = {sample.id: sample for sample in datasets.load(dataset)}
    looked = {str(name): found for name, found in cells.groupby("id")}
    return [
        _example(dataset, by_id[str(name)], row, looked[str(name)])
        for name, row in chosen(run).iterrows()
    ]


def _example(
    dataset: str, sample: Sample, row: pd.Series, cells: pd.DataFrame
) -> Example:
    shape = cells["row"].max() + 1, cells["column"].max() + 1
    names, first = ("question", "general", "relative"), cells.iloc[0]
    return Example(
        image=images.load(datasets.image_path(dataset, sample)),
        question=sample.question,
        truth=sample.boxes[0],
        plain=row["plain"],
        answer=row["answer"],
        right=row["score"] > 0.5,
        label=sample.labels[0],
        box=Box(*row["box"]),
        cells={name: cells[name].to_numpy().reshape(shape) for name in names},
        region=(first["left"], first["top"], first["right"], first["bottom"]),
    )
