import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vicrop import geometry

SIZES = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


@pytest.mark.parametrize(
    ("fit", "region"),
    [
        ("squash", (0, 0, 100, 60)),
        ("native", (0, 0, 100, 60)),
        ("centre-crop", (20, 0, 80, 60)),
        ("pad", (0, -20, 100, 80)),
    ],
)
def test_region_of_a_wide_image(fit, region):
    assert geometry.region(fit, (100, 60)) == region


def test_visible_part_of_a_padded_image_is_the_image():
    assert geometry.visible("pad", (100, 60)) == (0, 0, 100, 60)


def test_visible_part_of_a_cropped_image_is_its_middle_square():
    assert geometry.visible("centre-crop", (100, 60)) == (20, 0, 80, 60)
    assert geometry.visible("centre-crop", (60, 100)) == (0, 20, 60, 80)
    assert geometry.visible("native", (60, 100)) == (0, 0, 60, 100)


def test_unknown_fit_is_named():
    with pytest.raises(ValueError, match="unknown fit 'stretch'; known: squash"):
        geometry.region("stretch", (10, 10))


@given(size=SIZES, fit=st.sampled_from(geometry.FITS))
def test_visible_part_lies_in_image_and_in_region(size, fit):
    outer = geometry.region(fit, size)
    inner = geometry.visible(fit, size)
    assert 0 <= inner[0] < inner[2] <= size[0]
    assert 0 <= inner[1] < inner[3] <= size[1]
    assert outer[0] <= inner[0] and outer[1] <= inner[1]
    assert inner[2] <= outer[2] and inner[3] <= outer[3]


@given(size=SIZES)
def test_cropped_and_padded_regions_are_squares(size):
    for fit in ("centre-crop", "pad"):
        left, top, right, bottom = geometry.region(fit, size)
        assert right - left == bottom - top


@pytest.mark.parametrize("size", [(448, 448), (640, 300), (301, 777), (96, 97)])
def test_region_is_where_the_processor_takes_its_pixels(vlm, rng, size):
    """A white dot at a known place of the image appears where the region says."""
    check_region(vlm, rng, size, None)


@pytest.mark.parametrize("fit", ["squash", "pad", "centre-crop"])
@pytest.mark.parametrize("size", [(640, 300), (301, 777)])
def test_region_is_where_another_fit_takes_its_pixels(vlm, rng, size, fit):
    check_region(vlm, rng, size, fit)


def check_region(vlm, rng, size, fit):
    left, top, right, bottom = geometry.region(fit or vlm.facts.fit, size)
    inner = geometry.visible(fit or vlm.facts.fit, size)
    for _ in range(5):
        dot = max(3, min(size) // 30)
        x = int(rng.uniform(inner[0] + dot, inner[2] - dot))
        y = int(rng.uniform(inner[1] + dot, inner[3] - dot))
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[y - dot // 2 : y + dot // 2 + 1, x - dot // 2 : x + dot // 2 + 1] = 255
        fitted = vlm.fitted(Image.fromarray(image), fit)
        # Above the padding, whose colour is normalised to 0, and its edges.
        light = np.clip(vlm.facts.pixels([fitted])[0][0, 0].numpy() - 0.5, 0, None)
        middle = np.arange(light.shape[0]) + 0.5
        found = (light.sum(0) @ middle, light.sum(1) @ middle) / light.sum()
        told = np.array(
            [(x + 0.5 - left) / (right - left), (y + 0.5 - top) / (bottom - top)]
        )
        assert np.abs(found - told * light.shape[0]).max() < 1


CELLS = st.tuples(st.integers(1, 5), st.integers(1, 5))
PX = st.tuples(st.integers(1, 6), st.integers(1, 6))
MOST = 80  # pixels each way of the canvases below


def painted(values, corner, cell):
    """A map painted pixel by pixel at (x, y), cells of (width, height) pixels."""
    canvas = np.zeros((MOST, MOST))
    for row in range(values.shape[0]):
        for col in range(values.shape[1]):
            x, y = corner[0] + col * cell[0], corner[1] + row * cell[1]
            canvas[y : y + cell[1], x : x + cell[0]] = values[row, col]
    return canvas


def averaged(canvas, corner, cell, shape):
    """Mean pixel of each cell of another grid."""
    means = np.zeros(shape)
    for row in range(shape[0]):
        for col in range(shape[1]):
            x, y = corner[0] + col * cell[0], corner[1] + row * cell[1]
            means[row, col] = canvas[y : y + cell[1], x : x + cell[0]].mean()
    return means


def spanned(corner, cell, shape):
    """Region of a grid at ``corner``."""
    x, y = corner
    return (x, y, x + shape[1] * cell[0], y + shape[0] * cell[1])


@given(
    old=CELLS, new=CELLS, old_px=PX, new_px=PX, at=PX, to=PX, seed=st.integers(0, 99)
)
def test_laying_averages_as_pixel_by_pixel(old, new, old_px, new_px, at, to, seed):
    values = np.random.default_rng(seed).random(old)
    over, into = spanned(at, old_px, old), spanned(to, new_px, new)
    laid = geometry.lay(values, over, into, new)
    wanted = averaged(painted(values, at, old_px), to, new_px, new)
    np.testing.assert_allclose(laid, wanted, atol=1e-12)


def test_laying_on_the_same_grid_changes_nothing(rng):
    values, region = rng.random((7, 5)), (-3.5, 2.0, 11.0, 9.25)
    laid = geometry.lay(values, region, region, (7, 5))
    np.testing.assert_allclose(laid, values, rtol=1e-12)


def test_laying_keeps_the_whole_importance(rng):
    values, region = rng.random((7, 5)), (0.0, 0.0, 35.0, 35.0)
    laid = geometry.lay(values, region, region, (4, 9))
    assert laid.mean() == pytest.approx(values.mean())


@pytest.mark.parametrize("fit", ["squash", "native", "centre-crop"])
def test_map_without_padding_is_placed_as_it_is(rng, fit):
    values = rng.random((4, 6))
    placed, region = geometry.place(values, fit, (90, 50))
    assert placed is values
    assert region == geometry.region(fit, (90, 50))


@given(
    cells=st.integers(1, 8), cell=st.integers(1, 9), cut=st.integers(0, 30), tall=...
)
def test_padded_map_keeps_the_cells_of_the_image(cells, cell, cut, tall: bool):
    """Against the map painted pixel by pixel, with the padding cut off."""
    side = cells * cell
    short = max(side - 2 * cut, 1)
    if (side - short) % 2:
        return  # half a pixel: nothing to paint
    values = np.random.default_rng(side).random((cells, cells))
    size = (short, side) if tall else (side, short)
    placed, region = geometry.place(values, "pad", size)
    assert region == (0, 0, *size)
    wanted = painted(values, (0, 0), (cell, cell))[:side, :side]
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    wanted = wanted[top : top + size[1], left : left + size[0]]
    rows, cols = placed.shape
    assert (rows, cols) == (
        max(round(cells * size[1] / side), 1),
        max(round(cells * size[0] / side), 1),
    )
    assert placed.mean() == pytest.approx(wanted.mean())
    fine = np.kron(wanted, np.ones((rows, cols)))  # so that new cells are whole pixels
    blocks = fine.reshape(rows, size[1], cols, size[0]).mean((1, 3))
    np.testing.assert_allclose(placed, blocks, atol=1e-9)


def test_padding_that_fills_whole_cells_is_dropped():
    values = np.arange(16.0).reshape(4, 4)
    placed, region = geometry.place(values, "pad", (80, 40))
    assert placed.tolist() == values[1:3].tolist()
    assert region == (0, 0, 80, 40)
