"""Importance map -> crop box, the controls' boxes, and how good a box is."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from vicrop.types import Box, Map, Region, Size, known, whole

RATIOS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
"""Window sides tried, over the model's input resolution (paper, section 5)."""


def select_box(
    amap: Map | np.ndarray,
    image_size: tuple[int, int],
    crop_px: int,
    ratios: Sequence[float] = RATIOS,
    choice: str = "sharpness",
) -> Box:
    """The crop that an importance map points to.

    For each ratio the window with the largest sum is found; among the ratios the
    sharpest wins: the largest sum over the mean of its one-cell shifts, a cell.

    Args:
        amap: a Map, or (rows, cols) importance laid over the whole image.
        image_size: (width, height) of the original image, pixels.
        crop_px: the model's input resolution: side of the smallest window, pixels.
        ratios: window sides tried, over ``crop_px``.
        choice: key of ``CHOICES``: what decides between the ratios' windows.

    Returns:
        A square of side ``crop_px`` · ratio around the window, shifted into the image
        (and clipped where the image is smaller); the whole image if the smallest
        window already covers the map.

    Raises:
        ValueError: for a map that is not finite, all zero, negative or not 2-D, an
            image or a window without pixels, or an unknown choice.

    Source: paper, section 5, and its code. Differs for a huge image, where the code's
    window rounds to no cell and its box falls into the corner: here a window has at
    least one cell.
    """
    if not isinstance(amap, Map):
        amap = Map(np.asarray(amap))
    known(choice, CHOICES, "choice")
    everything = Box.of((0, 0, *np.atleast_1d(np.asarray(image_size))))
    whole(crop_px, "crop_px", 1)
    region, table = amap.region or everything, integral(amap.values)
    found = []
    for ratio in ratios:
        size = window_size(amap.shape, region, crop_px * ratio)
        if size == amap.shape:
            break
        found.append((*best_window(table, size, choice), size, ratio))
    if not found:
        return everything
    # The first of equals wins, as in the authors' code.
    top, left, _, size, ratio = max(found, key=lambda window: window[2])
    center = window_center(amap.shape, region, (top, left), size)
    return square(center, crop_px * ratio, image_size)


# Other crops than the sharpest window. All take k: how many.

WIDER = ((1.2, 0.6), (1.6, 1.2))
"""Sides of Visual Funnel's wider windows over the first's: this + that · entropy."""


def funnel(amap: Map, image_size: Size, crop_px: int, k: int = 2) -> list[Box]:
    """The window in k wider ones (at most 2), each centred on what the last one holds.

    Source: Visual Funnel (2512.10362); H is the map's ``entropy``.
    """
    made = [select_box(amap, image_size, crop_px)]
    first, spread = max(made[0].width, made[0].height), entropy(amap)
    for least, more in WIDER[:k]:
        center = centroid(amap, made[-1], image_size)
        made.append(square(center, (least + more * spread) * first, image_size))
    return made


def entropy(amap: Map) -> float:
    """Of a map's shares over its largest, ln N: from 0, one cell, to 1, all alike."""
    shares = amap.values[amap.values > 0] / amap.values.sum(dtype=float)
    return float(-(shares * np.log(shares)).sum() / math.log(max(amap.values.size, 2)))


def edges(amap: Map, image_size: Size) -> tuple[np.ndarray, np.ndarray]:
    """(cols + 1,) x and (rows + 1,) y of the cells' edges, pixels of the image."""
    left, top, right, bottom = amap.region or (0, 0, *image_size)
    rows, cols = amap.shape
    return np.linspace(left, right, cols + 1), np.linspace(top, bottom, rows + 1)


