"""From original files to a data set's folder: whole, checked, or not there at all."""

import errno
import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from pydantic import ValidationError

from data_prep import pictures
from data_prep.base import DataSet, Item
from data_prep.originals import Originals
from data_prep.pictures import Picture
from vicrop import datasets
from vicrop.types import Region, Sample

PACKAGES = ("vicrop", "numpy", "pillow", "pyarrow", "pydantic")

SPILL_PX = 2
"""Boxes drawn by hand may leave their picture by so much; they are clipped."""


class Built(NamedTuple):
    """What ``build`` made, or found made.

    Attributes:
        folder: of the data set.
        note: what its ``prep.json`` says.
        fresh: whether it was made now.
    """

    folder: Path
    note: dict[str, Any]
    fresh: bool


def build(
    dataset: DataSet,
    originals: Originals,
    root: Path,
    limit: int = 0,
    seed: int = 0,
    replace: bool = False,
    progress: bool = True,
    fetched: Mapping[str, str] | None = None,
) -> Built:
    """Make a data set's folder from its original files.

    Args:
        dataset: which.
        originals: its files.
        root: folder of the data sets.
        limit: a random subset of so many questions; 0 for all.
        seed: of the subset, and of shuffled options.
        replace: whether one that was made from other files or options gives way.
        progress: whether to show a bar.
        fetched: what is known of where the files are from, for ``prep.json``.

    Returns:
        Its folder, which appears only once everything in it is written.

    Raises:
        ValueError: naming file, row and field of what is wrong; or if another is there.
        FileNotFoundError: if the files of no layout, or a picture, are there.
        RuntimeError: if the disk is full, or another process makes the same.
    """
    items = read(dataset, originals, seed)
    note = {
        "dataset": dataset.key,
        "layout": dataset.layout_of(originals).name,
        "limit": limit,
        "seed": seed,
        "sources": originals.read_files(),
    }
    out = root / dataset.key
    made = _made(out, note, replace)
    if made is not None:
        return Built(out, made, fresh=False)
    chosen = datasets.subset(len(items), limit, seed)
    with _whole(out) as part:
        kept = [items[number] for number in chosen]
        shown = pictures.write(kept, originals, part / "images", progress)
        rows = [
            row_of(number, item, picture)
            for number, item, picture in zip(chosen, kept, shown, strict=True)
        ]
        note |= {"fetched": dict(fetched or {}), "code": code_digest()}
        note |= _findings(dataset, items, rows, shown)
        _write_json(part / "data.json", rows, indent=4)
        note["data_sha256"] = _file_digest(part / "data.json")
        _write_json(part / "prep.json", note, indent=1)
    return Built(out, note, fresh=True)


def read(dataset: DataSet, originals: Originals, seed: int = 0) -> list[Item]:
    """All questions of a data set's original files, none of them twice.

    Raises:
        ValueError: naming file, row and field of what is wrong.
        FileNotFoundError: if the files of no layout are there.
    """
    layout = dataset.layout_of(originals)
    items = layout.read(originals, np.random.default_rng(seed))
    seen: dict[str, str] = {}
    for item in items:
        if seen.setdefault(item.key, item.where) != item.where:
            raise ValueError(
                f"{item.where}: question {item.key!r} is also {seen[item.key]}; is a "
                "file joined to itself? fetch it again"
            )
    return items


def row_of(number: int, item: Item, picture: Picture) -> dict[str, Any]:
    """A row of ``data.json``; its id is the running number, as the authors' is.

    Raises:
        ValueError: if it is no valid sample, or a box leaves the picture.
    """
    row = {
        "id": f"{number:010d}",
        "question": item.question,
        "labels": list(item.labels),
        "image_path": picture.name,
        "short_question": item.short_question,
        "boxes": [_inside(box, picture.size, item.where) for box in item.boxes],
        "options": list(item.options),
        "meta": dict(item.meta),
    }
    row = {key: value for key, value in row.items() if value or key == "labels"}
    try:
        Sample.model_validate(row)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = ".".join(map(str, fault["loc"]))
        reason = fault["msg"].removeprefix("Value error, ")
        raise ValueError(f"{item.where} field {field}: {reason}") from None
    return row


def _inside(box: Region, size: tuple[int, int], where: str) -> list[float]:
    """The box, clipped to the picture if it spills by a little."""
    width, height = size
    left, top, right, bottom = box
    spill = max(-left, -top, right - width, bottom - height)
    if spill > SPILL_PX:
        raise ValueError(
            f"{where}: box {list(box)} leaves its picture of {width}×{height} pixels "
            f"by {spill:g}; expected [left, top, right, bottom] in the picture's pixels"
        )
    return [max(left, 0), max(top, 0), min(right, width), min(bottom, height)]


def _findings(
    dataset: DataSet, items: Sequence[Item], rows: list[dict], shown: list[Picture]
) -> dict[str, Any]:
    """What is worth saying of what was made."""
    counts = {
        "questions": len(rows),
        "images": len({picture.name for picture in shown}),
        "with_boxes": sum("boxes" in row for row in rows),
        "questions_in_source": len(items),
        "images_in_source": len({item.image for item in items}),
        "questions_published": dataset.questions,
        "images_published": dataset.images,
    }
    digests = "".join(sorted({picture.digest for picture in shown}))
    return {
        "counts": counts,
        "images_sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "licence": dataset.licence,
        "note": dataset.note,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def code_digest() -> str:
    """SHA-256 of this package's sources: if they change, so may what they make."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _made(out: Path, note: dict[str, Any], replace: bool) -> dict[str, Any] | None:
    """What is there already, if it is what would be made.

    Raises:
        ValueError: if it is something else and may not be replaced.
    """
    file = out / "prep.json"
    if not out.exists():
        return None
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    changed = [key for key in note if found.get(key) != note[key]]
    whole = found.get("data_sha256") == _file_digest(out / "data.json")
    if not changed and whole:
        return found
    if replace:
        return None
    why = f"other {', '.join(changed)}" if changed else "a data.json that was changed"
    raise ValueError(
        f"{out} is there already, with {why}; add --replace to make it anew, or keep "
        "it under another name"
    )


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name once everything is in it."""
    part = out.parent / f".{out.name}.part"
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out.parent / f".{out.name}.lock", timeout=0):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            yield part
            shutil.rmtree(out, ignore_errors=True)
            part.rename(out)
    except Timeout:
        raise RuntimeError(
            f"another process is making {out}; wait until it is done"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise RuntimeError(
            f"the disk of {out.parent} is full; make room and run again"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_json(file: Path, value: Any, indent: int) -> None:
    file.write_text(
        json.dumps(value, indent=indent, ensure_ascii=False), encoding="utf-8"
    )


def _file_digest(file: Path) -> str:
    if not file.exists():
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
