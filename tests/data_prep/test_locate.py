import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from data_prep.originals import locate as module
from data_prep.originals.locate import locate


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def landscape(shape, seed=0):
    """Smooth, as photographs are, with some grain."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(*shape, 3)), (9, 9, 0))
    smooth = 127 + 40 * smooth / smooth.std() + rng.normal(0, 3, smooth.shape)
    return smooth.clip(0, 255).astype(np.uint8)


def cut(image, region):
    left, top, right, bottom = region
    return image[top:bottom, left:right]


def compressed(pixels, quality):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out))


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([noise, landscape]))
def test_exact_crop_is_found_wherever_it_lies(data, draw):
    rows, cols = data.draw(st.tuples(st.integers(40, 200), st.integers(40, 200)))
    height = data.draw(st.integers(12, rows))
    width = data.draw(st.integers(12, cols))
    top = data.draw(st.integers(0, rows - height))
    left = data.draw(st.integers(0, cols - width))
    region = (left, top, left + width, top + height)
    image = draw((rows, cols), rows * cols)
    assert locate(cut(image, region), image) == region


@pytest.mark.parametrize("size", [64, 129, 257, 400])
@pytest.mark.parametrize("draw", [noise, landscape])
def test_large_crop_is_found_to_the_pixel(draw, size):
    image = draw((600, 800), size)
    # As far from the shrunk image's cells as can be.
    half = size // 32 // 2
    region = (96 + half, 64 + half, 96 + half + size, 64 + half + size)
    assert locate(cut(image, region), image) == region


def test_small_crop_of_a_large_image_is_found_in_little_memory(monkeypatch):
    monkeypatch.setattr(module, "MAX_CELLS", 9_000)
    shrunk = []
    cells = module._shrunk
    monkeypatch.setattr(
        module, "_shrunk", lambda *given: shrunk.append(cells(*given)) or shrunk[-1]
    )
    image = landscape((400, 500))
    region = (203, 101, 245, 151)
    assert locate(cut(image, region), image) == region
    assert max(made.size for made in shrunk) < 9_000


def test_crop_at_the_last_pixel_is_found():
    image = landscape((301, 403))
    region = (403 - 131, 301 - 99, 403, 301)
    assert locate(cut(image, region), image) == region


def test_crop_that_was_compressed_again_is_found():
    image = landscape((300, 400))
    region = (37, 51, 187, 131)
    crop = compressed(cut(image, region), 85)
    assert (crop != cut(image, region)).any()
    assert locate(crop, image) == region


@pytest.mark.parametrize("factor", [0.5, 2])
def test_scaled_crop_has_no_place(factor):
    image = landscape((300, 400))
    crop = Image.fromarray(cut(image, (40, 50, 160, 130)))
    crop = crop.resize((int(crop.width * factor), int(crop.height * factor)))
    assert locate(np.asarray(crop), image) is None


def test_crop_of_another_image_has_no_place():
    assert locate(
        cut(landscape((300, 400), 1), (9, 9, 99, 99)), landscape((300, 400))
    ) is (None)


def test_crop_larger_than_the_image_has_no_place():
    assert locate(noise((50, 90)), noise((60, 80))) is None
    assert locate(noise((61, 80)), noise((60, 80))) is None


def test_crop_that_fits_twice_has_no_place():
    image = landscape((200, 300))
    image[100:160, 200:260] = image[20:80, 30:90]
    assert locate(image[20:80, 30:90], image) is None
    assert locate(image[10:80, 30:90], image) == (30, 10, 90, 80)


def test_flat_crop_has_no_place():
    image = landscape((200, 300))
    image[50:100, 50:100] = 90
    assert locate(image[60:90, 60:90], image) is None