def middles(amap: Map, image_size: Size) -> tuple[np.ndarray, np.ndarray]:
    """(cols,) x and (rows,) y of the cells' middles, pixels of the image."""
    x, y = edges(amap, image_size)
    return (x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2


def within(amap: Map, box: Box, image_size: Size) -> np.ndarray:
    """(rows, cols) whether a cell's middle lies in a box."""
    x, y = middles(amap, image_size)
    down = (y >= box.top) & (y < box.bottom)
    return down[:, None] & (x >= box.left) & (x < box.right)


def centroid(amap: Map, box: Box, image_size: Size) -> tuple[float, float]:
    """(x, y) of the importance inside a box, by cells' middles; its own without any."""
    x, y = middles(amap, image_size)
    inside = within(amap, box, image_size) * amap.values.astype(float)
    held = inside.sum()
    if not held:
        return box.center
    return float(inside.sum(0) @ x / held), float(inside.sum(1) @ y / held)


def top_k(amap: Map, image_size: Size, crop_px: int, k: int = 2) -> list[Box]:
    """The window, then that of what is left of the map once it is zeroed, k in all.

    Raises:
        ValueError: if fewer windows than k hold all of the map.
    """
    values, made = amap.values.copy(), [select_box(amap, image_size, crop_px)]
    while len(made) < k:
        values[within(amap, made[-1], image_size)] = 0
        if not values.any():
            raise ValueError(
                f"{k} crops are asked for, but {len(made)} hold all of the map's "
                f"importance; take {len(made)} (--crops)"
            )
        made.append(select_box(Map(values, amap.region), image_size, crop_px))
    return made


def components(
    amap: Map, image_size: Size, crop_px: int, k: int = 2, share: float = 0.5
) -> list[Box]:
    """Squares around the k regions that hold most, fewer if there are fewer.

    A region's cells touch, at corners too, and have a ``share`` of the map's peak.
    """
    from scipy import ndimage

    high = amap.values >= share * amap.values.max()
    numbers, count = ndimage.label(high, np.ones((3, 3)))
    held = ndimage.sum_labels(amap.values, numbers, range(1, count + 1))
    (x, y), found, made = edges(amap, image_size), ndimage.find_objects(numbers), []
    for rows, cols in (
        found[number] for number in np.argsort(-held, kind="stable")[:k]
    ):
        corners = x[cols.start], y[rows.start], x[cols.stop], y[rows.stop]
        made.append(around(corners, image_size, crop_px))
    return made


def union(amap: Map, image_size: Size, crop_px: int, k: int = 2) -> list[Box]:
    """The smallest square around the ``top_k`` windows."""
    found = np.array(top_k(amap, image_size, crop_px, k))
    return [around((*found[:, :2].min(0), *found[:, 2:].max(0)), image_size)]


def window_size(
    shape: tuple[int, int], region: Region, side_px: float
) -> tuple[int, int]:
    """(height, width) in cells of a window of ``side_px`` pixels, within the map."""
    rows, cols = shape
    left, top, right, bottom = region
    height = int(side_px / ((bottom - top) / rows))
    width = int(side_px / ((right - left) / cols))
    return min(max(height, 1), rows), min(max(width, 1), cols)


def window_sums(table: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Sums of all windows of a size, by summed-area table (Crow, 1984).

    Args:
        table: of a map, as ``integral`` gives it.
        size: (height, width) of the window, cells.

    Returns:
        (rows - height + 1, cols - width + 1) float64, by the window's top left cell.

    Raises:
        ValueError: if the window does not fit.
    """
    (rows, cols), (height, width) = table.shape, size
    if not (1 <= height < rows and 1 <= width < cols):
        shape = (rows - 1, cols - 1)
        raise ValueError(f"window {size} does not fit a map of shape {shape}")
    bands = table[height:] - table[:-height]
    return bands[:, width:] - bands[:, :-width]


def integral(values: np.ndarray) -> np.ndarray:
    """(rows + 1, cols + 1) float64 sums of all cells above and left."""
    rows, cols = values.shape
    table = np.zeros((cols + 1, rows + 1)).T  # columns are searched first
    np.cumsum(values, 0, np.float64, table[1:, 1:])
    return np.cumsum(table, 1, out=table)


def best_window(
    table: np.ndarray, size: tuple[int, int], choice: str = "sharpness"
) -> tuple[int, int, float]:
    """Place a window of fixed size where it collects the most importance.

    Args:
        table: of the map, as ``integral`` gives it.
        size: (height, width) of the window, cells.
        choice: key of ``CHOICES``.

    Returns:
        (top, left, score), the score by ``choice``; of equal sums the leftmost, then
        the topmost wins.
    """
    sums = window_sums(table, size)
    left, top = divmod(int(sums.T.argmax()), sums.shape[0])  # columns first
    return top, left, CHOICES[choice](sums, (top, left), size)


def sharpness(sums: np.ndarray, place: tuple[int, int], size: tuple[int, int]) -> float:
    """A window's sum minus the mean sum of its one-cell shifts, a cell."""
    top, left = place
    shifts = [(top - 1, left), (top + 1, left), (top, left - 1), (top, left + 1)]
    near = [
        sums[y, x]
        for y, x in shifts
        if 0 <= y < sums.shape[0] and 0 <= x < sums.shape[1]
    ]
    gain = sums[top, left] - sum(near) / len(near) if near else 0.0
    return float(gain / (size[0] * size[1]))


def total(sums: np.ndarray, place: tuple[int, int], size: tuple[int, int]) -> float:
    """A window's sum, which almost always prefers the largest window."""
    return float(sums[place])


CHOICES = {"sharpness": sharpness, "sum": total}
"""What may decide between windows of several sizes; the paper's is sharpness."""


def window_center(
    shape: tuple[int, int],
    region: Region,
    corner: tuple[int, int],
    size: tuple[int, int],
) -> tuple[float, float]:
    """(x, y) in the original image of the middle of a window of cells."""
    (rows, cols), (row, col), (height, width) = shape, corner, size
    left, top, right, bottom = region
    x = left + (right - left) / cols * (col + width / 2)
    y = top + (bottom - top) / rows * (row + height / 2)
    return x, y


def square(
    center: tuple[float, float], side: float, image_size: tuple[int, int]
) -> Box:
    """A square around a point, shifted into the image, clipped where it is larger.

    Rounds as the authors' code does: centre and half side are cut to whole pixels.

    Args:
        center: (x, y) in pixels.
        side: in pixels.
        image_size: (width, height), pixels.
    """
    half, edges = max(int(side / 2), 1), []
    for middle, length in zip(center, image_size, strict=True):
        first = min(max(int(middle) - half, 0), max(length - 2 * half, 0))
        edges.append((first, min(first + 2 * half, length)))
    (left, right), (top, bottom) = edges
    return Box(left, top, right, bottom)


def around(
    target: Sequence[float], image_size: tuple[int, int], smallest: float = 1
) -> Box:
    """The smallest square of the image that contains ``target`` (paper's human-CROP).

    Args:
        target: (left, top, right, bottom) of the ground truth, pixels.
        image_size: (width, height), pixels.
        smallest: least side, pixels.

    Where the square would leave the image it is shifted in; a target longer than the
    image is high gives the clipped square (the paper does not say).
    """
    left, top = map(math.floor, target[:2])
    right, bottom = map(math.ceil, target[2:])
    side = max(right - left, bottom - top, smallest)
    center = (left + right) / 2, (top + bottom) / 2
    # Half sides are cut to whole pixels: up to the next even number, plus the cut
    # of the centre, so that the target is inside.
    return square(center, 2 * math.ceil(side / 2 + 0.5), image_size)


def random_box(
    rng: Generator,
    image_size: tuple[int, int],
    crop_px: int,
    region: Region | None = None,
) -> Box:
    """A blind box: random ratio, its middle anywhere in ``region`` (or the image)."""
    side = crop_px * float(rng.choice(RATIOS))
    left, top, right, bottom = region or (0, 0, *image_size)
    center = (rng.uniform(left, right), rng.uniform(top, bottom))
    return square(center, side, image_size)


def center_box(image_size: tuple[int, int], crop_px: int) -> Box:
    """The middle of the image, at the mean ratio of ``RATIOS``."""
    width, height = image_size
    return square((width / 2, height / 2), crop_px * float(np.mean(RATIOS)), image_size)


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Area in common, pixels."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0) * max(height, 0)


def area(box: Sequence[float]) -> float:
    """Pixels covered by (left, top, right, bottom)."""
    return (box[2] - box[0]) * (box[3] - box[1])


def coverage(crop: Sequence[float], target: Sequence[float]) -> float:
    """Share of the target's area that lies in the crop, in [0, 1]."""
    return overlap(crop, target) / area(target)


def iou(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union, in [0, 1]."""
    common = overlap(box, other)
    return common / (area(box) + area(other) - common)
