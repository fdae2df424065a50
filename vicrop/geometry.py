"""How a model's preprocessing lays the original image under its patch grid."""

import numpy as np

from vicrop.types import Region

FITS = ("squash", "centre-crop", "pad", "native")

LITTLE = 0.5
"""Where less of an image is seen, it is said; of a photo 16 by 9 it is 9/16."""


def region(fit: str, image_size: tuple[int, int]) -> Region:
    """Where the model's input lies in the original image.

    Args:
        fit: ``squash`` (both sides stretched to the square), ``centre-crop`` (short
            side fitted, the ends of the long side cut off), ``pad`` (long side
            fitted; the region then leaves the image) or ``native`` (the ratio kept,
            up to whole patches).
        image_size: (width, height), pixels.

    Returns:
        (left, top, right, bottom) in pixels of the original image.

    Raises:
        ValueError: for another fit.

    Source: the paper does not mention it. Its code lays every map over the whole
    image, which is right for ``squash`` and ``native`` only (LLaVA's processor
    centre-crops).
    """
    width, height = image_size
    if fit in ("squash", "native"):
        return (0.0, 0.0, float(width), float(height))
    if fit not in FITS:
        raise ValueError(f"unknown fit {fit!r}; known: {', '.join(FITS)}")
    side = min(width, height) if fit == "centre-crop" else max(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def visible(fit: str, image_size: tuple[int, int]) -> Region:
    """The part of the original image that reaches the model."""
    left, top, right, bottom = region(fit, image_size)
    width, height = image_size
    return (max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height))


def seen(fit: str, image_size: tuple[int, int]) -> float:
    """The share of the original image that reaches the model."""
    left, top, right, bottom = visible(fit, image_size)
    return (right - left) * (bottom - top) / (image_size[0] * image_size[1])


def place(
    values: np.ndarray, fit: str, image_size: tuple[int, int]
) -> tuple[np.ndarray, Region]:
    """A model's map and the region of the original image that it covers.

    Cells that lie in padding are left out; where the padding cuts cells, the rest is
    laid on as many whole cells as fit best.
    """
    over, inside = region(fit, image_size), visible(fit, image_size)
    if over == inside:
        return values, over
    rows = round(values.shape[0] * (inside[3] - inside[1]) / (over[3] - over[1]))
    cols = round(values.shape[1] * (inside[2] - inside[0]) / (over[2] - over[0]))
    return lay(values, over, inside, (max(rows, 1), max(cols, 1))), inside


def lay(
    values: np.ndarray, over: Region, into: Region, shape: tuple[int, int]
) -> np.ndarray:
    """A map's cells on another grid, by the area they share.

    Args:
        values: (rows, cols) importance.
        over: region that its cells cover evenly.
        into: region that the new cells cover evenly.
        shape: (rows, cols) of the new grid.

    Returns:
        ``shape`` float64, the mean importance under each new cell; where ``values``
        do not reach, there is none (0). The same array if both grids are the same.
    """
    rows = _shares(values.shape[0], over[1::2], shape[0], into[1::2])
    cols = _shares(values.shape[1], over[0::2], shape[1], into[0::2])
    return rows @ values @ cols.T


def _shares(
    cells: int, over: tuple[float, float], new: int, into: tuple[float, float]
) -> np.ndarray:
    """(new, cells): the share of each new cell that lies in each old one, one axis."""
    old = np.linspace(*over, cells + 1)
    edges = np.linspace(*into, new + 1)
    first = np.maximum(edges[:-1, None], old[:-1])
    last = np.minimum(edges[1:, None], old[1:])
    return np.clip(last - first, 0, None) / ((into[1] - into[0]) / new)
