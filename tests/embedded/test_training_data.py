from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embedded import llava, scenes, training_data
from embedded.fit import Workers
from embedded.scenes import Plate
from embedded.training_data import Source
from embedded.words import GRID, IMAGE_PX, PATCH_PX

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
    np.testing.assert_allclose(
        training_data.overlap(plate, scale), counted(plate, scale)
    )


def slow_labels(plates, texture, scale):
    """Labels patch by patch: the plate that covers most of a patch names it."""
    whole = (0, 0, IMAGE_PX * scale, IMAGE_PX * scale)
    areas = [counted(plate, scale) for plate in plates]
    labels = training_data._blank(texture)
    for row in range(GRID):
        for col in range(GRID):
            covered = [area[row, col] for area in areas]
            if not covered or max(covered) == 0:
                continue
            best = int(np.argmax(covered))
            plate, side = plates[best], plates[best].side / scale
            labels["texture"][row, col] = training_data.IGNORE
            labels["side"][row, col] = side
            labels["color"][row, col] = training_data.IGNORE
            if covered[best] >= 6:
                labels["color"][row, col] = training_data.COLOR_IDS[plate.color]
            readable = covered[best] >= 12 and side >= 6
            if readable and plate.inside(whole) > 0.9:
                labels["char"][row, col] = training_data.CHAR_IDS[plate.char]
    return labels


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("seed", range(4))
def test_labels_equal_those_found_patch_by_patch(monkeypatch, scale, seed):
    plates, paste = [], scenes.paste
    monkeypatch.setattr(
        scenes, "paste", lambda c, plate, r: plates.append(plate) or paste(c, plate, r)
    )
    view = training_data.Drawing(scale, (4.2, 60), (6, 13))
    canvas, labels = training_data.labelled_picture(view, np.random.default_rng(seed))
    texture = scenes.TEXTURES[labels["texture"].max()]
    wanted = slow_labels(plates, texture, scale)
    assert canvas.shape == (IMAGE_PX * scale, IMAGE_PX * scale, 3)
    assert plates
    for name in labels:
        np.testing.assert_allclose(labels[name], wanted[name], rtol=1e-6, err_msg=name)


def test_batch_is_normalised_and_labelled(rng):
    view = training_data.Drawing(2, (8, 36), (8, 15))
    pixels, labels = training_data.labelled_pictures(3, view, rng)
    assert pixels.shape == (3, 3, IMAGE_PX, IMAGE_PX)
    assert pixels.dtype == torch.float32 and pixels.abs().max() <= 2
    assert set(labels) == {"color", "char", "texture", "side"}
    assert all(label.shape == (3, GRID**2) for label in labels.values())
    assert (labels["color"] == training_data.NO_PLATE).any()
    assert ((labels["char"] >= 0) & (labels["char"] < len(scenes.CHARS))).any()


@pytest.mark.parametrize("scale", SCALES)
def test_same_rng_draws_the_same_batch(scale):
    view = training_data.Drawing(scale, (8, 36), (2, 5))
    one, two = (
        training_data.labelled_pictures(2, view, np.random.default_rng(3))
        for _ in range(2)
    )
    assert torch.equal(one[0], two[0])
    assert all(torch.equal(one[1][name], two[1][name]) for name in one[1])


def test_a_patch_has_a_character_only_where_it_has_a_colour(rng):
    _, labels = training_data.labelled_pictures(
        4, training_data.Drawing(1, (6, 40), (4, 9)), rng
    )
    named = labels["char"] != training_data.IGNORE
    assert named.any()
    assert (labels["color"][named] < training_data.NO_PLATE).all()
    assert (labels["color"][named] >= 0).all()
    assert (labels["texture"][named] == training_data.IGNORE).all()


def test_patches_are_laid_as_the_towers_are():
    assert GRID * PATCH_PX == IMAGE_PX


@pytest.fixture
def source(monkeypatch):
    """Four training scenes in two chunks."""
    monkeypatch.setattr(training_data, "CHUNK", 2)
    return Source(first=6, count=4, spec=scenes.PLATES)


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    return llava.model().model.vision_tower.eval()


