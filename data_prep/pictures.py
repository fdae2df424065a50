"""The pictures of a data set: read where they are, checked, and written."""

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from data_prep.base import Item
from data_prep.containers import Entry
from data_prep.originals import Originals
from vicrop import images

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif"}
UNDECODABLE = (OSError, ValueError, SyntaxError, struct.error)
"""What Pillow raises for bytes that are no picture, or half of one."""


class Picture(NamedTuple):
    """A picture as it was written.

    Attributes:
        name: under ``images/``.
        size: (width, height) when upright, pixels.
        digest: SHA-256 of its bytes.
    """

    name: str
    size: tuple[int, int]
    digest: str


def write(
    items: Sequence[Item], originals: Originals, folder: Path, progress: bool = True
) -> list[Picture]:
    """Write every item's picture; one that several items show is written once.

    Args:
        items: of one data set.
        originals: where pictures are that an item names by path.
        folder: where they go; made.
        progress: whether to show a bar.

    Returns:
        The picture of each item.

    Raises:
        FileNotFoundError: naming the row whose picture is not there.
        ValueError: naming the row whose picture does not decode.
    """
    entries = [entry_of(item, originals) for item in items]
    first: dict[Entry, Item] = {}
    for entry, item in zip(entries, items, strict=True):
        first.setdefault(entry, item)
    folder.mkdir(parents=True)
    written: dict[Entry, Picture] = {}
    same: dict[str, Picture] = {}
    contents = _contents(list(first))
    for entry, data in tqdm(contents, "pictures", len(first), disable=not progress):
        digest = hashlib.sha256(data).hexdigest()
        if digest not in same:
            same[digest] = _write(data, digest, first[entry], entry, folder)
        written[entry] = same[digest]
    return [written[entry] for entry in entries]


def entry_of(item: Item, originals: Originals) -> Entry:
    """Where an item's picture is.

    Raises:
        FileNotFoundError: if it is not there.
    """
    if isinstance(item.picture, Entry):
        return item.picture
    found = originals.find(item.picture)
    if found is None:
        raise FileNotFoundError(
            f"{item.where}: no picture {item.picture} in {originals}; give the folder "
            "that holds it as another --source"
        )
    return found


def _contents(entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """Every entry with its bytes, container by container."""
    ordered = sorted(entries, key=lambda entry: id(entry.container))
    for _, group in groupby(ordered, key=lambda entry: id(entry.container)):
        by_key = {entry.key: entry for entry in group}
        container = next(iter(by_key.values())).container
        for key, data in container.read(list(by_key)):
            yield by_key[key], data


def _write(data: bytes, digest: str, item: Item, entry: Entry, folder: Path) -> Picture:
    kind, size = _decoded(data, f"{item.where}: picture {entry.where}")
    name = item.image if Path(item.image).suffix else item.image + SUFFIXES[kind]
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{item.where}: picture name {name!r} leaves the folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise ValueError(
            f"{item.where}: another picture is already called {name!r}; names must be "
            "one picture's own"
        )
    path.write_bytes(data)
    return Picture(name, size, digest)


def _decoded(data: bytes, where: str) -> tuple[str, tuple[int, int]]:
    """Format and upright size of a picture that decodes to its end."""
    try:
        with warnings.catch_warnings():
            # Ours is the limit that counts.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                images.check_size(image.size, where)
                kind, size = image.format, images.load(image).size
    except (*UNDECODABLE, Image.DecompressionBombError) as error:
        reason = f"({str(error).splitlines()[0]})"
        raise ValueError(f"{where} does not decode {reason}; fetch it again") from error
    if kind not in SUFFIXES:
        raise ValueError(f"{where} is {kind}, expected {', '.join(SUFFIXES)}")
    return kind, size
