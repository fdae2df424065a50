"""What the trained tiny-llava must be able to do; needs its weights."""

import pytest

from embedded import cards, scenes
from vicrop import adapters, boxes
from vicrop.adapters import MODELS
from vicrop.run.provenance import file_hash, weights_hash
from vicrop.run.results import size_group

pytestmark = pytest.mark.skipif(
    not MODELS["tiny-llava"].is_here(),
    reason="tiny-llava has no weights yet; `make train` makes them",
)

SCENES = range(60)


@pytest.fixture(scope="module")
def trained():
    return adapters.load("tiny-llava")


@pytest.fixture(scope="module")
def asked():
    """(image, question, plate) for one plate a scene of the validation split."""
    from PIL import Image

    chosen = []
    for index in SCENES:
        seed = scenes.scene_seed("val", 500_000 + index)
        scene, pixels = scenes.draw(scenes.PLATES, seed)
        for plate in scene.plates[:2]:
            kind = "digit" if plate.char.isdigit() else "letter"
            question = f"what {kind} is on the {plate.color} plate?"
            chosen.append((Image.fromarray(pixels), question, plate))
    return chosen


def test_card_is_of_these_weights_and_chose_the_layer(trained):
    card = cards.read("tiny-llava")
    assert card["weights_sha256"] == weights_hash(trained)
    file = MODELS["tiny-llava"].folder / "model.safetensors"
    assert card["file_sha256"] == file_hash(file)
    assert card["layer"] == MODELS["tiny-llava"].layer == trained.layer


def of_group(asked, group):
    return [
        one for one in asked if size_group(boxes.area(one[2].box) / 448**2) == group
    ]


def right(trained, asked, crops=False):
    """Share of right answers, plain or with the ground truth as the crop."""
    hits = 0
    for image, question, plate in asked:
        crop = boxes.around(plate.box, image.size) if crops else None
        said = trained.look(image).ask(question, crop, max_new_tokens=3)
        hits += said.text == plate.char
    return hits / len(asked)


def test_large_plates_are_read(trained, asked):
    assert right(trained, of_group(asked, "large")) > 0.8


def test_small_plates_are_read_less_often_than_large_ones(trained, asked):
    small, large = (right(trained, of_group(asked, g)) for g in ("small", "large"))
    assert small < large - 0.15


def test_crop_of_a_small_plate_helps_to_read_it(trained, asked):
    small = of_group(asked, "small")
    assert right(trained, small, crops=True) > right(trained, small) + 0.15


def test_map_points_to_small_plates(trained, asked):
    """The crop covers the plate far more often than a random box does."""
    covered, blind = [], []
    for image, question, plate in of_group(asked, "small"):
        box = boxes.select_box(
            trained.look(image).importance(question), image.size, trained.crop_px
        )
        covered.append(boxes.coverage(box, plate.box))
        # A box of this size at a random place covers this share on average.
        blind.append(boxes.area(box) / (image.width * image.height))
    assert sum(covered) > 3 * sum(blind)
    assert sum(covered) / len(covered) > 0.3


def test_existence_is_answered_by_yes_or_no(trained, asked):
    said = {
        trained.look(image).ask("is there a red plate in the image?").text
        for image, *_ in asked[:20:2]
    }
    assert said <= {"yes", "no"}
