"""From original files to a data set's folder: whole, checked, or not there at all."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import data_prep
from data_prep.dataset import DataSet, Item
from data_prep.originals.rows import Row, checked
from data_prep.originals.search import Originals
from data_prep.unified import pictures, place
from data_prep.unified.pictures import Picture
from vicrop.run import datasets
from vicrop.run.records import Sample
from vicrop.types import Region

PACKAGES = ("vicrop", "numpy", "pillow", "pyarrow", "pydantic")


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
    fetched: Mapping[str, str] | None = None,
) -> Built:
    """Make a data set's folder from its original files.

    Args:
        dataset: which.
        originals: its files.
        root: folder of the data sets.
        limit: a random subset of so many questions; 0 for all.
        seed: of the subset, and of shuffled options.
        replace: whether it is made anew in any case, in place of what is there.
        fetched: what is known of where the files are from, for ``prep.json``.

    Returns:
        Its folder, which appears only once everything in it is written.

    Raises:
        ValueError: naming file, row and field of what is wrong; or if another is there.
        FileNotFoundError: if the files of no layout, or a picture, are there.
        Refused: if the disk is full or read-only, or another process makes it.
    """
    out = root / dataset.key
    place.check_sources(originals, out)
    items = dataset.items(originals, seed)
    note = {
        "dataset": dataset.key,
        "layout": dataset.layout_of(originals).name,
        "limit": limit,
        "seed": seed,
        "sources": originals.read_files(),
    }
    known = None if replace or place.leftovers(out) else place.found(out, note)
    if known:  # even where nothing may be written, a lock included
        return Built(out, known, fresh=False)
    with place.alone(out):
        known = None if replace else place.found(out, note)
        if known:
            return Built(out, known, fresh=False)
        place.check_place(out, note, replace)
        with place.folder(out) as part:
            chosen = datasets.subset(len(items), limit, seed)
            note |= {"fetched": dict(fetched or {}), "code": code_digest()}
            note |= _fill(part, dataset, items, chosen, originals)
            told = json.dumps(note, indent=1, ensure_ascii=False) + "\n"
            (part / "prep.json").write_text(told, encoding="utf-8")
    return Built(out, note, fresh=True)


def _fill(
    part: Path,
    dataset: DataSet,
    items: Sequence[Item],
    chosen: Sequence[int],
    originals: Originals,
) -> dict[str, Any]:
    """Write pictures and rows; what there is to say of them."""
    kept = [items[number] for number in chosen]
    shown = pictures.write(kept, originals, part / "images")
    _write_rows(part / "data.json", map(_line, chosen, kept, shown))
    digests = "".join(sorted({picture.digest for picture in shown}))
    return {
        "counts": {
            "questions": len(kept),
            "images": len({picture.name for picture in shown}),
            "with_boxes": sum(bool(item.boxes) for item in kept),
            "questions_in_source": len(items),
            "images_in_source": len({item.image for item in items}),
            "questions_published": dataset.questions,
            "images_published": dataset.images,
        },
        "images_sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "licence": dataset.licence,
        "note": dataset.note,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "data_sha256": place.digest(part / "data.json"),
        "stock": place.stock(part / "images"),
    }


def _line(number: int, item: Item, picture: Picture) -> bytes:
    """A row of ``data.json``; its id is the running number, as the authors' is.

    Raises:
        ValueError: if it is no valid sample, cannot be JSON in UTF-8, or a box leaves
            the picture.
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
    if not checked(Sample, Row(item.where, row)).labels:
        raise ValueError(f"{item.where} field labels: none says anything")
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise ValueError(f"{item.where}: cannot be JSON in UTF-8 ({error})") from None


def _inside(box: Region, size: tuple[int, int], where: str) -> Region:
    """The box, clipped to the picture if it spills by a little."""
    try:
        return datasets.inside(box, size)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def code_digest() -> str:
    """SHA-256 of this package's sources: if they change, so may what they make."""
    digest = hashlib.sha256()
    for file in sorted(Path(data_prep.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _write_rows(file: Path, lines: Iterable[bytes]) -> None:
    """A list in JSON, a row a line."""
    file.write_bytes(b"[\n" + b",\n".join(lines) + b"\n]\n")
