import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vicrop import boxes
from vicrop.types import Box, Map

# Upstream's window rounds to no cell there, and its box falls into the corner.
NO_CELL = {16, 17, 18, 28, 43, 54}

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
# Sums of small integers are exact, so that twins must agree on ties too.
MAPS = arrays(np.float32, SHAPES, elements=st.integers(0, 5).map(float))
SIZES = st.tuples(st.integers(1, 900), st.integers(1, 900))


def slow_sums(values, size):
    """Window sums, cell by cell."""
    (rows, cols), (height, width) = values.shape, size
    sums = {}
    for top in range(rows - height + 1):
        for left in range(cols - width + 1):
            total = 0.0
            for row in range(top, top + height):
                for col in range(left, left + width):
                    total += float(values[row, col])
            sums[top, left] = total
    return sums


def slow_best_window(values, size):
    """The authors' search, in loops: columns outside, the first of equals wins."""
    sums = slow_sums(values, size)
    best = None
    for left in range(values.shape[1] - size[1] + 1):
        for top in range(values.shape[0] - size[0] + 1):
            if best is None or sums[top, left] > sums[best]:
                best = top, left
    top, left = best
    near = [
        sums[place]
        for place in (
            (top - 1, left),
            (top + 1, left),
            (top, left - 1),
            (top, left + 1),
        )
        if place in sums
    ]
    gain = sums[best] - sum(near) / len(near) if near else 0.0
    return top, left, gain / (size[0] * size[1])


PAPERS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)


def slow_select_box(values, image_size, crop_px, ratios=PAPERS):
    """The paper's procedure, step by step, for a map over the whole image."""
    rows, cols = values.shape
    width, height = image_size
    found = []
    for ratio in ratios:
        side = crop_px * ratio
        size = (
            min(max(int(side / (height / rows)), 1), rows),
            min(max(int(side / (width / cols)), 1), cols),
        )
        if size == (rows, cols):
            break
        found.append((slow_best_window(values, size), size, side))
    if not found:
        return (0, 0, width, height)
    (top, left, sharpness), size, side = found[0]
    for window in found[1:]:
        if window[0][2] > sharpness:
            (top, left, sharpness), size, side = window
    edges = []
    for first, count, cells, length in (
        (left, size[1], cols, width),
        (top, size[0], rows, height),
    ):
        middle = int((first + count / 2) * length / cells)
        half = int(side / 2)
        if 2 * half >= length:
            edges.append((0, length))
            continue
        start = middle - half
        start -= max(start + 2 * half - length, 0)
        start = max(start, 0)
        edges.append((start, start + 2 * half))
    return (edges[0][0], edges[1][0], edges[0][1], edges[1][1])


def cases(golden, well_defined):
    for number, case in enumerate(golden["boxes"]):
        if (number not in NO_CELL) == well_defined:
            yield np.array(case["map"]), case


def test_boxes_are_the_authors(golden):
    checked = list(cases(golden, well_defined=True))
    assert len(checked) == 54
    for amap, case in checked:
        box = boxes.select_box(amap, tuple(case["image_size"]), case["crop_size"])
        assert list(box) == case["box"]


def test_box_is_sane_where_the_authors_window_has_no_cell(golden):
    checked = list(cases(golden, well_defined=False))
    assert len(checked) == 6
    for amap, case in checked:
        width, height = case["image_size"]
        box = boxes.select_box(amap, (width, height), case["crop_size"])
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height
        side = {2 * int(case["crop_size"] * ratio / 2) for ratio in boxes.RATIOS}
        assert box.width in side or box.width == width
        assert box.height in side or box.height == height
        # It lies about the best cell, wherever that is.
        peak = np.unravel_index(amap.T.argmax(), amap.T.shape)
        x = (peak[0] + 0.5) * width / amap.shape[1]
        y = (peak[1] + 0.5) * height / amap.shape[0]
        assert box.left <= x <= box.right and box.top <= y <= box.bottom


@given(values=MAPS, data=st.data())
def test_window_sums_equal_sums_cell_by_cell(values, data):
    height = data.draw(st.integers(1, values.shape[0]))
    width = data.draw(st.integers(1, values.shape[1]))
    sums = boxes.window_sums(boxes.integral(values), (height, width))
    slow = slow_sums(values, (height, width))
    assert sums.size == len(slow)
    assert all(sums[place] == total for place, total in slow.items())