def test_training_pixels_are_what_the_processor_gives(processor):
    """A scene and its crop look in training as they do when the model is used."""
    scene, (left, top, side) = training_data.planned(7, scenes.PLATES)
    small = training_data.pictures(7, scenes.PLATES)
    drawn, pixels = scenes.draw(scenes.PLATES, scenes.scene_seed("train", 7))
    assert drawn == scene
    whole = Image.fromarray(pixels)
    part = whole.crop((left, top, left + side, top + side))
    for image, trained in zip((whole, part), small, strict=True):
        used = processor.image_processor(images=[image], return_tensors="pt")
        ready = (trained.astype(np.float32) / 255 - 0.5) / 0.25
        found = used["pixel_values"][0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(found, ready, atol=1e-5)


def test_crops_are_blind_squares_inside_the_scene(rng):
    crops = [training_data.random_crop(rng) for _ in range(500)]
    for left, top, side in crops:
        assert training_data.CROP_SIDE[0] <= side <= training_data.CROP_SIDE[1]
        assert 0 <= left <= training_data.SCENE_PX - side
        assert 0 <= top <= training_data.SCENE_PX - side
    assert len(set(crops)) > 490


def test_crop_of_a_scene_depends_on_its_number_alone():
    crops = [training_data.planned(index, scenes.PLATES)[1] for index in (3, 3, 4)]
    assert crops[0] == crops[1] != crops[2]


@pytest.mark.parametrize("spec", [scenes.PLATES, training_data.EASIER])
def test_planned_scene_is_the_one_that_is_painted(spec):
    for index in range(9):
        painted, _ = scenes.draw(spec, scenes.scene_seed("train", index))
        assert training_data.planned(index, spec)[0] == painted


def test_crop_shows_the_plates_that_lie_in_it_enlarged():
    for seed in range(40):
        scene = scenes.plan(scenes.PLATES, np.random.default_rng(seed))
        left, top, side = training_data.random_crop(np.random.default_rng(seed))
        shown = training_data.in_crop(scene, (left, top, side))
        wanted = []
        for plate in scene.plates:
            inside = sum(
                left <= x < left + side and top <= y < top + side
                for x in range(plate.left, plate.left + plate.side)
                for y in range(plate.top, plate.top + plate.side)
            )
            if inside >= 0.95 * plate.side**2:
                wanted.append((plate.char, round(plate.side * 448 / side)))
        assert [(plate.char, plate.side) for plate in shown] == wanted


def test_cached_features_are_the_towers(source, tower, tmp_path):
    training_data.cache(partial(llava.see, tower), source, tmp_path, Workers(0, 1))
    pool = training_data.Pool(source, tmp_path)
    assert pool.features.shape == (4, 2, GRID**2, 128)
    assert len(pool) == 4
    for index in (0, 3):
        pixels = training_data.pictures(6 + index, source.spec)
        assert pool.scenes[index] == training_data.planned(6 + index, source.spec)
        ready = (torch.from_numpy(pixels).float() / 255 - 0.5) / 0.25
        with torch.no_grad():
            seen = tower(pixel_values=ready.permute(0, 3, 1, 2)).last_hidden_state
        torch.testing.assert_close(
            pool.features[index].float(), seen[:, 1:], atol=5e-3, rtol=2e-3
        )


def test_any_function_of_the_pixels_can_be_cached(source, tower, tmp_path):
    other, own = tmp_path / "other", tmp_path / "own"
    other.mkdir(), own.mkdir()

    def see(pixels):
        return tower(pixel_values=pixels).last_hidden_state[:, 1:, :5]

    training_data.cache(see, source, other, Workers(0, 1))
    training_data.cache(partial(llava.see, tower), source, own, Workers(0, 1))
    seen = training_data.Pool(source, other).features
    assert torch.equal(seen, training_data.Pool(source, own).features[..., :5])


def test_pool_shows_a_scene_or_its_crop(source, tower, tmp_path):
    training_data.cache(partial(llava.see, tower), source, tmp_path, Workers(0, 1))
    pool = training_data.Pool(source, tmp_path)
    scene, crop = pool.scenes[1]
    seen, (texture, plates), shown = pool.show(1, cropped=False)
    assert torch.equal(seen, pool.features[1, 0])
    assert (texture, plates, shown) == (scene.texture, list(scene.plates), scene)
    seen, (_, plates), _ = pool.show(1, cropped=True)
    assert torch.equal(seen, pool.features[1, 1])
    assert plates == training_data.in_crop(scene, crop)


def test_interrupted_cache_is_completed_and_nothing_made_twice(source, tower, tmp_path):
    training_data.cache(partial(llava.see, tower), source, tmp_path, Workers(0, 1))
    files = sorted(tmp_path.iterdir())
    kept, lost = files
    whole = [file.read_bytes() for file in files]
    lost.unlink()
    lost.with_suffix(".part").write_bytes(b"half a chu")
    stamp = kept.stat().st_mtime_ns
    training_data.cache(partial(llava.see, tower), source, tmp_path, Workers(0, 1))
    assert [file.read_bytes() for file in files] == whole
    assert kept.stat().st_mtime_ns == stamp


def test_workers_share_the_chunks(source, tower, tmp_path, monkeypatch):
    monkeypatch.setattr(Workers, "wait", lambda self: None)
    training_data.cache(partial(llava.see, tower), source, tmp_path, Workers(0, 2))
    assert [file.name for file in tmp_path.iterdir()] == ["features-03.safetensors"]
    training_data.cache(partial(llava.see, tower), source, tmp_path, Workers(1, 2))
    assert len(training_data.Pool(source, tmp_path)) == 4


def test_stages_train_on_different_scenes_of_the_train_split():
    first, smaller = (
        range(source.first, source.first + source.count)
        for source in (training_data.FIRST, training_data.SMALLER)
    )
    assert first.stop <= smaller.start
    assert smaller.stop <= scenes.SEEDS_PER_SPLIT
    files = [
        set(source.chunks()) for source in (training_data.FIRST, training_data.SMALLER)
    ]
    assert not files[0] & files[1]
    for source in (training_data.FIRST, training_data.SMALLER):
        assert len(source.chunks()) * training_data.CHUNK == source.count
    drawn = training_data.planned(0, scenes.PLATES)[0]
    assert drawn == scenes.draw(scenes.PLATES, scenes.SPLIT_SEEDS["train"])[0]
