"""The pictures of a data set: read where they are, checked, and written."""

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from data_prep.dataset import Item
from data_prep.originals.files import Container, Entry, leads_out
from data_prep.originals.search import Originals
from vicrop import images

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
"""No others are tried: some are handed to programs outside."""

SUFFIXES = {
    "JPEG": ".jpg",
    "MPO": ".jpg",  # a JPEG with a second picture behind it, as some cameras make
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
}

MAX_NAME = 200
"""Bytes of a part of a name; file systems take 255."""


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


def write(items: Sequence[Item], originals: Originals, folder: Path) -> list[Picture]:
    """Write every item's picture; one that several items show is written once.

    Returns:
        The picture of each item; pictures are in ``folder``, which is made.

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
    # None: the bar is shown to a terminal only.
    for entry, data in tqdm(contents, "pictures", len(first), disable=None):
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
    groups: dict[Container, dict[Any, Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.container, {})[entry.key] = entry
    for container, by_key in groups.items():
        for key, data in container.read(list(by_key)):
            yield by_key[key], data


def _write(data: bytes, digest: str, item: Item, entry: Entry, folder: Path) -> Picture:
    kind, shown = decoded(data, f"{item.where}: picture {entry.where}")
    name = item.image if Path(item.image).suffix else item.image + SUFFIXES[kind]
    check_name(name, item.where)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():  # one picture, but packed twice, as mirrors may do
        path = path.with_stem(f"{path.stem}-{digest[:12]}")
    path.write_bytes(data)
    return Picture(path.relative_to(folder).as_posix(), shown.size, digest)


def check_name(name: str, where: str) -> None:
    """Refuse a name that would leave ``images/``, or cannot be a file's.

    Raises:
        ValueError: with where it is from.
    """
    parts = name.split("/")
    longest = max(len(part.encode(errors="surrogatepass")) for part in parts)
    half = name.encode(errors="ignore").decode() != name  # a character, as JSON can
    if leads_out(name) or longest > MAX_NAME or half:
        raise ValueError(
            f"{where}: picture name {name[:80]!r} is no path inside images/; is the "
            "file what it should be?"
        )


def decoded(data: bytes, where: str) -> tuple[str, Image.Image]:
    """Format of a picture, and it itself, upright, decoded to its end.

    Raises:
        ValueError: with where it is from.
    """
    try:
        with warnings.catch_warnings():
            # Ours is the limit that counts; and a torn EXIF is no torn picture.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                images.check_size(image.size, "it")
                return str(image.format), images.load(image)
    except UnidentifiedImageError:
        raise ValueError(
            f"{where} is no picture (it begins with {data[:16]!r}), expected one of "
            f"{', '.join(FORMATS)}; fetch it again"
        ) from None
    except images.UNDECODABLE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{where} does not decode ({reason}); fetch it again"
        ) from error
