"""Images from the reader's disk to upright RGB; crops; tiles for high resolution."""

import math
import warnings
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from vicrop.types import Box

MAX_PIXELS = 178_956_970
"""Largest image that is opened, 13,377 × 13,377: from there on Pillow refuses too."""

MOST_STRETCHED = 200
"""Qwen2.5-VL's processor takes no longer image; the others would need gigabytes."""

ImageLike = Image.Image | np.ndarray | str | PathLike


def load(source: ImageLike) -> Image.Image:
    """An upright RGB image from a path, a PIL image or an array.

    Turns by EXIF orientation, lays transparency on white, and converts palette, grey
    and CMYK images; 16-bit greys are scaled to 8 bits.

    Args:
        source: a path, a PIL image, or (height, width[, 1, 3 or 4]) uint8, 0–255.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: if the image is broken, too large, or an array of another form.
    """
    if isinstance(source, np.ndarray):
        return to_rgb(_from_array(source))
    if isinstance(source, Image.Image):
        return to_rgb(source)
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"no image at {path}; check the path")
    try:
        with warnings.catch_warnings():
            # Ours is the limit that counts, and it is checked before decoding.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return to_rgb(image, str(path))
    except Image.DecompressionBombError:
        raise ValueError(_too_large(str(path))) from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(
            f"{path} is not a readable image ({error}); expected a whole PNG, JPEG, "
            "WebP, GIF, BMP or TIFF file"
        ) from error


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


def check_shape(size: tuple[int, int], patch_px: int) -> None:
    """Refuse an image that a model could not be given.

    Args:
        size: (width, height).
        patch_px: side of the model's patches.

    Raises:
        ValueError: if it is smaller than one patch, or far longer than wide.
    """
    width, height = size
    if min(size) < patch_px:
        raise ValueError(
            f"image of {width}×{height} pixels is smaller than one "
            f"patch of the model ({patch_px} pixels); enlarge it first"
        )
    if max(size) > MOST_STRETCHED * min(size):
        raise ValueError(
            f"image of {width}×{height} pixels: one side is more than "
            f"{MOST_STRETCHED} times the other; cut it into pieces first"
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
            f"got shape {array.shape}"
        )
    if array.dtype != np.uint8:
        raise ValueError(
            f"an image array must be uint8 with values 0–255, got {array.dtype}"
        )
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def to_rgb(image: Image.Image, name: str = "image") -> Image.Image:
    """An upright RGB copy; transparency becomes white. ``name`` is for errors."""
    check_size(image.size, name)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """8-bit greys of a 16-bit, 32-bit or float image (Pillow would clip at 255)."""
    values = np.nan_to_num(np.asarray(image, np.float64))
    top = 65535 if image.mode.startswith("I;16") else max(values.max(), 1.0)
    scaled = values * (255 / top) if top > 255 else values
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))


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


def high_pass(image: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """How much detail there is at each pixel of a model's input.

    The image, resized bilinearly, minus its Gaussian blur (3×3, sigma 0.8); the root of
    the sum of squares over channels; its median over 7×7.

    Args:
        image: RGB.
        shape: (height, width) of the model's input, pixels.

    Returns:
        ``shape`` float64, of colours in [0, 1].

    Source: paper, section 5 (pure-grad), and its code, where the median is over 7×7
    and the paper's text says 3×3, the blur's size.
    """
    height, width = shape
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(small, np.float64) / 255
    blurred = ndimage.gaussian_filter(values, 0.8, mode="mirror", radius=1, axes=(0, 1))
    detail = np.sqrt(((values - blurred) ** 2).sum(-1))
    return ndimage.median_filter(detail, 7)


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
