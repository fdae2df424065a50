"""Images from the reader's disk to upright RGB; crops; tiles for high resolution."""

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from vicrop.types import Box

MAX_PIXELS = 178_956_970
"""Largest image that is opened, 13,377 × 13,377: from there on Pillow refuses too."""

MOST_STRETCHED = 200
"""Qwen2.5-VL's processor takes no longer image; and tiles would be too many."""

UNDECODABLE: tuple[type[Exception], ...] = (OSError, EOFError, SyntaxError, ValueError)
UNDECODABLE += (TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError)
UNDECODABLE += (Image.DecompressionBombError, AssertionError, struct.error, zlib.error)
"""What Pillow raises for bytes that are no picture, or half of one."""

SAVE = "save it as PNG or JPEG first"
KINDS = (
    (rb"\Z", "an empty file; fetch it again"),
    (rb"version https://git-lfs", "a pointer of git-lfs; run `git lfs pull`"),
    (rb"\s*<(!doctype html|html|head)", "a web page; fetch the picture itself"),
    (rb".{4}ftyp(hei|hev|mif1|msf1)", f"a HEIC photo; {SAVE}"),
    (rb".{4}ftypavi|.{4}JXL |\xff\x0a", f"an AVIF or JPEG XL picture; {SAVE}"),
    (rb".{4}ftypcrx|FUJIFILMCCD|IIRO|IIU\0", f"a camera's raw file; {SAVE}"),
    (rb".{4}(ftyp|moov|mdat)|\x1aE\xdf\xa3|RIFF.{4}AVI", "a film; save a frame as PNG"),
    (rb"\0\0\x01[\xb3\xba]|FLV|OggS", "a film; save a frame as PNG"),
    (rb"%PDF", "a PDF; save a page as PNG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6|[^\0]{0,400}<svg", f"a drawing; {SAVE}"),
    (rb"\x93NUMPY|\x89HDF|.{128}DICM|v/1\x01", f"an array or scientific data; {SAVE}"),
    (rb"II\x2a\0|MM\0\x2a", f"a torn TIFF, or of an unusual kind; {SAVE}"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh", "an archive; unpack it first"),
    (rb"[\t\n\r\x20-\xff]+\Z", "text; fetch the picture itself"),
)
"""First bytes of what people take for a picture: what it is, and what to do."""

TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""EXIF orientations, and the ``Image.Transpose`` that turns each upright."""

ImageLike = Image.Image | np.ndarray | str | PathLike | bytes | IO[bytes]
Tell = Callable[[str, str], None]
"""Gets a picture's name and what a reader should know of it."""

QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def warn(name: str, what: str) -> None:
    """Tell by a ``UserWarning``."""
    warnings.warn(f"{name}: {what}", stacklevel=4)


def load(source: ImageLike, tell: Tell = warn) -> Image.Image:
    """An upright RGB image from a path, bytes, an open file, a PIL image or an array.

    Turns by EXIF orientation, lays transparency on white, and converts palette, grey
    and CMYK images; takes the first of several frames, and scales greys by the bits
    that they use.

    Args:
        source: arrays are (height, width[, 1, 3 or 4]) uint8, 0–255.
        tell: called with the last two, and the image's name.

    Raises:
        OSError: if there is no such file, or it cannot be opened.
        ValueError: if it is broken, too large, or nothing that can be read.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        return to_rgb(source, tell)
    with _identified(source) as image:
        name = str(image.filename)
        with _gate(name):
            # An MPO's second picture is its first, small; a PSD's are its layers.
            one = image.format in ("MPO", "PSD") or not getattr(image, "is_animated", 0)
            preview = getattr(image, "tag_v2", {}).get(ExifTags.Base.NewSubfileType)
        if preview == 1:
            raise ValueError(f"{name} begins with a preview; {SAVE}")
        if not one:
            tell(name, "of its frames or pages the first is taken; save another as PNG")
        return to_rgb(image, tell)


def image_size(path: str | PathLike) -> tuple[int, int]:
    """(width, height) of a file's image as ``load`` gives it, without decoding it.

    Raises:
        OSError, ValueError: as ``load``.
    """
    with _identified(path) as image:
        width, height = image.size
        # Pillow turns a TIFF by itself, and says what its size will be.
        turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)


@contextmanager
def _identified(source: Any) -> Iterator[ImageFile.ImageFile]:
    """A file's image, not decoded yet; its name is the file's."""
    with _opened(source) as stream:
        name = str(getattr(stream, "name", "image"))
        with _gate(name):
            stream.seek(0)
            head = bytes(stream.read(512))
        with _gate(name, head):
            Image.preinit()  # the common ones are tried first
            Image.init()
            # None that Pillow cannot draw by itself: for EPS it starts a program.
            formats = [one for one in Image.ID if one not in ("EPS", "HDF5", "MPEG")]
            image = Image.open(stream, formats=formats)
        image.filename = name
        with image:
            yield image


def _opened(source: Any) -> AbstractContextManager[IO[bytes]]:
    """An image's bytes."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = io.BytesIO(source)
    if hasattr(source, "seekable"):
        again = source.seekable()
        return nullcontext(source if again else io.BytesIO(source.read()))
    path = source if isinstance(source, (str, PathLike)) else ""
    if not path or re.match(r"data:|\w\w+:/", str(path)):
        raise ValueError(
            "an image is a path, bytes, an open file, a PIL image or an array of uint8 "
            f"(height, width, 3), got {source!r:.80}; download it, or make one of it"
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"no image at {path}; check the path")
    return Path(path).open("rb")


@contextmanager
def _gate(name: str, head: bytes | None = None) -> Iterator[None]:
    """Make what Pillow raises a ValueError; ``head`` may say what the file is."""
    # Its warnings are of metadata: torn pixels are errors. Not undone, for images are
    # read in threads, and `catch_warnings` of one would undo another's.
    if warnings.filters[:1] != [QUIET]:
        warnings.filterwarnings("ignore", module=QUIET[3].pattern)
    try:
        yield
    except Image.DecompressionBombError:
        raise ValueError(_too_large(name)) from None
    except UNDECODABLE as error:
        broken = f"{name} is not a readable image"
        for pattern, what in () if head is None else KINDS:
            if re.match(pattern, head or b"", re.DOTALL | re.IGNORECASE):
                raise ValueError(f"{broken} but {what}") from error
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "unknown format" if unknown else str(error) or type(error).__name__
        expected = "expected a whole PNG, JPEG, WebP, GIF, BMP or TIFF file"
        raise ValueError(f"{broken} ({reason}); {expected}") from error


def _orientation(image: Image.Image) -> Any:
    """By EXIF or XMP; 1, upright, where they say nothing that can be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except UNDECODABLE:
        return 1


def check_size(size: tuple[int, int], name: str = "image") -> None:
    """Refuse an image of no pixels or of more than ``MAX_PIXELS``.

    Raises:
        ValueError: saying the size and the limit.
    """
    width, height = size
    if width < 1 or height < 1:
        raise ValueError(f"{name} is {width}×{height}, expected at least 1×1 pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{_too_large(name)} (it is {width}×{height})")


def check_shape(size: tuple[int, int], fit: str, side: int) -> None:
    """Refuse an image too long for a processor to ``fit``, to ``side`` pixels.

    Raises:
        ValueError: saying its size and the limit.
    """
    # To cut out the middle, all of the image is made as high as the model's input.
    cuts = max(MAX_PIXELS // side**2, 1)
    most = {"native": MOST_STRETCHED, "centre-crop": cuts}.get(fit, MAX_PIXELS)
    if max(size) > most * min(size):
        raise ValueError(
            f"image of {size[0]}×{size[1]} pixels: one side is more than {most} times "
            "the other; cut it into pieces, or pad it to a square, first"
        )


def _too_large(name: str) -> str:
    return (
        f"{name} has more than {MAX_PIXELS:,} pixels, the most that is opened; "
        "scale it down first"
    )


def _from_array(array: np.ndarray) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f"an image array must be (height, width) or (height, width, 1, 3 or 4), "
            f"got shape {array.shape}; of several give one, and channels last"
        )
    if array.dtype != np.uint8:
        scale = {"b": "multiply it by 255", "f": "multiply it by 255 if 1 is white"}
        raise ValueError(
            f"an image array must be uint8 with values 0–255, got {array.dtype}; "
            f"{scale.get(array.dtype.kind, 'scale it')} and use .astype(numpy.uint8)"
        )
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def to_rgb(image: Image.Image, tell: Tell = warn) -> Image.Image:
    """An upright RGB copy, pixels alone; transparency becomes white. See ``load``."""
    name = str(getattr(image, "filename", "") or "image")
    check_size(image.size, name)
    # Of 16 bits a colour Pillow leaves the upper 8.
    deep = "RGB" in image.mode and ";16" in str(getattr(image, "tile", ""))
    with _gate(name):
        image.load()
        turn = TURNS.get(_orientation(image))
        upright = image if turn is None else image.transpose(Image.Transpose(turn))
        if upright.mode[0] in "IF":
            upright, scaled = _deep_grey(upright)
            if scaled:
                tell(name, scaled)
            kind = getattr(image, "tag_v2", {})
            if kind.get(ExifTags.Base.PhotometricInterpretation) == 0:  # white is zero
                upright = ImageOps.invert(upright)
        rgb = _on_white(upright)
    if deep and np.asarray(rgb).max() < 64:
        tell(name, "of 16 bits a colour the upper are empty, it is black; brighten it")
    rgb.info = {}  # its EXIF would turn it again
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    """As RGB, what is transparent white."""
    if image.mode in ("La", "RGBa"):  # alpha is multiplied in
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> tuple[Image.Image, str]:
    """8-bit greys of 16-bit, 32-bit or float ones, and how they are scaled, if oddly.

    White is the least power of two that holds all, less one: of 16 bits, cameras use
    10 to 14. Of floats up to 1 it is 1. Where greys are negative, black is the least.
    """
    with np.errstate(invalid="ignore"):  # a NaN
        values = np.array(image, np.float64)
    finite, floats = np.isfinite(values), image.mode == "F"
    low = float(values.min(where=finite, initial=0))
    high = float(values.max(where=finite, initial=0))
    white = 1.0 if floats and high <= 1 else 2.0 ** math.ceil(math.log2(high + 1)) - 1
    white = high if low < 0 else max(white, 1)
    np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    values -= low
    values *= 255 / (white - low)
    usual = high == low or (low, white) == (0, 255 if floats else 65535)
    scaled = f"greys of {low:g} to {high:g}, scaled as {low:g} to {white:g}"
    return Image.fromarray(values.astype(np.uint8)), "" if usual else scaled


def crop(image: Image.Image, box: Box) -> Image.Image:
    """The pixels of ``box``.

    Raises:
        ValueError: if the box is empty or leaves the image.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise ValueError(
            f"box {tuple(box)} does not lie in an image of {image.width}×{image.height}"
        )
    return image.crop(box)


GREY = (128, 128, 128)


def blank(image: Image.Image, box: Box) -> Image.Image:
    """A grey picture of the crop's size."""
    return Image.new("RGB", crop(image, box).size, GREY)


def shuffled(image: Image.Image, box: Box, parts: int = 12) -> Image.Image:
    """The crop's pieces, ``parts`` a side, in an order drawn from its place.

    For pieces of one size, single rows and columns are doubled, then left out again.
    """
    whole, near = crop(image, box), Image.Resampling.NEAREST
    wide, high = (math.ceil(side / parts) * parts for side in whole.size)
    pixels = np.asarray(whole.resize((wide, high), near))
    rows = pixels.reshape(parts, high // parts, parts, wide // parts, 3).swapaxes(1, 2)
    pieces = np.random.default_rng(box).permutation(rows.reshape(-1, *rows.shape[2:]))
    mixed = pieces.reshape(rows.shape).swapaxes(1, 2).reshape(pixels.shape)
    return Image.fromarray(mixed).resize(whole.size, near)


def masked(image: Image.Image, box: Box) -> Image.Image:
    """The whole image, all outside of the crop greyed."""
    made = Image.new("RGB", image.size, GREY)
    made.paste(crop(image, box), box)
    return made


CHANGES: dict[str, Callable[[Image.Image, Box], Image.Image]] = {
    "none": crop,
    "blank": blank,
    "shuffled": shuffled,
    "masked": masked,
}
"""What may be made of a crop before it is shown: controls tell what it gives."""


def fit(image: Image.Image, how: str, color: tuple[int, int, int]) -> Image.Image:
    """A square image: ``pad`` (with ``color``), ``squash`` or ``centre-crop``.

    Raises:
        ValueError: for another way, or padding to more than ``MAX_PIXELS``.
    """
    width, height = image.size
    if how == "squash":
        side = round(math.sqrt(width * height))
        return image.resize((side, side), Image.Resampling.BICUBIC)
    if how == "centre-crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))
    if how != "pad":
        raise ValueError(f"unknown fit {how!r}; known: pad, squash, centre-crop")
    side = max(width, height)
    check_size((side, side), "the padded image")
    square = Image.new("RGB", (side, side), color)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


@dataclass(frozen=True)
class Tiles:
    """Non-overlapping boxes, row by row, that cover an image."""

    rows: int
    cols: int
    boxes: tuple[Box, ...]


def tile(image_size: tuple[int, int], limit: int = 1024) -> Tiles:
    """Cut an image for the high-resolution variant.

    Args:
        image_size: (width, height), pixels.
        limit: rows are at most this high, pixels.

    Returns:
        ceil(height / limit) rows and floor(rows · width / height) columns, at least
        one; every pixel lies in exactly one tile.

    Source: the paper's section 5 and its code. Differs where the code divides by zero
    (a tall image gets no column: here one) or lets the last tiles leave the image
    (here they are cut at its border).
    """
    width, height = image_size
    check_size(image_size)
    check_shape(image_size, "native", 1)
    rows = math.ceil(height / limit)
    cols = max(1, int(rows * width / height))
    down, across = math.ceil(height / rows), math.ceil(width / cols)
    # Rounding up can use up the pixels before the tiles: drop the empty ones.
    tops, lefts = range(0, height, down), range(0, width, across)
    boxes = tuple(
        Box(left, top, min(left + across, width), min(top + down, height))
        for top in tops
        for left in lefts
    )
    return Tiles(len(tops), len(lefts), boxes)
