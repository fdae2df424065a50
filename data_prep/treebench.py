"""TreeBench: multiple choice about small things, with boxes of what must be looked at.

Source: Wang et al., 2025 (the data set's card).
"""

import string
from collections.abc import Sequence

from pydantic import field_validator

from data_prep.dataset import DataSet, Hub, Item, Layout
from data_prep.originals.fields import (
    Text,
    check_letter,
    from_ltrb,
    letter,
    lettered,
    printed,
)
from data_prep.originals.files import Entry
from data_prep.originals.rows import Original, Row, checked, pictured_tsv
from data_prep.originals.search import Originals
from vicrop.scoring import mcq


class Question(Original):
    """A row; its options have columns of their own, or share one."""

    index: int
    question: Text
    answer: Text
    category: Text
    target_instances: tuple[tuple[float, ...], ...]

    @field_validator("target_instances", mode="before")
    @classmethod
    def _listed(cls, value: str) -> Sequence:
        """A Python list as text; one box need not be in a list of its own."""
        boxes = printed(value or "[]")
        if not isinstance(boxes, list | tuple):
            raise ValueError("expected a list of boxes as text")
        flat = boxes and not isinstance(boxes[0], list | tuple)
        return [boxes] if flat else boxes


def read_tsv(originals: Originals, seed: int) -> list[Item]:
    """From the TSV file, pictures as base64 text in the rows."""
    return [_item(row, cell) for row, cell in pictured_tsv(originals.need(FILE))]


def _item(row: Row, picture: Entry) -> Item:
    found = checked(Question, row)
    options = options_of(row)
    place = f"{row.where} field target_instances"
    return Item(
        where=row.where,
        key=str(found.index),
        question=lettered(found.question, options),
        short_question=found.question,
        labels=[
            check_letter(found.answer.strip(), options, f"{row.where} field answer")
        ],
        options=options,
        picture=picture,
        image=f"{found.index:04d}",
        boxes=[from_ltrb(box, place) for box in found.target_instances],
        meta={"index": found.index, "category": found.category},
    )


def options_of(row: Row) -> list[str]:
    """The options of a row: from columns A, B, …, as many as are not empty.

    Else from ``multi-choice options``, one a line.

    Raises:
        ValueError: if there are not two, or one between others is missing.
    """
    cells = {key: row.values.get(key) or "" for key in string.ascii_uppercase}
    known = {key: text.strip() for key, text in cells.items() if text.strip()}
    known = known or mcq.options(row.values.get(TOGETHER) or "")
    if len(known) < 2 or list(known) != [letter(n) for n in range(len(known))]:
        raise ValueError(
            f"{row.where} fields A, B, …, or {TOGETHER}: options are "
            f"{', '.join(known) or 'none'}, expected A, B, … without a gap"
        )
    return list(known.values())


FILE = "TreeBench*.tsv"
TOGETHER = "multi-choice options"

DATASET = DataSet(
    key="treebench",
    title="TreeBench",
    questions=405,
    images=None,
    licence="Apache-2.0",
    layouts=(Layout("tsv", (FILE,), read_tsv),),
    files=(Hub("treebench", "HaochenWang/TreeBench", ("TreeBench.tsv",)),),
    note="Its boxes are all things that the answer hangs on, often several.",
)
