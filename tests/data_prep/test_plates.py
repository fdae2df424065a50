import json

import numpy as np
import pytest
from PIL import Image

from data_prep import plates
from data_prep.plates import RECIPES, Recipe
from embedded import scenes
from vicrop import boxes, geometry
from vicrop.run import datasets, results

SMALL = Recipe(
    scenes.PLATES,
    "test",
    (("small", 6), ("medium", 3), ("large", 3), ("exists", 4)),
)
# Python 3.12 and on warn of a fork beside torch's threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return plates.make("plates", root, progress=False, recipe=SMALL)


@pytest.fixture(scope="module")
def rows(made):
    return json.loads((made / "data.json").read_text())


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def group_of(row):
    left, top, right, bottom = row["boxes"][0]
    return results.size_group((right - left) * (bottom - top) / 448**2)


def test_making_it_again_elsewhere_makes_the_same_bytes(made, tmp_path):
    again = plates.make("plates", tmp_path, progress=False, recipe=SMALL)
    assert contents(again) == contents(made)


def test_what_is_there_is_not_made_again(made, monkeypatch):
    monkeypatch.setattr(plates, "choose", lambda _: pytest.fail("made again"))
    assert plates.make("plates", made.parent, progress=False, recipe=SMALL) == made


def test_another_recipe_replaces_what_is_there(made, tmp_path):
    fewer = Recipe(scenes.PLATES, "test", (("small", 2), ("medium", 0), ("large", 0)))
    fewer = Recipe(fewer.spec, fewer.split, (*fewer.quota, ("exists", 0)))
    plates.make("plates", tmp_path, progress=False, recipe=SMALL)
    out = plates.make("plates", tmp_path, progress=False, recipe=fewer)
    assert len(json.loads((out / "data.json").read_text())) == 2
    assert {file.name for file in tmp_path.iterdir()} == {"plates"}


def test_half_made_data_set_is_not_taken_for_a_whole_one(tmp_path, monkeypatch):
    def fail(job):
        raise KeyboardInterrupt

    class Pool(plates.ProcessPoolExecutor):
        def map(self, draw, jobs, chunksize):
            return map(fail, jobs)

    with monkeypatch.context() as patch:
        patch.setattr(plates, "ProcessPoolExecutor", Pool)
        with pytest.raises(KeyboardInterrupt):
            plates.make("plates", tmp_path, progress=False, recipe=SMALL)
    assert not (tmp_path / "plates").exists()
    out = plates.make("plates", tmp_path, progress=False, recipe=SMALL)
    assert len(list((out / "images").iterdir())) > 0


def test_quotas_are_filled_exactly(rows):
    asked = [row for row in rows if row["meta"]["kind"] != "exists"]
    found = {name: 0 for name in ("small", "medium", "large")}
    for row in asked:
        found[group_of(row)] += 1
    exists = len(rows) - len(asked)
    assert {**found, "exists": exists} == dict(SMALL.quota)


def test_half_of_the_existence_questions_are_about_absent_plates(rows):
    exists = [row for row in rows if row["meta"]["kind"] == "exists"]
    answers = [row["labels"][0] for row in exists]
    assert answers.count("yes") == answers.count("no") == 2
    assert all(("boxes" in row) == (row["labels"] == ["yes"]) for row in exists)


def test_data_set_reads_as_the_unified_format(made):
    samples = datasets.load(str(made))
    for sample in samples:
        path = datasets.image_path(str(made), sample)
        assert datasets.clipped(sample, datasets.image_size(path)) == sample
    used = {sample.image_path for sample in samples}
    assert used == {file.name for file in (made / "images").iterdir()}


def test_boxes_hold_the_plate_that_the_label_names(made, rows):
    for row in rows:
        index = int(row["image_path"].removesuffix(".jpg"))
        seed = scenes.scene_seed("test", index)
        scene, pixels = scenes.draw(scenes.PLATES, seed)
        if "boxes" not in row:
            continue
        plate = next(p for p in scene.plates if list(p.box) == row["boxes"][0])
        kind = row["meta"]["kind"]
        wanted = {"exists": "yes", "color": plate.color}.get(kind, plate.char)
        assert row["labels"] == [wanted]
        assert row["meta"]["texture"] == scene.texture
        with Image.open(made / "images" / row["image_path"]) as image:
            stored = np.asarray(image).astype(int)
        assert np.abs(stored - pixels).mean() < 4  # JPEG's loss alone


def test_choice_depends_on_sizes_only():
    """Every plate that still fits the quota is asked about, scene after scene."""
    _, indices = plates.choose(SMALL)
    left = dict(SMALL.quota)
    wanted, index = [], SMALL.first
    while any(left.values()):
        seed = scenes.scene_seed("test", index)
        scene = scenes.plan(scenes.PLATES, np.random.default_rng(seed))
        asked = 0
        for plate in scene.plates:
            group = results.size_group(boxes.area(plate.box) / 448**2)
            if left[group]:
                left[group] -= 1
                asked += 1
        if left["exists"] and asked:
            left["exists"] -= 1
        wanted += [index] * bool(asked)
        index += 1
    assert indices == wanted


@pytest.mark.parametrize("name", RECIPES)
def test_split_is_not_the_one_that_models_train_on(name):
    assert RECIPES[name].split != "train"
    assert (RECIPES[name].split == "val") == (name == "plates-val")


def test_data_sets_share_no_scene():
    seeds = {}
    for name, recipe in RECIPES.items():
        # Far more scenes than the quotas can need.
        most = sum(count for _, count in recipe.quota)
        first = scenes.scene_seed(recipe.split, recipe.first)
        seeds[name] = range(first, first + 4 * most)
    names = list(seeds)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            assert not set(seeds[one]) & set(seeds[other])


def test_digest_changes_with_the_recipe():
    digests = {recipe.digest() for recipe in (*RECIPES.values(), SMALL)}
    assert len(digests) == len(RECIPES) + 1


def test_unknown_name_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'plate'; known: plates, "):
        plates.make("plate", tmp_path)


def test_every_data_set_that_is_drawn_can_be_read_by_key():
    assert set(RECIPES) <= set(datasets.MAKERS)


def test_wide_scenes_ask_about_plates_that_a_centre_crop_cuts_off():
    rows, indices = plates.choose(RECIPES["plates-wide"])
    kept = []
    for row in rows:
        if row["meta"]["kind"] == "exists":
            continue
        seed = scenes.scene_seed("test", int(row["image_path"].removesuffix(".jpg")))
        size = scenes.plan(scenes.PLATES_WIDE, np.random.default_rng(seed)).size
        assert size[0] != size[1]
        seen = geometry.visible("centre-crop", size)
        kept.append(boxes.coverage(seen, row["boxes"][0]))
    quota = dict(RECIPES["plates-wide"].quota)
    assert len(kept) == sum(quota.values()) - quota["exists"]
    assert min(kept) == 0 and max(kept) == 1
    assert 0.3 < np.mean(np.array(kept) == 1) < 0.7
