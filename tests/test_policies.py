"""How a crop is shown: boxes of a map, changed crops, and what is chosen of them."""

import dataclasses
import math

import numpy as np
import pytest
from PIL import Image

from vicrop import boxes, images, methods, pipeline
from vicrop.gate import Gate
from vicrop.pipeline import POLICIES, ViCrop, choose
from vicrop.types import ORDERS, Box, Map, Part, Shown

SIZE, CROP = (120, 90), 20
REGIONS = [None, (10.0, 5.0, 100.0, 85.0)]
QUESTION = "what digit is on the red plate?"


@pytest.fixture(params=REGIONS)
def maps(request, rng):
    """Thirty maps of several shapes, many cells of which are zero."""
    shapes = rng.integers(1, 9, (30, 2))
    values = [rng.random(shape) * (rng.random(shape) < 0.6) for shape in shapes]
    return [Map(one, request.param) for one in values if one.any()]


def middles(amap):
    """Middles of a map's cells, one by one: ((row, col), (x, y))."""
    left, top, right, bottom = amap.region or (0, 0, *SIZE)
    rows, cols = amap.shape
    for row in range(rows):
        for col in range(cols):
            x = left + (right - left) * (2 * col + 1) / (2 * cols)
            y = top + (bottom - top) * (2 * row + 1) / (2 * rows)
            yield (row, col), (x, y)


def holds(box, place):
    return box.left <= place[0] < box.right and box.top <= place[1] < box.bottom


def plain_entropy(values):
    shares = [one / values.sum() for one in values.ravel() if one]
    return -sum(one * math.log(one) for one in shares) / math.log(max(values.size, 2))


def plain_top_k(amap, k):
    values, made = amap.values.copy(), []
    while len(made) < k and values.any():
        made.append(boxes.select_box(Map(values, amap.region), SIZE, CROP))
        for cell, place in middles(amap):
            values[cell] *= not holds(made[-1], place)
    return made


def test_entropy_is_that_of_the_shares(maps):
    for amap in maps:
        assert boxes.entropy(amap) == pytest.approx(plain_entropy(amap.values), 1e-5)
    assert boxes.entropy(Map(np.ones((3, 5)))) == pytest.approx(1)
    assert boxes.entropy(Map(np.eye(1))) == 0


def test_funnel_widens_around_what_the_last_window_holds(maps):
    for amap in maps:
        made = [boxes.select_box(amap, SIZE, CROP)]
        side = max(made[0].width, made[0].height)
        for least, more in ((1.2, 0.6), (1.6, 1.2)):
            inside = [
                (amap.values[c], p) for c, p in middles(amap) if holds(made[-1], p)
            ]
            held = sum(value for value, _ in inside)
            center = made[-1].center
            if held:
                center = [sum(v * p[axis] for v, p in inside) / held for axis in (0, 1)]
            wider = (least + more * plain_entropy(amap.values)) * side
            made.append(boxes.square(center, wider, SIZE))
        found = boxes.funnel(amap, SIZE, CROP)
        # Centres are cut to whole pixels: a hair apart may be a pixel.
        np.testing.assert_allclose(found, made, atol=1)
        assert boxes.funnel(amap, SIZE, CROP, 1) == found[:2]


def test_top_k_searches_what_the_windows_before_left(maps):
    short = 0
    for amap in maps:
        wanted = plain_top_k(amap, 3)
        if len(wanted) == 3:
            assert boxes.top_k(amap, SIZE, CROP, 3) == wanted
            left, top = np.min(wanted, 0)[:2]
            right, bottom = np.max(wanted, 0)[2:]
            around = boxes.around((left, top, right, bottom), SIZE)
            assert boxes.union(amap, SIZE, CROP, 3) == [around]
            continue
        short += 1
        for policy in (boxes.top_k, boxes.union):
            with pytest.raises(ValueError, match=f"3 crops .* {len(wanted)} hold all"):
                policy(amap, SIZE, CROP, 3)
    assert 0 < short < len(maps)


