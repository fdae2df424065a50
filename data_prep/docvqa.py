"""DocVQA (task 1 of the Robust Reading portal), validation split.

Source: Mathew et al., 2021.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field, field_validator

from data_prep.dataset import DataSet, Hub, Item, in_json, in_parquet
from data_prep.originals.fields import Text
from data_prep.originals.files import Entry
from data_prep.originals.parquet import columns
from data_prep.originals.rows import Original, Row, checked


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


def _item(row: Row, cell: Entry | None) -> Item:
    found = checked(Question, row)
    types = found.question_types or ()
    told = {"category": types[0], "question_types": types} if types else {}
    if cell is None:
        # Rows say ``documents/…`` whatever the folder is called: only the page's own
        # name counts, when no such folder is there.
        picture: Entry | str = checked(Pictured, row).image
        image = PurePosixPath(str(picture)).name
    else:
        page, picture = checked(Page, row), cell
        image = f"{page.document}_{page.number}"  # its name at the portal
    return Item(
        where=row.where,
        key=str(found.question_id),
        question=found.question,
        labels=found.answers,
        picture=picture,
        image=image,
        meta={"question_id": found.question_id} | told,
    )


COLUMNS = columns(Question, Page)
MIRRORED = "DocVQA/validation-*.parquet"
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
        in_json("portal", "val_v1.0_withQT.json", _item, "data"),
        in_json("tarball", "val_v1.0.json", _item, "data"),
        in_parquet("parquet", (MIRRORED,), _item, COLUMNS),
        in_parquet("parquet-m4", ("validation-*.parquet",), _item, COLUMNS),
    ),
    mirror=(Hub("docvqa-mirror", "lmms-lab/DocVQA", (MIRRORED,), 2.5),),
    by_hand=(
        "--mirror fetches lmms-lab/DocVQA instead, or register at "
        f"{PORTAL} and get from Task 1 val_v1.0_withQT.json (of spdocvqa_qas) and "
        "spdocvqa_images.tar.gz, or the older val.tar.gz, which has "
        "val/val_v1.0.json and val/documents/ (archives may stay packed)"
    ),
    note="The older files (val_v1.0.json) do not tell types of questions.",
)
