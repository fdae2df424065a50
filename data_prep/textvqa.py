"""TextVQA, validation split, and the boxes of its answers.

Source: Singh et al., 2019; boxes: the authors of the paper (its appendix B).
"""

from collections.abc import Iterable

from pydantic import field_validator

from data_prep.dataset import DataSet, Hub, Item, Layout, Remote
from data_prep.originals.fields import Ten, Text, from_xywh
from data_prep.originals.files import Entry
from data_prep.originals.parquet import (
    columns,
    parquet_columns,
    parquet_rows,
    pictured_rows,
)
from data_prep.originals.rows import Original, Row, checked, json_rows
from data_prep.originals.search import Originals
from vicrop.types import Region


class Question(Original):
    """A row of ``TextVQA_0.5.1_val.json``."""

    question_id: int
    question: Text
    image_id: Text
    answers: Ten

    @field_validator("answers")
    @classmethod
    def _are_there(cls, answers: tuple[str, ...]) -> tuple[str, ...]:
        if not any(answers):
            raise ValueError("all answers are empty, as in the test split; use val")
        return answers


class BoxRow(Original):
    """A row of the boxes: ``bbox`` is (x, y, width, height), pixels."""

    dataset_id: str
    bbox: tuple[float, ...]


Boxes = dict[str, tuple[Region, str]]
"""By question id: a box, and the row that says it."""


def read_json(originals: Originals, seed: int) -> list[Item]:
    """From the published JSON; pictures of both splits lie in ``train_images/``."""
    rows = json_rows(originals.need("TextVQA_*_val.json"), "data")
    return _items(((row, None) for row in rows), originals)


def read_parquet(originals: Originals, seed: int) -> list[Item]:
    """From the mirror's parquet files, pictures in the rows."""
    files = originals.need_all("validation-*.parquet")
    return _items(pictured_rows(files, columns(Question)), originals)


def _items(
    rows: Iterable[tuple[Row, Entry | None]], originals: Originals
) -> list[Item]:
    boxes = read_boxes(originals)
    items = [_item(row, cell, boxes) for row, cell in rows]
    known = {item.key for item in items}
    for number in (number for number in boxes if number not in known):
        raise ValueError(
            f"{boxes[number][1]} field dataset_id: no question {number!r} in "
            f"{originals}; are boxes and questions of one version?"
        )
    return items


def _item(row: Row, cell: Entry | None, boxes: Boxes) -> Item:
    found = checked(Question, row)
    box = boxes.get(str(found.question_id))
    return Item(
        where=row.where,
        key=str(found.question_id),
        question=found.question,
        labels=found.answers,
        picture=cell or f"train_images/{found.image_id}.jpg",
        image=f"{found.image_id}.jpg",
        boxes=[box[0]] if box else [],
        meta={"question_id": found.question_id},
    )


def read_boxes(originals: Originals) -> Boxes:
    """Boxes by question id; none where their files are not there."""
    found: Boxes = {}
    # The mirror's training split, which may lie there too, goes by the same name.
    files = [
        originals.remember(file)
        for file in originals.matching("train*.parquet")
        if "bbox" in parquet_columns(file)
    ]
    for row in parquet_rows(files, columns(BoxRow)):
        made = checked(BoxRow, row)
        if made.dataset_id in found:
            raise ValueError(
                f"{row.where} field dataset_id: {made.dataset_id!r} has a box already"
            )
        region = from_xywh(made.bbox, f"{row.where} field bbox")
        found[made.dataset_id] = region, row.where
    return found


BOX_REPO = Hub("textvqa-boxes", "jrzhang/TextVQA_GT_bbox", ("*.parquet",), 1.3)
SITE = "https://dl.fbaipublicfiles.com/textvqa"

DATASET = DataSet(
    key="textvqa",
    title="TextVQA, validation",
    questions=5000,
    images=3166,
    licence="CC BY 4.0 (questions and answers); pictures: Open Images, CC BY 2.0",
    layouts=(
        Layout("json", ("TextVQA_*_val.json",), read_json),
        Layout("parquet", ("validation-*.parquet",), read_parquet),
    ),
    files=(
        Remote("textvqa", f"{SITE}/data/TextVQA_0.5.1_val.json", 0.02),
        Remote("textvqa", f"{SITE}/images/train_val_images.zip", 7.1),
        BOX_REPO,
    ),
    mirror=(
        Hub("textvqa-mirror", "lmms-lab/textvqa", ("data/validation-*.parquet",), 1.4),
        BOX_REPO,
    ),
    note=(
        "Boxes: 4370 of the 5000 questions, those with one place to look at (paper, "
        "appendix B)."
    ),
)
