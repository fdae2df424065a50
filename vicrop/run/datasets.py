"""Data in the unified format, read and checked; and what of them a run asks."""

import json
import math
import os
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from vicrop import methods, paths
from vicrop.images import image_size as image_size
from vicrop.paths import MAKERS
from vicrop.run.records import RunConfig, Sample
from vicrop.types import Region

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
        found = json.loads(file.read_bytes(), object_pairs_hook=once)
        samples = SAMPLES.validate_python(found)
    except ValidationError as error:
        raise ValueError(f"{file} {first_fault(error)}") from None
    except (ValueError, RecursionError) as error:
        place = getattr(error, "doc", "")[getattr(error, "pos", 0) :][:20]
        raise ValueError(
            f"{file} is not whole JSON in UTF-8: {error} {place!r}; expected one list, "
            "without comments or a comma before ] (`jq -s .` makes it of an object a "
            "line, `iconv -f CP1252 -t UTF-8` of Windows' text)"
        ) from None
    if not samples:
        raise ValueError(f"{file} must hold a list of at least one sample")
    numbers: dict[str, int] = {}
    for number, sample in enumerate(samples):
        if numbers.setdefault(sample.id, number) != number:
            raise ValueError(
                f"{file} row {number} field id: {sample.id[:80]!r} is also row "
                f"{numbers[sample.id]}'s; ids must be unique"
            )
    return samples


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dictionary of a JSON object; Python would drop all but a key's last value."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = max(made, key=[key for key, _ in pairs].count)
        raise ValueError(f"key {twice[:80]!r} is there twice in {str(made)[:80]}")
    return made


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a list of rows: row, field, reason, value."""
    first = error.errors(include_url=False)[0]
    found = repr(str(first["input"])[:80])
    if not first["loc"]:
        hint = "take it out of what is around it, or of columns let pandas make it"
        return f"must hold a list of samples, got {found}; {hint} (orient='records')"
    row, *names = first["loc"]
    field = f" field {'.'.join(map(str, names))}" if names else ""
    reason = first["msg"].removeprefix("Value error, ")
    known = Sample.model_fields.get(str((names or [""])[0]))
    meant = known.description if known else f"known: {', '.join(Sample.model_fields)}"
    return f"row {row}{field}: {reason} (got {found}); {meant}"


# Pictures, and the boxes in them.


def image_path(dataset: str, sample: Sample) -> Path:
    """The file of a sample's image, also where another system spells its name.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if a link leads out of the data set's folder.
    """
    images = folder(dataset) / "images"
    paths = [images / name for name in _spellings(sample.image_path)]
    path = next((path for path in paths if os.path.isfile(path)), None)
    if path is None:
        raise FileNotFoundError(f"sample {sample.id}: no image at {paths[0]}")
    if not path.resolve().is_relative_to(images.resolve()):
        raise ValueError(f"sample {sample.id}: {path} is a link that leaves images/")
    return path


def _spellings(name: str) -> list[str]:
    """A path; with slashes, without ``images/``; its accents in one piece, in two."""
    plain = os.path.normpath(name.replace("\\", "/")).removeprefix("images/")
    accents = (unicodedata.normalize(form, plain) for form in ("NFC", "NFD"))
    return list(dict.fromkeys((name, plain, *accents)))


def _check_pictures(dataset: str, samples: Iterable[Sample]) -> None:
    """Refuse samples whose pictures are not there, after one look at each folder."""
    images = folder(dataset) / "images"
    asked = {sample.image_path: _spellings(sample.image_path) for sample in samples}
    places = {os.path.dirname(one) for names in asked.values() for one in names}
    here = [place for place in places if os.path.isdir(images / place)]
    there = {os.path.join(p, name) for p in here for name in os.listdir(images / p)}
    missing = [name for name, names in asked.items() if there.isdisjoint(names)]
    if missing:
        known = {name.casefold(): f", where {name!r} is" for name in there}
        raise FileNotFoundError(
            f"{len(missing)} of {len(asked)} pictures are missing, such as "
            f"{str(missing[:3])[1:-1][:200]} (looked in {images}"
            f"{known.get(missing[0].casefold(), '')}); add them, or take their rows out"
            " of data.json; an empty file in place of one records its samples as failed"
        )


SPILL_PX, SPILL = 2, 0.01
"""Boxes drawn by hand may leave their picture by so many pixels, or such a part of its
longer side; they are clipped."""


def inside(box: Region, size: tuple[int, int]) -> Region:
    """A box, clipped to an image of (width, height) if it spills by a little.

    Raises:
        ValueError: if it leaves the image by more, with a guess of what it is.
    """
    (left, top, right, bottom), (width, height) = box, size
    spill = max(-left, -top, right - width, bottom - height)
    away = min(right, bottom, width - left, height - top) <= 0
    if away or spill > max(SPILL_PX, SPILL * max(size)):
        guess = "normalised to 0–1000" if max(box) <= 1000 else "of another size"
        if min(box) >= 0 and right <= height and bottom <= width:
            guess = "[top, left, …], or of the picture before its EXIF turned it"
        raise ValueError(
            f"box {list(box)} leaves its picture of {width}×{height} pixels by "
            f"{spill:g}; expected [left, top, right, bottom] in pixels of the upright "
            f"picture; is it {guess}?"
        )
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


def clipped(sample: Sample, size: tuple[int, int]) -> Sample:
    """A sample, its boxes ``inside`` its image; what that raises names the sample."""
    try:
        boxes = tuple(inside(box, size) for box in sample.boxes)
    except ValueError as error:
        raise ValueError(f"sample {sample.id}: {error}") from None
    return sample.model_copy(update={"boxes": boxes})


LOOKED_AT = 200
"""Pictures, at most, by which a data set's boxes are judged."""


def _check_boxes(dataset: str, samples: Sequence[Sample]) -> None:
    """Refuse boxes in another unit than pixels, judged by images from all over."""
    boxed = [sample for sample in samples if sample.boxes]
    sizes, out = [], []
    for sample in boxed[:: len(boxed) // LOOKED_AT + 1]:
        with suppress(OSError, ValueError):
            # What cannot be opened is a sample's own error.
            sizes.append(image_size(image_path(dataset, sample)))
            try:
                clipped(sample, sizes[-1])
            except ValueError as error:
                out.append(error)
    if len(out) > max(1, len(sizes) / 10) or 0 < len(out) == len(sizes):
        raise ValueError(
            f"boxes of {len(out)} of {len(sizes)} samples do not fit, such as {out[0]}"
        )
    ends = [max((b[k] for s in boxed for b in s.boxes), default=0) for k in (2, 3)]
    # Of pixels anywhere in such images, and not a few, some would lie beyond.
    chance = math.prod(min(1, 1000 / side) for size in sizes for side in size)
    if chance < 1e-4 and 900 < min(ends) and max(ends) <= 1000:
        raise ValueError(
            f"the boxes of {dataset} look normalised to 0–1000, for none goes beyond; "
            "multiply by the width and height of the upright images, over 1000"
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


def asked(config: RunConfig, begins: bool = False) -> list[Sample]:
    """The samples of a run, or of its shard, in the order in which they are answered.

    Args:
        config: of the run.
        begins: whether pictures must be there, and boxes be pixels.

    Raises:
        ValueError, FileNotFoundError: as ``askable``; or where they are not.
    """
    whole = askable(config)
    chosen = part(whole, config.shard, config.shards)
    if begins:
        _check_pictures(config.dataset, chosen)
        _check_boxes(config.dataset, whole)
    return chosen


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
