import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embedded import dense, scenes
from embedded.models import GRID, IMAGE_PX, PATCH_PX
from embedded.scenes import Plate

SCALES = [0.5, 1, 2]


def counted(plate, scale):
    """(GRID, GRID) covered area of each patch, model pixels squared, pixel by pixel."""
    side = round(IMAGE_PX * scale)
    mask = np.zeros((side, side))
    left, top, right, bottom = plate.box
    mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 1
    patch = side // GRID
    return mask.reshape(GRID, patch, GRID, patch).sum((1, 3)) / scale**2


@given(
    scale=st.sampled_from(SCALES),
    left=st.integers(-20, 200),
    top=st.integers(-20, 200),
    side=st.integers(1, 90),
)
def test_overlap_equals_pixels_counted(scale, left, top, side):
    plate = Plate(left, top, side, "red", "4")
    np.testing.assert_allclose(dense.overlap(plate, scale), counted(plate, scale))


def slow_labels(plates, texture, scale):
    """Labels patch by patch: the plate that covers most of a patch names it."""
    whole = (0, 0, IMAGE_PX * scale, IMAGE_PX * scale)
    areas = [counted(plate, scale) for plate in plates]
    labels = dense._blank(texture)
    for row in range(GRID):
        for col in range(GRID):
            covered = [area[row, col] for area in areas]
            if not covered or max(covered) == 0:
                continue
            best = int(np.argmax(covered))
            plate, side = plates[best], plates[best].side / scale
            labels["texture"][row, col] = dense.IGNORE
            labels["side"][row, col] = side
            labels["color"][row, col] = dense.IGNORE
            if covered[best] >= 6:
                labels["color"][row, col] = dense.COLOR_IDS[plate.color]
            readable = covered[best] >= 12 and side >= 6
            if readable and plate.inside(whole) > 0.9:
                labels["char"][row, col] = dense.CHAR_IDS[plate.char]
    return labels


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("seed", range(4))
def test_labels_equal_those_found_patch_by_patch(monkeypatch, scale, seed):
    plates, paste = [], scenes.paste
    monkeypatch.setattr(
        scenes, "paste", lambda c, plate, r: plates.append(plate) or paste(c, plate, r)
    )
    view = dense.View(scale, (4.2, 60), (6, 13))
    canvas, labels = dense.picture(view, np.random.default_rng(seed))
    texture = scenes.TEXTURES[labels["texture"].max()]
    wanted = slow_labels(plates, texture, scale)
    assert canvas.shape == (IMAGE_PX * scale, IMAGE_PX * scale, 3)
    assert plates
    for name in labels:
        np.testing.assert_allclose(labels[name], wanted[name], rtol=1e-6, err_msg=name)


def test_batch_is_normalised_and_labelled(rng):
    view = dense.View(2, (8, 36), (8, 15))
    pixels, labels = dense.batch(3, view, rng)
    assert pixels.shape == (3, 3, IMAGE_PX, IMAGE_PX)
    assert pixels.dtype == torch.float32 and pixels.abs().max() <= 2
    assert set(labels) == {"color", "char", "texture", "side"}
    assert all(label.shape == (3, GRID**2) for label in labels.values())
    assert (labels["color"] == dense.NO_PLATE).any()
    assert ((labels["char"] >= 0) & (labels["char"] < len(scenes.CHARS))).any()


@pytest.mark.parametrize("scale", SCALES)
def test_same_rng_draws_the_same_batch(scale):
    view = dense.View(scale, (8, 36), (2, 5))
    one, two = (dense.batch(2, view, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert all(torch.equal(one[1][name], two[1][name]) for name in one[1])


def test_a_patch_has_a_character_only_where_it_has_a_colour(rng):
    _, labels = dense.batch(4, dense.View(1, (6, 40), (4, 9)), rng)
    named = labels["char"] != dense.IGNORE
    assert named.any()
    assert (labels["color"][named] < dense.NO_PLATE).all()
    assert (labels["color"][named] >= 0).all()
    assert (labels["texture"][named] == dense.IGNORE).all()


def test_patches_are_laid_as_the_towers_are():
    assert GRID * PATCH_PX == IMAGE_PX
