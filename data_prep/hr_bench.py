"""HR-Bench 4K and 8K: multiple choice about very large pictures.

Every question is asked four times with its options rotated, so that a model that likes
one letter gains nothing; the rotations share a picture.

Source: Wang et al., 2024.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from data_prep.dataset import DataSet, Hub, Item, Layout
from data_prep.originals.fields import Text, lettered
from data_prep.originals.files import Entry
from data_prep.originals.parquet import columns, pictured_rows
from data_prep.originals.rows import Original, Row, checked, pictured_tsv
from data_prep.originals.search import Originals


class Question(Original):
    """A row: a question with its options in one of their four orders."""

    index: int
    question: Text
    A: Text
    B: Text
    C: Text
    D: Text
    answer: Literal["A", "B", "C", "D"]
    category: Text
    cycle_category: str | int


def _items(rows: Sequence[tuple[Row, Entry]]) -> list[Item]:
    found = [checked(Question, row) for row, _ in rows]
    parts = zip(rows, found, bases(found), strict=True)
    return [_item(row, cell, one, base) for (row, cell), one, base in parts]


def bases(rows: Sequence[Question]) -> list[int]:
    """The question that each row asks in one rotation, as its first row's index.

    Rotations have the same words and the same options. Where several questions have
    the same of both, the first of every cycle belong together, then the second, ….
    """
    seen: Counter = Counter()
    first: dict[tuple, int] = {}
    found = []
    for row in rows:
        words = (row.question, row.category, frozenset((row.A, row.B, row.C, row.D)))
        number = seen[words, row.cycle_category]
        seen[words, row.cycle_category] += 1
        found.append(first.setdefault((words, number), row.index))
    return found


def _item(row: Row, picture: Entry, found: Question, base: int) -> Item:
    options = [found.A, found.B, found.C, found.D]
    return Item(
        where=row.where,
        key=str(found.index),
        question=lettered(found.question, options),
        short_question=found.question,
        labels=[found.answer],
        options=options,
        picture=picture,
        image=f"{found.index:04d}",
        meta={
            "question_id": base,
            "index": found.index,
            "category": found.category,
            "cycle": str(found.cycle_category),
        },
    )


def _data_set(size: str, gigabytes: float) -> DataSet:
    """One of the two sizes; lmms-eval's copies are named without the line."""
    parquet, tsv = f"hr*bench_{size}*.parquet", f"hr*bench_{size}*.tsv"

    def read_parquet(originals: Originals, seed: int) -> list[Item]:
        return _items(pictured_rows(originals.need_all(parquet), columns(Question)))

    def read_tsv(originals: Originals, seed: int) -> list[Item]:
        return _items(pictured_tsv(originals.need(tsv)))

    key, file = f"hr-bench-{size}", f"hr_bench_{size}.parquet"
    return DataSet(
        key=key,
        title=f"HR-Bench {size.upper()}",
        questions=800,
        images=None,
        licence='"other" on its card; its licence file is empty',
        layouts=(
            Layout("parquet", (parquet,), read_parquet),
            Layout("tsv", (tsv,), read_tsv),
        ),
        files=(Hub(key, "DreamMr/HR-Bench", (file,), gigabytes),),
        note=(
            "200 questions, 100 on one thing and 100 across things, in 4 rotations of "
            "their options: meta.question_id tells the question, meta.cycle which."
        ),
    )


DATASETS = {made.key: made for made in (_data_set("4k", 0.43), _data_set("8k", 2.83))}
