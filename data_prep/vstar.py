"""V*Bench: small things in large pictures, multiple choice.

It is published in two forms in one folder: a JSON beside each picture, with boxes
(form 1), and one file of lettered questions (form 2). Where both are there, the
questions are form 2's and the boxes form 1's.

Source: Wu & Xie, 2023.
"""

import re
from collections.abc import Sequence
from glob import escape
from pathlib import PurePosixPath
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from data_prep.dataset import DataSet, Hub, Item, Layout
from data_prep.originals.fields import Text, check_letter, from_xywh, letter, lettered
from data_prep.originals.files import Entry
from data_prep.originals.parquet import (
    columns,
    parquet_columns,
    parquet_rows,
    pictured_rows,
)
from data_prep.originals.rows import Original, Row, checked, json_lines, load_json
from data_prep.originals.search import Originals
from vicrop.types import Region

COPIES = 10
"""Of the label: the authors' scorer counts them, as VQA accuracy does."""


class Beside(Original):
    """Form 1, a JSON beside its picture: the first option is the right one."""

    question: Text
    options: Annotated[tuple[Text, ...], Field(min_length=2, max_length=26)]
    bbox: Annotated[tuple[tuple[float, ...], ...], Field(min_length=1)]


class Lettered(Original):
    """Form 2: options and closing line are in the text."""

    text: Text
    label: Text
    category: Text
    question_id: str | int


class Listed(Lettered):
    """Form 2 with its picture's path."""

    image: Text


class Indexed(Original):
    """A mirror's form: options apart, the right one by its number."""

    question: Text
    choices: Annotated[tuple[Text, ...], Field(min_length=2, max_length=26)]
    answer: Annotated[int, Field(ge=0)]
    category: Text
    question_id: str | int


class Choice(NamedTuple):
    """What is asked: whole, without its options, these, and the right one's letter."""

    question: str
    stem: str
    options: Sequence[str]
    label: str


def read_beside(originals: Originals, seed: int) -> list[Item]:
    """From form 1, options shuffled: else the answer is always A."""
    root = int(np.random.default_rng(seed).integers(2**62))
    beside = _beside(originals).items()
    return [_beside_item(name, entry, originals, root) for name, entry in beside]


def _beside(originals: Originals) -> dict[str, Entry]:
    """Form 1's files by ``folder/name`` without suffix, in their order."""
    found = [entry for pattern in BESIDE for entry in originals.matching(pattern)]
    return {
        _short(PurePosixPath(entry.name).with_suffix("")): originals.remember(entry)
        for entry in found
    }


def _short(path: PurePosixPath) -> str:
    """Folder and name, whatever folder that is in; two folders may share names."""
    return "/".join(path.parts[-2:])


def _beside_item(name: str, entry: Entry, originals: Originals, root: int) -> Item:
    row = _load(entry)
    # A question's order hangs on the seed and its own name, on no other question.
    rng = np.random.default_rng([root, *name.encode()])
    order = rng.permutation(len(row.options)).tolist()
    options = [row.options[number] for number in order]
    asked = _choice(row.question, options, order.index(0))
    names = [name + suffix for suffix in SUFFIXES]
    picture = _picture(names, originals, entry.where)
    meta = {"question_id": name, "category": name.partition("/")[0]}
    image = _short(PurePosixPath(picture.name))
    return _item(entry.where, asked, meta, picture, image, _boxes(row, entry.where))


def _picture(names: Sequence[str], originals: Originals, where: str) -> Entry:
    """The first of these that is there."""
    for name in names:
        if found := originals.matching(escape(name)):
            return found[0]
    raise FileNotFoundError(
        f"{where}: no picture {names[0]} among the originals; give the folder that "
        "holds it as another --source"
    )


def _load(entry: Entry) -> Beside:
    return checked(Beside, Row(entry.where, load_json(entry)))


def _boxes(row: Beside, where: str) -> list[Region]:
    return [from_xywh(box, f"{where} field bbox") for box in row.bbox]


def read_lines(originals: Originals, seed: int) -> list[Item]:
    """From form 2, with form 1's boxes where that is there too."""
    return _listed(json_lines(originals.need(LINES)), originals)


def _listed(rows: Sequence[Row], originals: Originals) -> list[Item]:
    beside = _beside(originals)
    return [_listed_item(row, beside, originals) for row in rows]