@given(values=MAPS, data=st.data())
def test_best_window_equals_the_search_in_loops(values, data):
    height = data.draw(st.integers(1, values.shape[0]))
    width = data.draw(st.integers(1, values.shape[1]))
    found = boxes.best_window(boxes.integral(values), (height, width))
    wanted = slow_best_window(values, (height, width))
    assert found[:2] == wanted[:2]
    assert found[2] == pytest.approx(wanted[2], abs=1e-12)


@given(values=MAPS, image_size=SIZES, crop_px=st.integers(2, 300))
def test_select_box_equals_the_procedure_in_loops(values, image_size, crop_px):
    assume(values.any())
    box = boxes.select_box(values, image_size, crop_px)
    assert tuple(box) == slow_select_box(values, image_size, crop_px)


@given(values=MAPS, image_size=SIZES, ratio=st.sampled_from(PAPERS))
def test_one_ratio_alone_gives_its_own_window(values, image_size, ratio):
    assume(values.any())
    box = boxes.select_box(values, image_size, 50, ratios=(ratio,))
    assert tuple(box) == slow_select_box(values, image_size, 50, (ratio,))


def two_bumps():
    """A small bright square, and a broad hill elsewhere that holds more in all."""
    values = np.full((20, 20), 0.01)
    values[1:6, 1:6] = 1
    values[10:18, 10:18] = 0.5
    return values


def test_largest_sum_prefers_the_broad_hill_and_sharpness_the_bright_square():
    sharp = boxes.select_box(two_bumps(), (400, 400), 100)
    full = boxes.select_box(two_bumps(), (400, 400), 100, choice="sum")
    assert sharp == (20, 20, 120, 120)
    assert full.width == 200 and boxes.coverage(full, (200, 200, 360, 360)) == 1


@given(values=MAPS, image_size=SIZES, crop_px=st.integers(2, 300))
def test_largest_sum_is_of_all_windows_of_all_ratios(values, image_size, crop_px):
    assume(values.any())
    region = (0, 0, *image_size)
    sizes = [boxes.window_size(values.shape, region, crop_px * r) for r in PAPERS]
    sums = {
        ratio: max(slow_sums(values, size).values())
        for ratio, size in zip(PAPERS, sizes, strict=True)
        if size != values.shape
    }
    assume(sums)
    best = max(sums, key=sums.get)  # the first of equals
    box = boxes.select_box(values, image_size, crop_px, choice="sum")
    assert box == boxes.select_box(values, image_size, crop_px, ratios=(best,))


def test_unknown_choice_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="unknown choice 'best'; known: sharpness, su"):
        boxes.select_box(np.eye(6), (300, 200), 36, choice="best")


@given(values=MAPS, image_size=SIZES, crop_px=st.integers(1, 500))
def test_box_stays_inside_image(values, image_size, crop_px):
    assume(values.any())
    box = boxes.select_box(values, image_size, crop_px)
    assert 0 <= box.left < box.right <= image_size[0]
    assert 0 <= box.top < box.bottom <= image_size[1]


@given(values=MAPS, image_size=SIZES, crop_px=st.integers(2, 300))
def test_box_is_a_square_where_the_image_has_room(values, image_size, crop_px):
    assume(values.any() and min(image_size) >= 2 * crop_px)
    box = boxes.select_box(values, image_size, crop_px)
    assume(tuple(box) != (0, 0, *image_size))
    assert box.width == box.height
    assert crop_px - 2 < box.width <= 2 * crop_px


def test_box_lies_about_the_only_bright_cell():
    values = np.full((24, 24), 0.1)
    values[5, 17] = 9
    box = boxes.select_box(values, (1344, 1344), crop_px=336)
    cell = 1344 / 24
    assert boxes.coverage(box, (17 * cell, 5 * cell, 18 * cell, 6 * cell)) == 1


def middle(box):
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def test_box_follows_the_maps_region():
    """A map of a centre crop points into the middle of a wide image."""
    values = np.full((4, 4), 0.1)
    values[0, 0] = 9
    amap = Map(values, region=(300, 0, 500, 200))
    box = boxes.select_box(amap, (800, 200), crop_px=50)
    assert middle(box)[0] == pytest.approx(325, abs=26)
    whole = boxes.select_box(values, (800, 200), crop_px=50)
    assert middle(whole)[0] == pytest.approx(100, abs=26)


