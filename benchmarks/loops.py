"""The box search as the authors' code writes it: loops over all windows."""

from collections.abc import Sequence

import numpy as np

from vicrop import boxes
from vicrop.types import Box, Map


def best_window(values: np.ndarray, size: tuple[int, int]) -> tuple[int, int, float]:
    """(top, left, sharpness) of the window with the largest sum, columns first."""
    height, width = size
    rows, cols = values.shape
    sums = np.zeros((rows - height + 1, cols - width + 1))
    best, place = -np.inf, (0, 0)
    for left in range(cols - width + 1):
        for top in range(rows - height + 1):
            sums[top, left] = values[top : top + height, left : left + width].sum()
            if sums[top, left] > best:
                best, place = sums[top, left], (top, left)
    return *place, boxes.sharpness(sums, place, size)


def select_box(
    amap: Map,
    image_size: tuple[int, int],
    crop_px: int,
    ratios: Sequence[float] = boxes.RATIOS,
) -> Box:
    """As ``vicrop.boxes.select_box``, with the loops above."""
    values, region = np.asarray(amap.values, np.float64), amap.region
    found = []
    for ratio in ratios:
        size = boxes.window_size(amap.shape, region, crop_px * ratio)
        if size == amap.shape:
            break
        found.append((*best_window(values, size), size, ratio))
    if not found:
        return Box(0, 0, *image_size)
    top, left, _, size, ratio = max(found, key=lambda window: window[2])
    center = boxes.window_center(amap.shape, region, (top, left), size)
    return boxes.square(center, crop_px * ratio, image_size)
