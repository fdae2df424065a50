"""VQAv2, validation split: questions and annotations are two files, joined here.

Source: Goyal et al., 2017 (visualqa.org).
"""

from typing import Annotated

from pydantic import Field, field_validator

from data_prep.dataset import COCO, DataSet, Hub, Item, Layout, Remote, in_parquet
from data_prep.originals.fields import Text
from data_prep.originals.files import Entry
from data_prep.originals.parquet import columns
from data_prep.originals.rows import Original, Row, checked, json_rows
from data_prep.originals.search import Originals


class Numbered(Original):
    """What both files say of a question."""

    question_id: int
    image_id: Annotated[int, Field(ge=0)]


class Question(Numbered):
    """A row of the questions."""

    question: Text


class Answer(Original):
    """What one of ten people said."""

    answer: str
    answer_id: int


class Annotation(Numbered):
    """A row of the annotations."""

    question_type: str
    answer_type: Text
    answers: Annotated[tuple[Answer, ...], Field(min_length=10, max_length=10)]

    @field_validator("answers")
    @classmethod
    def _are_ten_people(cls, answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
        if len({given.answer_id for given in answers}) < len(answers):
            raise ValueError("an answer_id is there twice")
        return tuple(sorted(answers, key=lambda given: given.answer_id))


def read_json(originals: Originals, seed: int) -> list[Item]:
    """From the two published files, whatever the order of either."""
    asked, answered = originals.need(QUESTIONS), originals.need(ANNOTATIONS)
    annotations = _by_question(json_rows(answered, "annotations"))
    items = []
    for row in json_rows(asked, "questions"):
        number = checked(Numbered, row).question_id
        if number not in annotations:
            raise ValueError(_unpaired(row, number, answered))
        items.append(_item(row, annotations[number]))
    known = {item.meta["question_id"] for item in items}
    for number, row in annotations.items():
        if number not in known:
            raise ValueError(_unpaired(row, number, asked))
    return items


def _by_question(rows: list[Row]) -> dict[int, Row]:
    """Rows, and not yet what is in them: as models, two million answers take GBs."""
    found: dict[int, Row] = {}
    for row in rows:
        number = checked(Numbered, row).question_id
        if number in found:
            raise ValueError(
                f"{row.where}: question {number} is annotated already in "
                f"{found[number].where}; fetch the file again"
            )
        found[number] = row
    return found


def _unpaired(row: Row, number: int, other: Entry) -> str:
    return (
        f"{row.where}: question {number} is not in {other.where}; give both files of "
        "the validation split"
    )


def _item(row: Row, annotated: Row, cell: Entry | None = None) -> Item:
    asked, found = checked(Question, row), checked(Annotation, annotated)
    if found.image_id != asked.image_id:
        raise ValueError(
            f"{annotated.where} field image_id: {found.image_id}, but {row.where} has "
            f"{asked.image_id}; give both files of one version"
        )
    name = f"COCO_val2014_{asked.image_id:012d}"
    return Item(
        where=row.where,
        key=str(asked.question_id),
        question=asked.question,
        labels=tuple(given.answer for given in found.answers),
        picture=cell or f"val2014/{name}.jpg",
        image=name,
        meta={
            "question_id": asked.question_id,
            "category": found.answer_type,
            "question_type": found.question_type,
        },
    )


QUESTIONS = "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATIONS = "v2_mscoco_val2014_annotations.json"
SITE = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa"

DATASET = DataSet(
    key="vqav2",
    title="VQAv2, validation",
    questions=214354,
    images=40504,
    licence=(
        "CC BY 4.0 (questions and answers); pictures: COCO 2014, terms at "
        "cocodataset.org"
    ),
    layouts=(
        Layout("json", (QUESTIONS, ANNOTATIONS), read_json),
        in_parquet(
            "parquet",
            ("validation-*.parquet",),
            lambda row, cell: _item(row, row, cell),
            columns(Question, Annotation),
        ),
    ),
    files=(
        Remote("vqav2", f"{SITE}/v2_Questions_Val_mscoco.zip"),
        Remote("vqav2", f"{SITE}/v2_Annotations_Val_mscoco.zip"),
        # About: COCO's page says so, no file was weighed.
        Remote("coco-val2014", f"{COCO}/val2014.zip", 6),
    ),
    mirror=(
        Hub("vqav2-mirror", "lmms-lab/VQAv2", ("data/validation-*.parquet",), 33.7),
    ),
    note=(
        "Unless --limit says otherwise, 50000 questions are drawn by seed 0. The "
        "paper's 50000 cannot be made again: no seed is published, and they are about "
        "14206 pictures, where questions drawn evenly touch some 30600."
    ),
    limit=50_000,
)
