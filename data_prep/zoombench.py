"""ZoomBench: multiple choice and open questions on small evidence, shown as a crop.

The region of the evidence is published as a picture only; where that lies in the whole
image is found by matching (see ``locate``).

Source: the Zooming without Zooming project, 2026 (the data set's card).
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from data_prep.dataset import DataSet, Hub, Item, Layout
from data_prep.originals.fields import Text
from data_prep.originals.files import Entry
from data_prep.originals.locate import locate
from data_prep.originals.parquet import ParquetCells, columns, pictured_rows
from data_prep.originals.rows import Original, Row, checked
from data_prep.originals.search import Originals
from data_prep.unified.pictures import decoded
from vicrop.scoring import mcq
from vicrop.types import Region


class Question(Original):
    """A row: options, if there are any, are lines of the query."""

    id: str | int
    query: Text
    response: Text


def read_parquet(originals: Originals, seed: int) -> list[Item]:
    """From parquet; every crop is looked for in its image."""
    files = originals.need_all(FILE)
    rows = pictured_rows(files, columns(Question))
    found = tqdm(_regions(files), "boxes", len(rows), disable=None)
    parts = zip(rows, found, strict=True)
    return [_item(n, *row, region) for n, (row, region) in enumerate(parts)]


def _regions(files: Sequence[Entry]) -> Iterator[Region | None]:
    """Where each row's crop lies; two columns side by side, a few rows in memory."""
    for file in files:
        shown, crops = (ParquetCells(file, name) for name in ("image", "crop_image"))
        rows = range(crops.count())
        pairs = zip(shown.read(rows), crops.read(rows), strict=True)
        for (number, image), (_, crop) in pairs:
            where = f"{file.where} row {number} field"
            whole = _pixels(image, f"{where} image:")
            yield locate(_pixels(crop, f"{where} crop_image:"), whole)


def _pixels(data: bytes, where: str) -> np.ndarray:
    return np.asarray(decoded(data, where)[1])


def _item(number: int, row: Row, picture: Entry, region: Region | None) -> Item:
    found = checked(Question, row)
    # The place of the picture is our templates' to give.
    question = found.query.replace("<image>", "").strip()
    known = mcq.options(question)
    if known and mcq.letter(found.response, known) is None:
        raise ValueError(
            f"{row.where} field response: {found.response[:80]!r} names no option of "
            f"its query, {', '.join(known)}"
        )
    return Item(
        where=row.where,
        key=str(found.id),
        question=question,
        short_question=stem(question) if known else None,
        labels=[found.response.strip()],
        options=list(known.values()),
        picture=picture,
        image=f"{number:04d}",
        boxes=[region] if region else [],
        meta={
            "question_id": str(found.id),
            "category": "multiple choice" if known else "open",
        },
    )


def stem(question: str) -> str:
    """A question without its options and what follows them."""
    first = mcq.OPTION.search(question)
    head = question[: first.start()] if first else question
    head = re.sub(r"(options|choices)\s*:\s*$", "", head, flags=re.I)
    return head.strip() or question


FILE = "test*.parquet"

DATASET = DataSet(
    key="zoombench",
    title="ZoomBench, test",
    questions=845,
    images=None,
    licence="Apache-2.0",
    layouts=(Layout("parquet", (FILE,), read_parquet),),
    files=(Hub("zoombench", "inclusionAI/ZoomBench", ("data/test*.parquet",)),),
    note=(
        "Boxes are found by matching the published crops; a crop that was scaled, is "
        "flat, or fits at different places gives none."
    ),
)
