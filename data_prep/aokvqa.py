"""A-OKVQA, validation split: direct answers, and the same questions as multiple choice.

Source: Schwenk et al., 2022 (allenai/aokvqa).
"""

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from data_prep.dataset import (
    COCO,
    DataSet,
    Hub,
    Item,
    ItemOf,
    Remote,
    in_json,
    in_parquet,
)
from data_prep.originals.fields import Ten, Text, lettered, printed
from data_prep.originals.files import Entry
from data_prep.originals.parquet import columns
from data_prep.originals.rows import Original, Row, checked


class Question(Original):
    """What both ways of asking need."""

    question_id: Text
    question: Text
    choices: Annotated[tuple[Text, ...], Field(min_length=2, max_length=26)]


class Direct(Question):
    """A row that is answered freely."""

    direct_answers: Annotated[Ten, Field(validate_default=True)] = ()
    difficult_direct_answer: bool

    @field_validator("direct_answers", mode="before")
    @classmethod
    def _are_there(cls, answers: Any) -> Any:
        """The mirror has them as one string, the Python list printed."""
        if isinstance(answers, str):
            answers = printed(answers)
        if not answers:
            raise ValueError("no answers, as in the test split; use val")
        return answers


class Choice(Question):
    """A row that is answered by one of its choices."""

    correct_choice_idx: Annotated[int | None, Field(validate_default=True)] = None

    @field_validator("correct_choice_idx")
    @classmethod
    def _is_one(cls, right: int | None, info: ValidationInfo) -> int | None:
        count = len(info.data.get("choices", ()))
        if right is None:
            raise ValueError("no right choice, as in the test split; use val")
        if not 0 <= right < count:
            raise ValueError(f"none of the {count} choices, counted from 0")
        return right


class Pictured(Original):
    """Which picture of COCO's val2017 a row is about; the mirror does not say."""

    image_id: Annotated[int, Field(ge=0)]


def _direct(row: Row, cell: Entry | None) -> Item:
    found = checked(Direct, row)
    picture, image = _picture(found, row, cell)
    return Item(
        where=row.where,
        key=found.question_id,
        question=found.question,
        labels=found.direct_answers,
        picture=picture,
        image=image,
        options=found.choices,
        meta={
            "question_id": found.question_id,
            # The official mean leaves these out; the authors' does not.
            "difficult_direct_answer": found.difficult_direct_answer,
        },
    )


def _choice(row: Row, cell: Entry | None) -> Item:
    found = checked(Choice, row)
    picture, image = _picture(found, row, cell)
    return Item(
        where=row.where,
        key=found.question_id,
        question=lettered(found.question, found.choices),
        labels=(found.choices[found.correct_choice_idx],),
        picture=picture,
        image=image,
        short_question=found.question,
        options=found.choices,
        meta={"question_id": found.question_id},
    )


def _picture(found: Question, row: Row, cell: Entry | None) -> tuple[Entry | str, str]:
    """A picture and its name: COCO's number, or in the mirror the question's."""
    if cell is not None:
        return cell, found.question_id
    name = f"{checked(Pictured, row).image_id:012d}"
    return f"val2017/{name}.jpg", name


MIRRORED = "data/validation-*.parquet"
SITE = "https://prior-datasets.s3.us-east-2.amazonaws.com/aokvqa"


def _dataset(
    key: str, title: str, item: ItemOf, kind: type[Question], note: str
) -> DataSet:
    return DataSet(
        key=key,
        title=title,
        questions=1145,
        images=1122,
        licence=(
            "Apache-2.0 (the authors' repository; of the questions themselves: not "
            "checked); pictures: COCO 2017, terms at cocodataset.org"
        ),
        layouts=(
            in_json("json", "aokvqa_v*_val.json", item),
            in_parquet("parquet", ("validation-*.parquet",), item, columns(kind)),
        ),
        files=(
            Remote("aokvqa", f"{SITE}/aokvqa_v1p0.tar.gz"),
            # COCO's page says 1 GB.
            Remote("coco-val2017", f"{COCO}/val2017.zip", 1),
        ),
        mirror=(Hub("aokvqa-mirror", "HuggingFaceM4/A-OKVQA", (MIRRORED,), 0.06),),
        note=f"{note} The mirror does not name its pictures: each question has one of "
        "its own in its source.",
    )


DATASETS = {
    "aokvqa": _dataset(
        "aokvqa",
        "A-OKVQA, validation, direct answers",
        _direct,
        Direct,
        "All questions are kept, as in the paper; the official mean leaves out those "
        "with difficult_direct_answer.",
    ),
    "aokvqa-mc": _dataset(
        "aokvqa-mc",
        "A-OKVQA, validation, multiple choice",
        _choice,
        Choice,
        "Not in the paper, which asks for direct answers.",
    ),
}
