"""Data in the unified format, read and checked; and what of them a run asks."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from vicrop import methods, paths
from vicrop.images import image_size as image_size
from vicrop.run.records import RunConfig, Sample

MAKERS = dict.fromkeys(
    ("plates", "plates-hd", "plates-wide", "plates-val"), "python -m data_prep.plates"
) | {
    key: f"vicrop prep {key}"
    for key in (
        "textvqa docvqa gqa aokvqa aokvqa-mc pope vstar vqav2 hr-bench-4k hr-bench-8k"
        " zoombench treebench infographicvqa"
    ).split()
}
"""The command that makes each data set."""

SAMPLES = TypeAdapter(list[Sample])


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
    return [samples[number] for number in subset(len(samples), limit, seed)]


def subset(count: int, limit: int, seed: int) -> list[int]:
    """Which of so many rows make a random subset, in their order.

    Args:
        count: of the rows.
        limit: so many of them; 0 for all.
        seed: of ``numpy.random.default_rng``; its permutation's first are taken.
    """
    if not 0 < limit < count:
        return list(range(count))
    chosen = np.random.default_rng(seed).permutation(count)[:limit]
    return sorted(chosen.tolist())


def read(file: Path) -> list[Sample]:
    """All samples of a ``data.json``, checked.

    Raises:
        ValueError: naming file, row and field of the first thing that is wrong.
    """
    try:
        # From bytes in one go: row by row takes three times as long.
        with uncollected():
            samples = SAMPLES.validate_json(file.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{file} {first_fault(error)}") from None
    if not samples:
        raise ValueError(f"{file} must hold a list of at least one sample")
    numbers: dict[str, int] = {}
    for number, sample in enumerate(samples):
        if numbers.setdefault(sample.id, number) != number:
            raise ValueError(
                f"{file} row {number} field id: {sample.id!r} is also row "
                f"{numbers[sample.id]}'s; ids must be unique"
            )
    return samples


@contextmanager
def uncollected() -> Iterator[None]:
    """Without looking for garbage: of many rows, that is a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a list of rows: row, field, reason, value."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"is not whole JSON in UTF-8: {first['ctx']['error']}"
    if not first["loc"]:
        return f"must hold a list of samples, got {str(first['input'])[:80]!r}"
    row, *names = first["loc"]
    field = f" field {'.'.join(map(str, names))}" if names else ""
    reason = first["msg"].removeprefix("Value error, ")
    return f"row {row}{field}: {reason} (got {str(first['input'])[:80]!r})"


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


# What a run asks, and a shard of it.


def in_order(samples: Iterable[Sample]) -> list[Sample]:
    """Samples as a run answers them: those of an image side by side.

    In GQA and POPE, the questions about an image are not.
    """
    return sorted(samples, key=lambda sample: sample.image_path)


def part(samples: Sequence[Sample], shard: int, shards: int) -> list[Sample]:
    """The samples of a shard: a contiguous range of images.

    All questions about an image are in one shard, so that they share a View.

    Args:
        samples: of the whole run.
        shard: which, from 0.
        shards: how many. An image belongs to the shard in which the middle of its
            questions lies, so that shards ask about equally many.
    """
    chosen: list[Sample] = []
    before = 0
    for _, group in groupby(in_order(samples), key=lambda sample: sample.image_path):
        asked = list(group)
        # Whole numbers: (before + len / 2) · shards / total, without rounding.
        if (2 * before + len(asked)) * shards // (2 * len(samples)) == shard:
            chosen += asked
        before += len(asked)
    return chosen


def asked(config: RunConfig) -> list[Sample]:
    """The samples of a run, or of its shard, in the order in which they are answered.

    Raises:
        ValueError: as ``askable``.
    """
    return part(askable(config), config.shard, config.shards)


def askable(config: RunConfig) -> list[Sample]:
    """The samples of a whole run: human crops are only given where there is a box.

    Raises:
        ValueError: if that leaves none.
    """
    samples = load(config.dataset, config.limit, config.seed)
    if config.method not in methods.NEEDS_TRUTH:
        return samples
    boxed = [sample for sample in samples if sample.boxes]
    if not boxed:
        raise ValueError(
            f"{config.method} needs ground-truth boxes and {config.dataset} has none; "
            "use a data set with boxes, or another method"
        )
    return boxed
