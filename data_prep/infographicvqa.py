"""InfographicVQA (task 3 of the Robust Reading portal), validation split.

Not in the paper: here for its small print. Source: Mathew et al., 2022.
"""

from typing import Annotated

from numpy.random import Generator
from pydantic import Field

from data_prep.base import DataSet, Item, Layout
from data_prep.containers import Entry
from data_prep.docvqa import PORTAL, Asked, Text
from data_prep.fetch import Hub
from data_prep.originals import Originals
from data_prep.tables import (
    Original,
    ParquetCells,
    Row,
    checked,
    json_rows,
    parquet_rows,
)


class Question(Asked):
    """A row of the JSON or of the mirror, which has no ``evidence``."""

    answer_type: tuple[str, ...] | None = None
    evidence: tuple[str, ...] | None = None
    operation: Annotated[tuple[str, ...] | None, Field(alias="operation/reasoning")] = (
        None
    )

    @property
    def told(self) -> dict[str, object]:
        """What is known of its kind: tables group by the type of its answer."""
        named = {
            "category": (self.answer_type or ("",))[0],
            "answer_type": self.answer_type,
            "evidence": self.evidence,
            "operation": self.operation,
        }
        return {name: value for name, value in named.items() if value}


class Pictured(Original):
    """Which picture a row of the JSON is about."""

    image_local_name: Text


def read_json(originals: Originals, rng: Generator) -> list[Item]:
    """From the portal's JSON; pictures by their own names, whatever the folder."""
    return [
        _item(row, f"infographicsvqa_images/{name}", name)
        for row in json_rows(originals.need(PUBLISHED), "data")
        for name in [checked(Pictured, row).image_local_name]
    ]


def read_parquet(originals: Originals, rng: Generator) -> list[Item]:
    """From the mirror, whose pictures have no name but their question's."""
    found = originals.need_all(MIRRORED)
    rows = parquet_rows(found, COLUMNS)
    cells = ParquetCells.of(found, "image")
    return [
        _item(row, cell, str(row.values["questionId"]))
        for row, cell in zip(rows, cells, strict=True)
    ]


def _item(row: Row, picture: Entry | str, image: str) -> Item:
    found = checked(Question, row)
    return Item(
        where=row.where,
        key=str(found.question_id),
        question=found.question,
        labels=found.answers,
        picture=picture,
        image=image,
        meta={"question_id": found.question_id} | found.told,
    )


PUBLISHED = "infographic*VQA_val_v*.json"
MIRRORED = "InfographicVQA/validation-*.parquet"
COLUMNS = ("questionId", "question", "answers", "answer_type", "operation/reasoning")

DATASET = DataSet(
    key="infographicvqa",
    title="InfographicVQA, validation",
    questions=2801,
    images=None,
    licence=(
        "terms of the portal; pictures: as their makers have it; the mirror calls "
        "itself Apache-2.0"
    ),
    layouts=(
        Layout("portal", (PUBLISHED,), read_json),
        Layout("parquet", (MIRRORED,), read_parquet),
    ),
    mirror={
        "infographicvqa-mirror": (Hub("lmms-lab/DocVQA", (MIRRORED,), gigabytes=1.9),),
    },
    by_hand=(
        "--mirror fetches lmms-lab/DocVQA (its folder InfographicVQA) instead, or "
        f"register at {PORTAL} and get from Task 3 "
        "infographicsVQA_val_v1.0_withQT.json and the pictures, "
        "infographicsvqa_images (an archive may stay packed)"
    ),
    note=(
        "Not in the paper. The mirror does not name its pictures: its source then "
        "counts one for each question."
    ),
)