def _listed_item(row: Row, beside: dict[str, Entry], originals: Originals) -> Item:
    found = checked(Listed, row)
    path = PurePosixPath(found.image)
    entry = beside.get(_short(path.with_suffix("")))
    boxes = _boxes(_load(entry), entry.where) if entry else []
    asked, image = _read_choice(found, row.where), _short(path)
    picture = _picture([image], originals, row.where)
    return _item(row.where, asked, _meta(found), picture, image, boxes)


def read_parquet(originals: Originals, seed: int) -> list[Item]:
    """From a mirror: pictures by path or in the rows, options in the text or apart."""
    files = originals.need_all(PARQUET)
    types = parquet_columns(files[0])
    if "choices" in types:
        return _in_rows(Indexed, files)
    if types.get("image", "string") not in ("string", "large_string"):
        return _in_rows(Lettered, files)
    return _listed(parquet_rows(files, columns(Listed)), originals)


def _in_rows(kind: type[Indexed | Lettered], files: Sequence[Entry]) -> list[Item]:
    """Items whose pictures are in the rows."""
    return [
        _item(row.where, _read_choice(found, row.where), _meta(found), cell, image)
        for row, cell in pictured_rows(files, columns(kind))
        for found in [checked(kind, row)]
        for image in [f"{found.category}/{found.question_id}"]
    ]


def _read_choice(row: Lettered | Indexed, where: str) -> Choice:
    """What a row asks; its label must be among its options."""
    if isinstance(row, Indexed):
        if row.answer >= len(row.choices):
            raise ValueError(
                f"{where} field answer: {row.answer} is no number of its "
                f"{len(row.choices)} choices, from 0"
            )
        return _choice(row.question, row.choices, row.answer)
    stem, options = split(row.text, where)
    check_letter(row.label, options, f"{where} field label")
    closed = not OPTION.match(row.text.strip().splitlines()[-1])
    question = row.text if closed else lettered(stem, options)
    return Choice(question, stem, options, row.label)


def split(text: str, where: str) -> tuple[str, list[str]]:
    """The question alone and its options, from a text with lines ``(A) …``.

    Raises:
        ValueError: if it has no such lines, or they are not A, B, C, ….
    """
    found = list(OPTION.finditer(text))
    letters = [match[1] for match in found]
    if len(found) < 2 or letters != [letter(n) for n in range(len(found))]:
        raise ValueError(
            f"{where} field text: options are {letters}, expected (A), (B), … one a "
            f"line (got {text[:80]!r})"
        )
    return text[: found[0].start()].strip(), [match[2] for match in found]


OPTION = re.compile(r"^\(([A-Z])\)[^\S\n]*(\S.*?)\s*$", re.MULTILINE)


def _choice(stem: str, options: Sequence[str], right: int) -> Choice:
    return Choice(lettered(stem, options), stem, options, letter(right))


def _meta(row: Lettered | Indexed) -> dict[str, Any]:
    return {"question_id": str(row.question_id), "category": row.category}


def _item(
    where: str,
    asked: Choice,
    meta: dict[str, Any],
    picture: Entry,
    image: str,
    boxes: Sequence[Region] = (),
) -> Item:
    return Item(
        where=where,
        key=meta["question_id"],
        question=asked.question,
        short_question=asked.stem,
        labels=[asked.label] * COPIES,
        options=asked.options,
        picture=picture,
        image=image,
        boxes=boxes,
        meta=meta,
    )


LINES = "test_questions.jsonl"
BESIDE = ("direct_attributes/*.json", "relative_position/*.json")
PARQUET = "test*.parquet"
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
FOLDERS = ("direct_attributes/*", "relative_position/*")

DATASET = DataSet(
    key="vstar",
    title="V*Bench, test",
    questions=191,
    images=191,
    licence="none is stated for the data (the benchmark's code: MIT)",
    layouts=(
        Layout("lines", (LINES,), read_lines),
        Layout("beside", BESIDE, read_beside),
        Layout("parquet", (PARQUET,), read_parquet),
    ),
    files=(Hub("vstar", "craigwu/vstar_bench", (LINES, *FOLDERS), 0.28),),
    mirror=(Hub("vstar-mirror", "lmms-lab/vstar-bench", ("data/test-*.parquet",)),),
    note=(
        "115 questions on attributes, 76 on positions; OCR/ and GPT4V-hard/ of the "
        "same repository are no part of the 191. Boxes come from the JSON beside each "
        "picture; a mirror without these has none."
    ),
)
