"""A small TextVQA in its original form, made by hand and spoilt as a test asks."""

import json
import os
from pathlib import Path

import pytest

from data_prep import textvqa
from data_prep.originals.search import Originals
from data_prep.unified.build import build
from tests.fixtures.makers import draw

NAME = "TextVQA_0.5.1_val.json"
SIZE = (64, 48)


def question(number: int = 0, **changes) -> dict:
    """A row as it is published, changed as asked; None leaves a field out."""
    plain = {
        "question_id": 34602 + number,
        "question": "what does the sign say?",
        "image_id": f"image{number}",
        "answers": ["stop"] * 10,
    }
    row = plain | changes
    return {key: value for key, value in row.items() if value is not None}


def write_rows(folder: Path, rows) -> Path:
    """The annotation file."""
    file = folder / NAME
    draw.write_json(file, {"dataset_type": "val", "data": rows})
    return file


def write_boxes(folder: Path, boxes: dict) -> Path:
    """The boxes' file, of (x, y, width, height) by question id."""
    rows = [{"dataset_id": str(n), "bbox": box} for n, box in boxes.items()]
    file = folder / "train-00000-of-00001.parquet"
    draw.write_parquet(file, rows)
    return file


def write_originals(folder: Path, count: int = 2, rows=None, boxes=None) -> Path:
    """Questions with a picture each; the folder."""
    rows = [question(n) for n in range(count)] if rows is None else rows
    write_rows(folder, rows)
    for number in range(count):
        picture = folder / "train_images" / f"image{number}.jpg"
        draw.write(picture, draw.picture(number, SIZE))
    if boxes:
        write_boxes(folder, boxes)
    return folder


def make(root: Path, *sources: Path, **options):
    """The data set in a folder of data sets."""
    originals = Originals(sources)
    return build(textvqa.DATASET, originals, root, **options)


def rows_of(built) -> list[dict]:
    """What ``data.json`` says."""
    return json.loads((built.folder / "data.json").read_text(encoding="utf-8"))


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything under a folder, hidden files too, with its contents."""
    found: dict[str, bytes | None] = {}
    for root, folders, files in os.walk(folder):
        for name in files:
            path = Path(root, name)
            inside = str(path.relative_to(folder))
            found[inside] = path.read_bytes() if path.is_file() else None
        found |= {str(Path(root, name).relative_to(folder)): None for name in folders}
    return found


def peak_kb() -> int:
    """Memory that this process took at most, kB.

    Not ``ru_maxrss``: that of a new process starts from its parent's.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line for line in lines if line.startswith("VmHWM")]
    return int(peak.split()[1])


def one_line(raised) -> str:
    """What an error says, which is one line."""
    assert "\n" not in str(raised.value)
    return str(raised.value)


def fails(match, root, *sources, error=ValueError, **options):
    """What ``make`` says: one line; and it leaves everything as it was."""
    before = tree(root)
    with pytest.raises(error, match=match) as e:
        make(root, *sources, **options)
    assert tree(root) == before
    return one_line(e)
