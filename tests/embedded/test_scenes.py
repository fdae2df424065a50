import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded import llava, scenes
from embedded.scenes import (
    CHARS,
    COLORS,
    PLATES,
    PLATES_HD,
    PLATES_WIDE,
    TEXTURES,
    Plate,
    Scene,
)
from vicrop.adapters.llava import prompt_text
from vicrop.attribution import GENERAL_QUESTION
from vicrop.run import results

SPECS = pytest.mark.parametrize(
    "spec", [PLATES, PLATES_HD, PLATES_WIDE], ids=["plates", "hd", "wide"]
)


def plan(spec, seed):
    return scenes.plan(spec, np.random.default_rng(seed))


def test_seed_ranges_of_the_splits_do_not_meet():
    ranges = [
        range(first, first + scenes.SEEDS_PER_SPLIT)
        for first in scenes.SPLIT_SEEDS.values()
    ]
    assert len(ranges) == 3
    for one, two in itertools.combinations(ranges, 2):
        assert one.stop <= two.start or two.stop <= one.start


def test_seeds_stay_in_their_range_to_its_very_end():
    last = scenes.SEEDS_PER_SPLIT - 1
    for split, first in scenes.SPLIT_SEEDS.items():
        assert scenes.scene_seed(split, 0) == first
        assert scenes.scene_seed(split, last) == first + last


@pytest.mark.parametrize(
    ("split", "index", "message"),
    [
        ("testing", 0, "unknown split 'testing'; known: train, val, test"),
        ("test", -1, "scene -1 is outside 0 … 999999"),
        ("train", 1_000_000, "scene 1000000 is outside"),
    ],
)
def test_seed_outside_the_ranges_is_refused(split, index, message):
    with pytest.raises(ValueError, match=message):
        scenes.scene_seed(split, index)


def test_scenes_of_train_val_and_test_differ():
    drawn = [
        plan(PLATES, scenes.scene_seed(split, index))
        for split in scenes.SPLIT_SEEDS
        for index in range(100)
    ]
    assert len(set(drawn)) == 300


@SPECS
def test_same_seed_draws_the_same_bytes(spec):
    first, again, other = (scenes.draw(spec, seed) for seed in (11, 11, 12))
    assert first[0] == again[0] and first[1].tobytes() == again[1].tobytes()
    assert first[0] != other[0]


@SPECS
def test_planned_scene_is_the_one_that_is_drawn(spec):
    scene, pixels = scenes.draw(spec, 5)
    assert plan(spec, 5) == scene
    assert pixels.shape == (scene.size[1], scene.size[0], 3)
    assert pixels.dtype == np.uint8


@SPECS
def test_plates_keep_the_rules_of_their_spec(spec):
    for seed in range(200):
        scene = plan(spec, seed)
        assert scene.size in spec.sizes and scene.texture in scenes.TEXTURES
        assert spec.plates[0] <= len(scene.plates) <= spec.plates[1]
        assert len({plate.color for plate in scene.plates}) == len(scene.plates)
        assert len({plate.char for plate in scene.plates}) == len(scene.plates)
        root = math.sqrt(scene.size[0] * scene.size[1])
        for plate in scene.plates:
            left, top, right, bottom = plate.box
            assert 0 <= left < right <= scene.size[0]
            assert 0 <= top < bottom <= scene.size[1]
            assert spec.side[0] * root - 1 <= plate.side <= spec.side[1] * root + 1


@SPECS
def test_plates_keep_apart(spec):
    for seed in range(50):
        scene = plan(spec, seed)
        gap = round(0.01 * math.sqrt(scene.size[0] * scene.size[1]))
        for one, two in itertools.combinations(scene.plates, 2):
            across = max(one.left, two.left) - min(one.box[2], two.box[2])
            down = max(one.top, two.top) - min(one.box[3], two.box[3])
            assert max(across, down) >= gap


@SPECS
def test_plates_come_in_all_size_groups(spec):
    groups = {
        results.size_group(plate.side**2 / (scene.size[0] * scene.size[1]))
        for scene in (plan(spec, seed) for seed in range(40))
        for plate in scene.plates
    }
    assert groups == set(results.SIZE_GROUPS)


