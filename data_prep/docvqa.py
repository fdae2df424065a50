"""DocVQA (task 1 of the Robust Reading portal), validation split.

Source: Mathew et al., 2021.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any

from numpy.random import Generator
from pydantic import Field, field_validator

from data_prep.base import DataSet, Item, Layout
from data_prep.containers import Entry
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

Text = Annotated[str, Field(min_length=1)]


class Asked(Original):
    """What rows of the portal's tasks have in common; the mirror's ids are strings."""

    question_id: Annotated[int, Field(alias="questionId")]
    question: Text
    answers: Annotated[tuple[str, ...], Field(validate_default=True)] = ()

    @field_validator("answers", mode="before")
    @classmethod
    def _are_there(cls, answers: Any) -> Any:
        if answers in (None, (), [], [""]):
            raise ValueError("no answers, as in the test split; use val")
        return answers


class Question(Asked):
    """A row of either task-1 file; the older one does not tell types."""

    question_types: tuple[str, ...] | None = None


class Pictured(Original):
    """Which page a row of the JSON is about."""

    image: Text


class Page(Original):
    """Which page a row of a mirror is about."""

    document: Annotated[Text, Field(alias="ucsf_document_id")]
    number: Annotated[Text, Field(alias="ucsf_document_page_no")]


def _item(row: Row, picture: Entry | str, image: str) -> Item:
    found = checked(Question, row)
    types = found.question_types or ()
    told = {"category": types[0], "question_types": types} if types else {}
    return Item(
        where=row.where,
        key=str(found.question_id),
        question=found.question,
        labels=found.answers,
        picture=picture,
        image=image,
        meta={"question_id": found.question_id} | told,
    )


def _from_json(name: str, file: str) -> Layout:
    """A published list.

    Its rows say ``documents/…`` whatever the folder is called: only the page's own
    name counts, when no such folder is there.
    """

    def read(originals: Originals, rng: Generator) -> list[Item]:
        return [
            _item(row, image, PurePosixPath(image).name)
            for row in json_rows(originals.need(file), "data")
            for image in [checked(Pictured, row).image]
        ]

    return Layout(name, (file,), read)


def _from_parquet(name: str, files: str) -> Layout:
    """A mirror, pages in the rows; they get the names that they have at the portal."""

    def read(originals: Originals, rng: Generator) -> list[Item]:
        found = originals.need_all(files)
        rows = parquet_rows(found, COLUMNS)
        cells = ParquetCells.of(found, "image")
        return [
            _item(row, cell, f"{page.document}_{page.number}")
            for row, cell in zip(rows, cells, strict=True)
            for page in [checked(Page, row)]
        ]

    return Layout(name, (files,), read)


COLUMNS = (
    "questionId",
    "question",
    "question_types",
    "ucsf_document_id",
    "ucsf_document_page_no",
    "answers",
)
PORTAL = "https://rrc.cvc.uab.es/?ch=17&com=downloads"

DATASET = DataSet(
    key="docvqa",
    title="DocVQA, task 1 (single page), validation",
    questions=5349,
    images=1286,
    licence=(
        "terms of the portal, and of UCSF Industry Documents for the pages; the mirror "
        "calls itself Apache-2.0"
    ),
    layouts=(
        _from_json("portal", "val_v1.0_withQT.json"),
        _from_json("tarball", "val_v1.0.json"),
        _from_parquet("parquet", "DocVQA/validation-*.parquet"),
        _from_parquet("parquet-m4", "validation-*.parquet"),
    ),
    mirror={
        "docvqa-mirror": (
            Hub("lmms-lab/DocVQA", ("DocVQA/validation-*.parquet",), gigabytes=2.5),
        ),
    },
    by_hand=(
        "--mirror fetches lmms-lab/DocVQA instead, or register at "
        f"{PORTAL} and get from Task 1 val_v1.0_withQT.json (of spdocvqa_qas) and "
        "spdocvqa_images.tar.gz, or the older val.tar.gz, which has "
        "val/val_v1.0.json and val/documents/ (archives may stay packed)"
    ),
    note="The older files (val_v1.0.json) do not tell types of questions.",
)
