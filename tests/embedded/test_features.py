import numpy as np
import pytest
import torch
from PIL import Image

from embedded import features, models, scenes
from embedded.features import Source
from embedded.fit import Workers


@pytest.fixture
def source(monkeypatch):
    """Four training scenes in two chunks."""
    monkeypatch.setattr(features, "CHUNK", 2)
    return Source(first=6, count=4, spec=scenes.PLATES)


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    return models.llava().model.vision_tower.eval()


def test_training_pixels_are_what_the_processor_gives(processor):
    """A scene and its crop look in training as they do when the model is used."""
    scene, (left, top, side), small = features.pictures(7, scenes.PLATES)
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
    crops = [features.random_crop(rng) for _ in range(500)]
    for left, top, side in crops:
        assert features.CROP_SIDE[0] <= side <= features.CROP_SIDE[1]
        assert 0 <= left <= features.SCENE_PX - side
        assert 0 <= top <= features.SCENE_PX - side
    assert len(set(crops)) > 490


def test_crop_of_a_scene_depends_on_its_number_alone():
    crops = [features.pictures(index, scenes.PLATES)[1] for index in (3, 3, 4)]
    assert crops[0] == crops[1] != crops[2]


def test_scene_comes_back_from_its_numbers():
    for seed in range(30):
        scene = scenes.plan(scenes.PLATES, np.random.default_rng(seed))
        crop = features.random_crop(np.random.default_rng(seed))
        numbers = features._numbers(scene, crop)
        assert features._scene(numbers) == (scene, crop)
        assert len(numbers) == 4 + 5 * scenes.PLATES.plates[1]


def test_crop_shows_the_plates_that_lie_in_it_enlarged():
    for seed in range(40):
        scene = scenes.plan(scenes.PLATES, np.random.default_rng(seed))
        left, top, side = features.random_crop(np.random.default_rng(seed))
        shown = features.in_crop(scene, (left, top, side))
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
    features.cache_features(tower, source, tmp_path, Workers(0, 1))
    pool = features.Pool(source, tmp_path)
    assert pool.features.shape == (4, 2, models.GRID**2, 128)
    assert len(pool) == 4
    for index in (0, 3):
        scene, crop, pixels = features.pictures(6 + index, source.spec)
        assert pool.scenes[index] == (scene, crop)
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

    features.cache(see, source, other, Workers(0, 1))
    features.cache_features(tower, source, own, Workers(0, 1))
    seen = features.Pool(source, other).features
    assert torch.equal(seen, features.Pool(source, own).features[..., :5])


def test_pool_shows_a_scene_or_its_crop(source, tower, tmp_path):
    features.cache_features(tower, source, tmp_path, Workers(0, 1))
    pool = features.Pool(source, tmp_path)
    scene, crop = pool.scenes[1]
    seen, (texture, plates), shown = pool.show(1, cropped=False)
    assert torch.equal(seen, pool.features[1, 0])
    assert (texture, plates, shown) == (scene.texture, list(scene.plates), scene)
    seen, (_, plates), _ = pool.show(1, cropped=True)
    assert torch.equal(seen, pool.features[1, 1])
    assert plates == features.in_crop(scene, crop)


def test_interrupted_cache_is_completed_and_nothing_made_twice(source, tower, tmp_path):
    features.cache_features(tower, source, tmp_path, Workers(0, 1))
    files = sorted(tmp_path.iterdir())
    kept, lost = files
    whole = [file.read_bytes() for file in files]
    lost.unlink()
    lost.with_suffix(".part").write_bytes(b"half a chu")
    stamp = kept.stat().st_mtime_ns
    features.cache_features(tower, source, tmp_path, Workers(0, 1))
    assert [file.read_bytes() for file in files] == whole
    assert kept.stat().st_mtime_ns == stamp


def test_workers_share_the_chunks(source, tower, tmp_path, monkeypatch):
    monkeypatch.setattr(Workers, "wait", lambda self: None)
    features.cache_features(tower, source, tmp_path, Workers(0, 2))
    assert [file.name for file in tmp_path.iterdir()] == ["features-03.safetensors"]
    features.cache_features(tower, source, tmp_path, Workers(1, 2))
    assert len(features.Pool(source, tmp_path)) == 4


def test_stages_train_on_different_scenes_of_the_train_split():
    first, smaller = (
        range(source.first, source.first + source.count)
        for source in (features.FIRST, features.SMALLER)
    )
    assert first.stop <= smaller.start
    assert smaller.stop <= scenes.SEEDS_PER_SPLIT
    files = [set(source.chunks()) for source in (features.FIRST, features.SMALLER)]
    assert not files[0] & files[1]
    for source in (features.FIRST, features.SMALLER):
        assert len(source.chunks()) * features.CHUNK == source.count
    drawn = features.pictures(0, scenes.PLATES)[0]
    assert drawn == scenes.draw(scenes.PLATES, scenes.SPLIT_SEEDS["train"])[0]