def flooded(high):
    """Sets of cells that touch, corners included, by walking."""
    left = {tuple(map(int, cell)) for cell in np.argwhere(high)}
    while left:
        found, walk = set(), [min(left)]
        while walk:
            row, col = walk.pop()
            if (row, col) in left:
                left.remove((row, col))
                found.add((row, col))
                walk += [(row + a, col + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        yield found


def test_components_are_squares_around_the_regions_that_hold_most(maps):
    several = 0
    for amap in maps:
        regions = list(flooded(amap.values >= 0.5 * amap.values.max()))
        held = [sum(amap.values[cell] for cell in cells) for cells in regions]
        found = boxes.components(amap, SIZE, CROP, 2)
        assert len(found) == min(2, len(regions))
        several += len(found) == 2
        for box, number in zip(found, np.argsort(held)[::-1], strict=False):
            places = dict(middles(amap))
            assert all(holds(box, places[cell]) for cell in regions[number])
            assert min(box.width, box.height) >= CROP or box.width == SIZE[0]
    assert several > 5


def test_policies_are_those_that_have_a_key():
    assert tuple(POLICIES) == methods.POLICIES
    takes = [key for key, how in POLICIES.items() if how.boxes is not None]
    assert tuple(takes) == methods.MAPS_POLICIES
    assert {how.change for how in POLICIES.values()} == set(images.CHANGES)
    assert {how.order for how in POLICIES.values()} == set(ORDERS)


# Changed crops.


@pytest.fixture
def noise(rng):
    return Image.fromarray(rng.integers(0, 256, (37, 53, 3), dtype=np.uint8))


@pytest.mark.parametrize("box", [(5, 6, 36, 25), (0, 0, 53, 37), (3, 3, 4, 6)])
def test_changes_are_of_the_crop_alone(noise, box):
    box = Box(*box)
    pixels, cut = np.asarray(noise), np.asarray(noise.crop(box))
    assert np.array_equal(images.CHANGES["none"](noise, box), cut)
    blank = np.asarray(images.blank(noise, box))
    assert blank.shape == cut.shape and (blank == 128).all()
    masked, wanted = np.asarray(images.masked(noise, box)), np.full_like(pixels, 128)
    wanted[box.top : box.bottom, box.left : box.right] = cut
    assert np.array_equal(masked, wanted)


def test_shuffled_has_the_crops_pieces_in_another_order(noise):
    box = Box(5, 1, 53, 37)  # 48 × 36: pieces of 4 × 3
    made = images.shuffled(noise, box)

    def pieces(picture):
        cells = np.asarray(picture).reshape(12, 3, 12, 4, 3).swapaxes(1, 2)
        return [cell.tobytes() for cell in cells.reshape(144, -1)]

    assert pieces(made) != pieces(noise.crop(box))
    assert sorted(pieces(made)) == sorted(pieces(noise.crop(box)))
    assert images.shuffled(noise, box).tobytes() == made.tobytes()


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 3), (13, 11), (37, 6)])
def test_shuffled_takes_any_size_and_leaves_no_gap(size, rng):
    whole = Image.fromarray(rng.integers(1, 256, (*size[::-1], 3), dtype=np.uint8))
    made = images.shuffled(whole, Box(0, 0, *size))
    assert made.size == size and np.asarray(made).all()


@pytest.mark.parametrize("change", images.CHANGES.values())
def test_changes_refuse_a_box_that_leaves_the_image(noise, change):
    with pytest.raises(ValueError, match="does not lie in an image of 53×37"):
        change(noise, Box(40, 0, 60, 10))


def test_order_that_is_none_is_named():
    with pytest.raises(ValueError, match="order of pictures 'before'; known: after"):
        Shown((Part(Box(0, 0, 1, 1)),), "before")


# What is chosen.


@pytest.fixture(scope="module")
def cropping(vlm):
    return ViCrop(vlm)


PLAIN = [key for key in methods.POLICIES if key not in ("swapped", "same-tokens")]


