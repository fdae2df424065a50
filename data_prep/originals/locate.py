"""Where a crop was cut from an image, where a data set tells a region only by its crop.

Coarse to fine: the sum of squared differences at every place of the shrunk image, by
FFT, then around the best few places at full size.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy import signal

from vicrop import boxes
from vicrop.types import Region

CELLS = 32
"""Of the shrunk crop's short side, so that even noise is found half a cell off."""

FEWEST_CELLS = 8
"""The same, for a small crop of an image that would take too much memory."""

MAX_CELLS = 4_000_000
"""Of the shrunk image, about; each takes some 50 bytes."""

PLACES = 6
"""Best places of the shrunk image that are looked at."""

MAX_DIFFERENCE = 4.0
"""Mean absolute difference of 255 that a crop may have; JPEG again makes some 2."""

MAX_SHARE = 0.3
"""The same, as a share of the crop's spread about its mean colour: what a flat crop
differs by says nothing."""


def locate(crop: np.ndarray, image: np.ndarray) -> Region | None:
    """The region of an image that a crop shows, cut out at the same size.

    Args:
        crop: (height, width, 3) uint8.
        image: (rows, cols, 3) uint8.

    Returns:
        (left, top, right, bottom) in pixels; None if the crop fits nowhere (scaled, or
        of another image), fits at different places, or is all but flat.
    """
    height, width = crop.shape[:2]
    if height > image.shape[0] or width > image.shape[1]:
        return None
    found = sorted(_fits(crop, image))
    spread = np.abs(crop - crop.mean((0, 1))).mean()
    if found[0][0] > min(MAX_DIFFERENCE, MAX_SHARE * spread):
        return None
    regions = [(x, y, x + width, y + height) for _, x, y in found]
    for (difference, *_), region in zip(found, regions, strict=True):
        near = boxes.iou(region, regions[0]) > 0.5
        if not near and difference <= 2 * found[0][0] + 1:
            return None
    return regions[0]


def _fits(crop: np.ndarray, image: np.ndarray) -> Iterator[tuple[float, int, int]]:
    """Mean absolute difference, left and top of the places that fit best."""
    step = _step(min(crop.shape[:2]), image.shape[0] * image.shape[1])
    grey, part = _grey(image), _grey(crop)
    for row, col in _lowest(_misfit(_shrunk(part, step), _shrunk(grey, step))):
        y, x = _refined(part, grey, (row * step, col * step), step)
        shown = image[y : y + crop.shape[0], x : x + crop.shape[1]]
        yield float(np.abs(shown.astype(np.int16) - crop).mean()), x, y


def _step(side: int, pixels: int) -> int:
    """Pixels a cell of the shrunk image takes, by the crop's short side."""
    bounded = min(side // FEWEST_CELLS, math.ceil(math.sqrt(pixels / MAX_CELLS)))
    return max(1, side // CELLS, bounded)


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(rows, cols) float32 about 0: large means would cost float32 its digits."""
    return pixels.mean(2, dtype=np.float32) - np.float32(127.5)


def _shrunk(grey: np.ndarray, step: int) -> np.ndarray:
    """Means of blocks; what is left over at the right and below is cut off."""
    rows, cols = (side // step for side in grey.shape)
    blocks = grey[: rows * step, : cols * step].reshape(rows, step, cols, step)
    return blocks.mean((1, 3))


def _misfit(part: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Sum of squared differences at every place, by its top left cell."""
    sums = boxes.window_sums(boxes.integral(grey**2), part.shape)
    cross = signal.oaconvolve(grey, part[::-1, ::-1], mode="valid")
    return sums - 2 * cross + (part**2).sum()


def _lowest(misfit: np.ndarray) -> Iterator[tuple[int, int]]:
    """Row and column of the lowest values, none next to another."""
    left = misfit.copy()
    for _ in range(PLACES):
        row, col = np.unravel_index(np.argmin(left), left.shape)
        if not np.isfinite(left[row, col]):
            return
        yield int(row), int(col)
        left[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3] = np.inf


def _refined(
    part: np.ndarray, grey: np.ndarray, place: tuple[int, int], step: int
) -> tuple[int, int]:
    """Row and column of the best place up to a step from one."""
    most = [whole - side for whole, side in zip(grey.shape, part.shape, strict=True)]
    top, left = (
        max(min(at - step, end), 0) for at, end in zip(place, most, strict=True)
    )
    bottom, right = (
        at + step + side for at, side in zip(place, part.shape, strict=True)
    )
    misfit = _misfit(part, grey[top:bottom, left:right])
    row, col = np.unravel_index(np.argmin(misfit), misfit.shape)
    return top + int(row), left + int(col)