def test_image_that_the_smallest_window_covers_is_its_own_crop():
    assert boxes.select_box(np.eye(6), (300, 200), crop_px=336) == (0, 0, 300, 200)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 3), np.nan), "NaN or infinite"),
        (np.array([[1, np.inf]]), "NaN or infinite"),
        (np.zeros((3, 3)), "zero everywhere"),
        (np.array([[1.0, -1.0]]), "negative cell"),
        (np.ones(5), r"got shape \(5,\)"),
        (np.ones((1, 2, 3)), r"got shape \(1, 2, 3\)"),
    ],
)
def test_bad_map_selects_no_box(values, message):
    with pytest.raises(ValueError, match=message):
        boxes.select_box(values, (100, 100), crop_px=20)


@pytest.mark.parametrize("size", [(4, 1), (1, 5), (0, 1), (1, 0)])
def test_window_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match="does not fit a map of shape"):
        boxes.window_sums(boxes.integral(np.ones((3, 4))), size)


TARGETS = st.tuples(*[st.floats(0, 1) for _ in range(4)])


def target_in(image_size, shares):
    """A box of at least a pixel within the image, from four numbers in [0, 1]."""
    edges = []
    for length, (one, other) in zip(image_size, (shares[:2], shares[2:]), strict=True):
        low, high = sorted((one * length, other * length))
        edges.append((low, high))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


@given(image_size=SIZES, shares=TARGETS, smallest=st.integers(1, 80))
def test_human_crop_contains_the_whole_target(image_size, shares, smallest):
    target = target_in(image_size, shares)
    box = boxes.around(target, image_size, smallest)
    assert box.left <= target[0] and target[2] <= box.right
    assert box.top <= target[1] and target[3] <= box.bottom
    assert 0 <= box.left and box.right <= image_size[0]
    assert 0 <= box.top and box.bottom <= image_size[1]


@given(image_size=SIZES, shares=TARGETS)
def test_human_crop_is_hardly_larger_than_the_target(image_size, shares):
    target = target_in(image_size, shares)
    box = boxes.around(target, image_size)
    longest = max(target[2] - target[0], target[3] - target[1])
    assert max(box.width, box.height) <= longest + 5
    assert box.width == box.height or min(box.width, box.height) in image_size


def test_human_crop_of_whole_pixels_is_as_small_as_rounding_allows():
    assert boxes.around((10, 10, 20, 20), (100, 100)) == (9, 9, 21, 21)
    assert boxes.around((10, 10, 21, 15), (100, 100)) == (9, 6, 21, 18)


@given(image_size=SIZES, crop_px=st.integers(1, 400), seed=st.integers(0, 99))
def test_control_boxes_stay_inside_image(image_size, crop_px, seed):
    blind = boxes.random_box(np.random.default_rng(seed), image_size, crop_px)
    for box in (blind, boxes.center_box(image_size, crop_px)):
        assert 0 <= box.left < box.right <= image_size[0]
        assert 0 <= box.top < box.bottom <= image_size[1]


def test_random_box_has_the_sides_that_a_map_could_choose(rng):
    sides = {boxes.random_box(rng, (2000, 2000), 100).width for _ in range(200)}
    assert sides == {100, 120, 140, 160, 180, 200}


def test_center_box_is_in_the_middle():
    box = boxes.center_box((1000, 800), 200)
    assert middle(box) == (500, 400)
    assert box.width == box.height == 300


def pixels(box, shape=(60, 60)):
    """A box as a set of pixels."""
    mask = np.zeros(shape, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


WHOLE = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda n: (n[0], n[1], n[0] + n[2], n[1] + n[3])
)


@given(box=WHOLE, other=WHOLE)
def test_overlaps_equal_pixels_counted(box, other):
    one, two = pixels(box), pixels(other)
    assert boxes.overlap(box, other) == (one & two).sum()
    assert boxes.area(box) == one.sum()
    assert boxes.coverage(box, other) == (one & two).sum() / two.sum()
    assert boxes.iou(box, other) == (one & two).sum() / (one | two).sum()


def test_boxes_that_only_touch_do_not_overlap():
    assert boxes.overlap((0, 0, 5, 5), (5, 0, 9, 5)) == 0
    assert boxes.iou((0, 0, 5, 5), (5, 0, 9, 5)) == 0


def test_fractional_center_is_cut_to_whole_pixels():
    assert boxes.square((50.9, 40.2), 21.9, (100, 100)) == Box(40, 30, 60, 50)