def test_plate_shows_its_colour_and_a_white_character(scene, picture):
    pixels = np.asarray(picture).astype(int)
    for plate in scene[0].plates:
        left, top, right, bottom = plate.box
        edge = max(1, plate.side // 12)
        corner = pixels[top : top + edge, left : left + edge].mean((0, 1))
        assert np.abs(corner - scenes.COLORS[plate.color]).max() < 30
        inside = pixels[top:bottom, left:right].min(-1)
        assert 0.02 < (inside > 180).mean() < 0.6


def test_outside_of_plates_is_light_and_grey(scene, picture):
    pixels = np.asarray(picture).astype(int)
    outside = np.ones(pixels.shape[:2], bool)
    for plate in scene[0].plates:
        left, top, right, bottom = plate.box
        outside[top:bottom, left:right] = False
    assert pixels[outside].mean() > 120
    assert np.ptp(pixels[outside].mean(0)) < 20


BOXES = st.tuples(*[st.integers(-20, 40)] * 2, *[st.integers(0, 40)] * 2)


@given(
    left=st.integers(-9, 30),
    top=st.integers(-9, 30),
    side=st.integers(1, 12),
    box=BOXES,
)
def test_share_inside_equals_pixels_counted(left, top, side, box):
    x, y, width, height = box
    inside = sum(
        x <= column < x + width and y <= line < y + height
        for column in range(left, left + side)
        for line in range(top, top + side)
    )
    plate = Plate(left, top, side, "red", "4")
    assert plate.inside((x, y, x + width, y + height)) == inside / side**2


@given(
    seed=st.integers(0, 99),
    sides=st.lists(st.integers(1, 30), max_size=6),
    gap=st.integers(0, 5),
    overhang=st.sampled_from([0.0, 0.35]),
)
def test_placed_squares_keep_their_gap_and_overhang(seed, sides, gap, overhang):
    rng = np.random.default_rng(seed)
    found = scenes.place(rng, sides, (60, 50), gap, overhang)
    assert len(found) <= len(sides)
    for (x, y, side), (u, v, other) in itertools.combinations(found, 2):
        grown = set(
            itertools.product(
                range(x - gap, x + side + gap), range(y - gap, y + side + gap)
            )
        )
        assert not grown & set(
            itertools.product(range(u, u + other), range(v, v + other))
        )
    for x, y, side in found:
        out = overhang * side
        assert -out <= x <= 60 - side + out and -out <= y <= 50 - side + out


def test_square_without_room_is_left_out(rng):
    assert len(scenes.place(rng, [40, 40], (50, 50), gap=1)) == 1


@pytest.mark.parametrize("texture", scenes.TEXTURES)
def test_pattern_stays_between_minus_one_and_one(rng, texture):
    made = scenes.pattern(texture, rng, (70, 50), period=9)
    assert made.shape == (50, 70) and made.dtype == np.float32
    assert np.abs(made).max() <= 1 + 1e-5
    assert (made == 0).all() == (texture == "plain")


def test_wave_by_the_sum_of_angles_equals_the_sine():
    made = scenes._wave((30, 20), 0.3, -0.7, 1.1)
    x, y = np.arange(30)[None], np.arange(20)[:, None]
    np.testing.assert_allclose(made, np.sin(0.3 * x - 0.7 * y + 1.1), atol=1e-4)


def test_textures_can_be_told_apart(rng):
    shown = {
        name: scenes.background(rng, (64, 64), 8, name) for name in scenes.TEXTURES
    }
    assert all(name == texture for name, (texture, _) in shown.items())
    assert all(0.3 < canvas.mean() < 0.95 for _, canvas in shown.values())


def test_every_character_has_its_own_glyph():
    drawn = {scenes.glyph(char, 24).tobytes() for char in scenes.CHARS}
    assert len(drawn) == len(scenes.CHARS)
    for side in (3, 24, 160, 500):
        ink = scenes.glyph("8", side)
        assert ink.shape == (side, side) and 0 <= ink.min() and ink.max() <= 1


def test_plate_that_leaves_the_canvas_is_clipped(rng):
    canvas = np.zeros((20, 20, 3), np.float32)
    scenes.paste(canvas, Plate(-5, 12, 16, "red", "4"), rng)
    painted = canvas.any(-1)
    assert painted[12:, :11].all() and not painted[:12].any()
    assert not painted[:, 11:].any()


def test_log_uniform_draws_every_octave_alike(rng):
    drawn = [scenes.log_uniform(rng, 2, 32) for _ in range(4000)]
    assert min(drawn) >= 2 and max(drawn) <= 32
    shares, _ = np.histogram(np.log2(drawn), bins=[1, 2, 3, 4, 5])
    assert np.abs(shares / 4000 - 0.25).max() < 0.03


def test_pixels_beyond_the_range_are_clipped():
    assert scenes.to_uint8(np.array([-1.0, 0.5, 2.0])).tolist() == [0, 127, 255]


# What is asked about a scene.


@pytest.mark.parametrize("char", CHARS)
def test_a_character_is_a_digit_or_a_letter(char):
    assert scenes.kind_of(char) == ("digit" if char.isdigit() else "letter")


@pytest.mark.parametrize("char", ["4", "K"])
@pytest.mark.parametrize("kind", ["read", "color", "exists"])
def test_answer_is_read_off_the_plate(rng, kind, char):
    plate = Plate(0, 0, 30, "teal", char)
    asked = scenes.ask(kind, plate, rng)
    assert asked.plate is plate
    assert asked.answer == {"read": char, "color": "teal", "exists": "yes"}[kind]
    assert asked.answer not in asked.text.split()
    named = char if kind == "color" else "teal"
    assert named in asked.text.replace("?", "").split()
    assert asked.kind == {"read": scenes.kind_of(char)}.get(kind, kind)


def test_every_wording_is_used(rng):
    plate = Plate(0, 0, 30, "red", "4")
    asked = {scenes.ask("read", plate, rng).text for _ in range(40)}
    assert len(asked) == len(scenes.WORDINGS["digit"])


def test_absent_colour_is_not_in_the_scene(rng):
    plates = tuple(
        Plate(0, 0, 30, color, char)
        for color, char in zip(list(COLORS)[1:], CHARS, strict=False)
    )
    asked = scenes.ask_absent(Scene((99, 99), "plain", plates), rng)
    missing = next(iter(COLORS))
    assert asked.text == f"is there a {missing} plate in the image?"
    assert (asked.answer, asked.plate) == ("no", None)


def test_description_names_the_wall_then_plates_from_large_to_small():
    plates = [Plate(0, 0, 20, "red", "4"), Plate(50, 0, 40, "blue", "K")]
    assert scenes.describe("dotted", plates) == "dotted wall . blue K . red 4"
    assert scenes.describe("plain", []) == "plain wall"


def test_varied_description_says_the_same_in_another_order(rng):
    plates = [Plate(0, 0, 20, "red", "4"), Plate(50, 0, 40, "blue", "K")]
    told = [scenes.describe("dotted", plates, rng) for _ in range(60)]
    parts = {"dotted wall", "red 4", "blue K"}
    assert all(set(text.split(" . ")) == parts for text in told)
    # The background comes first or last, the plates in either order.
    assert len(set(told)) == 4


def test_every_sentence_is_made_of_known_words():
    """Nothing that is asked or answered is ``<unk>`` to the tiny models."""
    said = [GENERAL_QUESTION]
    rng = np.random.default_rng(0)
    for color in COLORS:
        for char in CHARS:
            plate = Plate(0, 0, 30, color, char)
            for kind in ("read", "color", "exists"):
                asked = [scenes.ask(kind, plate, rng) for _ in range(4)]
                said += [text for one in asked for text in (one.text, one.answer)]
    said += [scenes.describe(t, [Plate(0, 0, 9, "red", "4")]) for t in TEXTURES]
    said.append(scenes.ask_absent(Scene((9, 9), "plain", ()), rng).text)
    tokenizer = llava.tokenizer()
    for text in set(said):
        ids = tokenizer(prompt_text(text))["input_ids"]
        assert tokenizer.unk_token_id not in ids, text


def test_scene_never_shows_all_colours():
    # So that there is always an absent one to ask about.
    for spec in (scenes.PLATES, scenes.PLATES_HD):
        assert spec.plates[1] < len(COLORS)
