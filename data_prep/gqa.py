"""GQA, the balanced questions of its testdev split.

Source: Hudson and Manning, 2019.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, field_validator

from data_prep.dataset import DataSet, Hub, Item, Layout, Remote
from data_prep.originals.fields import Text
from data_prep.originals.files import Entry
from data_prep.originals.parquet import columns, parquet_rows, pictured_rows
from data_prep.originals.rows import Original, Row, checked, json_items
from data_prep.originals.search import Originals

Number = Annotated[str, Field(pattern=r"^\w+$")]
"""Ids are text: those of questions may begin with 0, those of pictures with n."""


class Types(Original):
    """Of a question; ``structural`` is "query" for the open ones, else they are binary.

    (So the official evaluation splits them.)
    """

    structural: Text
    semantic: Text
    detailed: Text


class Question(Original):
    """A question of the JSON, whose key is its id, or of the mirror."""

    question: Text
    image_id: Annotated[Number, Field(alias="imageId")]
    answer: Annotated[str, Field(validate_default=True)] = ""
    types: Types

    @field_validator("answer", mode="before")
    @classmethod
    def _is_there(cls, answer: object) -> object:
        if answer in (None, ""):
            raise ValueError(
                "no answer, as in the test and challenge splits; use testdev"
            )
        return answer


class Numbered(Original):
    """What a row of the mirror goes by."""

    id: Number


def read_json(originals: Originals, seed: int) -> list[Item]:
    """From the published JSON, which may lie in the zip; pictures in ``images/``."""
    return [
        _item(key, row, found, f"images/{found.image_id}.jpg")
        for key, row in json_items(originals.need(PUBLISHED))
        for found in [checked(Question, row)]
    ]


def read_parquet(originals: Originals, seed: int) -> list[Item]:
    """From the mirror, where pictures have a table of their own."""
    cells = _cells(originals.need_all(IMAGES))
    files = originals.need_all(QUESTIONS)
    return [
        _item(checked(Numbered, row).id, row, found, _cell(cells, found, row))
        for row in parquet_rows(files, columns(Numbered, Question))
        for found in [checked(Question, row)]
    ]


def _item(key: str, row: Row, found: Question, picture: Entry | str) -> Item:
    return Item(
        where=row.where,
        key=key,
        question=found.question,
        labels=(found.answer,),
        picture=picture,
        image=found.image_id,
        meta={
            "question_id": key,
            "category": found.types.structural,
            "semantic": found.types.semantic,
            "detailed": found.types.detailed,
        },
    )


def _cells(files: list[Entry]) -> dict[str, Entry]:
    """Pictures of the mirror by their id."""
    found: dict[str, Entry] = {}
    for row, cell in pictured_rows(files, columns(Numbered)):
        name = checked(Numbered, row).id
        if name in found:
            raise ValueError(
                f"{row.where} field id: picture {name!r} is there already; is a file "
                "joined to itself? fetch it again"
            )
        found[name] = cell
    return found


def _cell(cells: Mapping[str, Entry], found: Question, row: Row) -> Entry:
    if found.image_id not in cells:
        raise FileNotFoundError(
            f"{row.where} field imageId: no picture {found.image_id!r} in {IMAGES}; "
            "fetch those files again"
        )
    return cells[found.image_id]


PUBLISHED = "testdev_balanced_questions.json"
QUESTIONS = "testdev_balanced_instructions/testdev-*.parquet"
IMAGES = "testdev_balanced_images/testdev-*.parquet"
SITE = "https://downloads.cs.stanford.edu/nlp/data/gqa"

DATASET = DataSet(
    key="gqa",
    title="GQA, testdev, balanced",
    questions=12578,
    images=398,
    licence="CC BY 4.0 (not checked); the mirror calls itself MIT",
    layouts=(
        Layout("json", (PUBLISHED,), read_json),
        Layout("parquet", (QUESTIONS, IMAGES), read_parquet),
    ),
    files=(Remote("gqa", f"{SITE}/questions1.2.zip", 1.4),),
    # The zip has about 20 GB, for the pictures of all splits.
    pictures=Remote("gqa-images", f"{SITE}/images.zip", 0.05),
    mirror=(Hub("gqa-mirror", "lmms-lab/GQA", (QUESTIONS, IMAGES), 0.07),),
    note=(
        "The paper counts 10781 questions on the same 398 pictures (its table 5) and "
        "does not say which; the published file has 12578, and all of them are kept."
    ),
)
