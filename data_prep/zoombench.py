"""ZoomBench: multiple choice and open questions on small evidence, shown as a crop.

The region of the evidence is published as a picture only; where that lies in the whole
image is found by matching (see ``locate``).

Source: the Zooming without Zooming project, 2026 (the data set's card).
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from numpy.random import Generator
from PIL import Image
from pydantic import Field
from tqdm import tqdm

from data_prep.base import DataSet, Item, Layout
from data_prep.containers import Entry
from data_prep.fetch import Hub
from data_prep.locate import locate
from data_prep.originals import Originals
from data_prep.pictures import FORMATS, UNDECODABLE
from data_prep.tables import Original, ParquetCells, Row, checked, parquet_rows
from vicrop import images
from vicrop.scoring import mcq
from vicrop.types import Region

Text = Annotated[str, Field(min_length=1)]


class Question(Original):
    """A row: options, if there are any, are lines of the query."""

    id: str | int
    query: Text
    response: Text


def read_parquet(originals: Originals, rng: Generator) -> list[Item]:
    """From parquet; every crop is looked for in its image."""
    files = originals.need_all(FILE)
    rows = parquet_rows(files, tuple(Question.model_fields))
    cells = ParquetCells.of(files, "image")
    found = tqdm(_regions(files), "boxes", len(rows), disable=None)
    parts = zip(rows, cells, found, strict=True)
    return [_item(number, *part) for number, part in enumerate(parts)]


def _regions(files: Sequence[Entry]) -> Iterator[Region | None]:
    """Where each row's crop lies; two columns side by side, a few rows in memory."""
    for file in files:
        count = len(ParquetCells.of([file], "crop_image"))
        shown = ParquetCells(file, "image").read(range(count))
        crops = ParquetCells(file, "crop_image").read(range(count))
        for (number, image), (_, crop) in zip(shown, crops, strict=True):
            where = f"{file.where} row {number} field"
            whole = pixels(image, f"{where} image")
            yield locate(pixels(crop, f"{where} crop_image"), whole)


def pixels(data: bytes, where: str) -> np.ndarray:
    """(rows, cols, 3) uint8 of a picture.

    Raises:
        ValueError: if it does not decode.
    """
    try:
        with warnings.catch_warnings():
            # Ours is the limit that counts; and a torn EXIF is no torn picture.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                images.check_size(image.size, "it")
                return np.asarray(images.load(image))
    except UNDECODABLE as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{where}: does not decode ({reason}); fetch it again"
        ) from error


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
    files={"zoombench": (Hub("inclusionAI/ZoomBench", ("data/test*.parquet",)),)},
    note=(
        "Boxes are found by matching the published crops; a crop that was scaled, is "
        "flat, or fits at different places gives none."
    ),
)