@pytest.mark.parametrize("policy", PLAIN)
@pytest.mark.parametrize("how", [{}, {"fit": "pad"}, {"geometry": "upstream"}])
def test_every_policy_answers_and_says_what_it_showed(vlm, picture, policy, how):
    view = vlm.look(picture, **how)
    said = ViCrop(vlm).answer(view, QUESTION, policy=policy, max_new_tokens=3)
    plain = view.ask(QUESTION, max_new_tokens=3)
    assert said.plain == plain.text and not said.gated
    assert said.features.keys() == set(methods.FEATURES)
    crops, kind = (said.box, *said.further), POLICIES[policy]
    shown = Shown(tuple(Part(box, kind.change) for box in crops), kind.order)
    assert view.ask(QUESTION, shown, 3).text == said.text
    if kind.boxes is None:
        assert crops == (boxes.select_box(said.amap, picture.size, vlm.crop_px),)
    else:
        assert list(crops) == kind.boxes(said.amap, picture.size, vlm.crop_px, 2)
    for part in shown.parts:  # fitted as the image is
        fitted = view.part(*part)
        assert how.get("fit") != "pad" or fitted.width == fitted.height


@pytest.mark.parametrize(
    ("policy", "method", "told"),
    [
        ("mask", "no-crop", "crop policy mask needs a crop, and no-crop shows none"),
        ("top-k", "center-crop", "top-k needs a map, .*; center-crop makes none"),
        ("swapped", "rel-att", "another question's crop, which a run over a data"),
        ("same-tokens", "rel-att", "takes pictures of one size.*full-twice is its kin"),
        ("zoom", "rel-att", "unknown crop policy 'zoom'; known: single, funnel"),
    ],
)
def test_policy_that_a_method_has_nothing_for_is_refused(
    cropping, view, policy, method, told
):
    with pytest.raises(ValueError, match=told):
        cropping.answer(view, QUESTION, method, policy=policy)


def test_more_crops_than_the_map_has_are_refused(cropping, view):
    with pytest.raises(ValueError, match="999 crops are asked for, but"):
        cropping.answer(view, QUESTION, policy="top-k", crops=999)
    with pytest.raises(ValueError, match="crops is 0, expected a whole number from 1"):
        cropping.answer(view, QUESTION, policy="top-k", crops=0)


@pytest.mark.parametrize("feature", methods.FEATURES)
def test_gate_keeps_the_plain_answer_above_its_threshold(cropping, view, feature):
    always, never = (Gate(feature, threshold) for threshold in (9.0, -9.0))
    usual = cropping.answer(view, QUESTION, max_new_tokens=3)
    opened = cropping.answer(view, QUESTION, max_new_tokens=3, gate=always)
    # Maps are compared by identity, and the view keeps them.
    assert opened == usual
    kept = cropping.answer(view, QUESTION, max_new_tokens=3, gate=never)
    made = feature in methods.OF_MAP
    features = usual.features if made else view.features(QUESTION)
    assert kept == dataclasses.replace(
        *(usual,),
        text=usual.plain,
        box=None,
        amap=usual.amap if made else None,
        features=features,
        gated=True,
    )


def test_gate_by_the_answer_needs_no_crop_where_it_is_closed(view):
    def find():
        raise AssertionError("not looked for")

    gate = Gate("margin", -1.0)
    assert choose(view, QUESTION, find, gate=gate) == pipeline.Chosen(gated=True)


@pytest.mark.parametrize("method", ["no-crop", "random-crop"])
def test_gate_that_a_method_has_nothing_for_is_refused(cropping, view, method):
    with pytest.raises(ValueError, match=f"a gate.*{method}"):
        cropping.answer(view, QUESTION, method, gate=Gate("map-entropy", 0.5))


def test_plain_answers_features_cost_no_pass(vlm, picture):
    view = vlm.look(picture)
    view.ask(QUESTION)
    before = vlm.work
    view.features(QUESTION)
    assert vlm.work == before
