"""Read and check data in the unified format; choose a subset."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import ValidationError

from vicrop import paths
from vicrop.types import Sample

MAKERS = {
    "plates": "python -m data_prep.plates",
    "plates-hd": "python -m data_prep.plates",
    "plates-wide": "python -m data_prep.plates",
    "plates-val": "python -m data_prep.plates",
}
"""The command that makes each data set."""


def folder(dataset: str) -> Path:
    """Where a data set is.

    Args:
        dataset: key of ``MAKERS``, or the path of a folder with a ``data.json``.

    Raises:
        ValueError: for an unknown key.
        FileNotFoundError: if it has not been made, naming the command that makes it.
    """
    if dataset in MAKERS:
        found = paths.data() / dataset
        hint = f"make it with `{MAKERS[dataset]}`"
    elif Path(dataset).is_dir():
        found, hint = Path(dataset), "write one in the unified format"
    else:
        raise ValueError(
            f"unknown dataset {dataset!r}; known: {', '.join(MAKERS)}, or the path of "
            "a folder with a data.json"
        )
    if not (found / "data.json").is_file():
        raise FileNotFoundError(f"no data.json in {found}; {hint}")
    return found


def load(dataset: str, limit: int = 0, seed: int = 0) -> list[Sample]:
    """A data set's samples in their order, or a random subset of them.

    Args:
        dataset: as for ``folder``.
        limit: so many samples; 0 for all.
        seed: of the choice.

    Raises:
        ValueError: naming file, row and field of the first thing that is wrong.
    """
    samples = read(folder(dataset) / "data.json")
    if not 0 < limit < len(samples):
        return samples
    chosen = np.random.default_rng(seed).permutation(len(samples))[:limit]
    return [samples[number] for number in sorted(chosen)]


def read(file: Path) -> list[Sample]:
    """All samples of a ``data.json``, checked.

    Raises:
        ValueError: naming file, row and field of the first thing that is wrong.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not whole JSON in UTF-8: {error}") from error
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{file} must hold a list of at least one sample")
    samples: list[Sample] = []
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows):
        sample = _sample(row, f"{file} row {number}")
        if sample.id in numbers:
            raise ValueError(
                f"{file} row {number} field id: {sample.id!r} is also row "
                f"{numbers[sample.id]}'s; ids must be unique"
            )
        numbers[sample.id] = number
        samples.append(sample)
    return samples


def _sample(row: object, where: str) -> Sample:
    try:
        sample = Sample.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "row"
        raise ValueError(
            f"{where} field {name}: {first['msg']} (got {str(first['input'])[:80]!r})"
        ) from None
    path = Path(sample.image_path)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"{where} field image_path: {sample.image_path!r} leaves the data set's "
            "images/ folder; give a path relative to it"
        )
    return sample


def image_path(dataset: str, sample: Sample) -> Path:
    """The file of a sample's image.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if a link leads out of the data set's folder.
    """
    images = folder(dataset) / "images"
    path = images / sample.image_path
    if not path.is_file():
        raise FileNotFoundError(f"sample {sample.id}: no image at {path}")
    if not path.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"sample {sample.id}: {path} is a link that leaves images/")
    return path


def check_boxes(sample: Sample, size: tuple[int, int]) -> None:
    """Refuse ground-truth boxes that leave an image of (width, height).

    Raises:
        ValueError: naming the sample and the box.
    """
    width, height = size
    for box in sample.boxes:
        if box[2] > width or box[3] > height:
            raise ValueError(
                f"sample {sample.id}: box {list(box)} leaves its image of "
                f"{width}×{height}; boxes are [left, top, right, bottom] in pixels"
            )


def object_size(sample: Sample, size: tuple[int, int]) -> float | None:
    """Area of the first ground-truth box over the image's (paper, section 3: S)."""
    if not sample.boxes:
        return None
    left, top, right, bottom = sample.boxes[0]
    return (right - left) * (bottom - top) / (size[0] * size[1])


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) as stored, without decoding."""
    with Image.open(path) as image:
        return image.size
