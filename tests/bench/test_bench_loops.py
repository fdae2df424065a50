import numpy as np
import pytest

from benchmarks import loops
from vicrop import boxes
from vicrop.types import Box, Map


@pytest.mark.parametrize("seed", range(20))
def test_loops_choose_our_box(seed):
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(4, 25, 2)
    # Few levels, so that sums tie.
    values = rng.integers(0, 4, (rows, cols)).astype(float) + 0.5
    size = (int(rng.integers(100, 900)), int(rng.integers(100, 900)))
    amap = Map(values, (0, 0, *map(float, size)))
    assert loops.select_box(amap, size, 56) == boxes.select_box(amap, size, 56)


def test_of_equal_windows_the_leftmost_wins():
    values = np.zeros((6, 6))
    values[4, 0] = values[0, 3] = 1
    assert loops.best_window(values, (2, 2))[:2] == (3, 0)


def test_map_that_one_window_covers_gives_the_whole_image():
    amap = Map(np.ones((4, 4)), (0.0, 0.0, 50.0, 50.0))
    assert loops.select_box(amap, (50, 50), 56) == Box(0, 0, 50, 50)
