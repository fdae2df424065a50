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
        ("centre-crop", (20, 0, 80, 60)),
        ("pad", (0, -20, 100, 80)),
    ],
)
def test_region_of_a_wide_image(fit, region):
    assert geometry.region(fit, (100, 60)) == region


def test_visible_part_of_a_padded_image_is_the_image():
    assert geometry.visible("pad", (100, 60)) == (0, 0, 100, 60)


def test_unknown_fit_is_named():
    with pytest.raises(ValueError, match="unknown fit 'stretch'; known: squash"):
        geometry.region("stretch", (10, 10))


@given(size=SIZES, fit=st.sampled_from(["squash", "centre-crop", "pad"]))
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
    left, top, right, bottom = geometry.region(vlm.fit, size)
    for _ in range(5):
        dot = max(3, min(size) // 30)
        x = int(rng.uniform(left + dot, right - dot))
        y = int(rng.uniform(top + dot, bottom - dot))
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[y - dot // 2 : y + dot // 2 + 1, x - dot // 2 : x + dot // 2 + 1] = 255
        light = vlm.pixels(Image.fromarray(image))[0, 0].numpy()
        light = np.clip(light - light.min(), 0, None)
        middle = np.arange(light.shape[0]) + 0.5
        found = (light.sum(0) @ middle, light.sum(1) @ middle) / light.sum()
        told = np.array(
            [(x + 0.5 - left) / (right - left), (y + 0.5 - top) / (bottom - top)]
        )
        assert np.abs(found - told * light.shape[0]).max() < 1
