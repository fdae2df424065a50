"""High-resolution maps: tiles looked at one by one, joined over the whole image."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from vicrop import attribution, boxes, geometry, images, view
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.decoder import Decoder
from vicrop.adapters.llava import Llava
from vicrop.pipeline import ViCrop
from vicrop.types import Map

QUESTION = "what digit is on the red plate?"
FITS = ["squash", "pad", "centre-crop", "native"]
UNEQUAL = (1501, 1027)
"""Cut into two by two tiles, no two of one size."""


def noise(size, cells=12):
    """A blotchy image that differs from place to place."""
    rng = np.random.default_rng(size)
    small = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.NEAREST)


def tile_maps(vlm, image, fit=None, method="raw-att"):
    """Each tile looked at as an image of its own."""
    return [
        vlm.look(image.crop(box), fit).importance(QUESTION, method)
        for box in images.tile(image.size).boxes
    ]


def stacked(maps, cols):
    """Maps side by side, row by row."""
    rows = [maps[start : start + cols] for start in range(0, len(maps), cols)]
    return np.block([[amap.values for amap in row] for row in rows])


@pytest.mark.parametrize("method", ["rel-att", "grad-att", "pure-grad"])
def test_joined_map_is_the_tiles_maps_side_by_side(vlm, method):
    image = noise((1344, 1344))
    joined = vlm.look(image, "squash").importance(QUESTION, f"{method}-high")
    assert joined.shape == (24, 24) and joined.region == (0, 0, 1344, 1344)
    wanted = stacked(tile_maps(vlm, image, "squash", method), cols=2)
    np.testing.assert_allclose(joined.values, wanted, rtol=1e-3)


def test_image_of_one_tile_has_the_plain_map(vlm, picture):
    plain = vlm.look(picture).importance(QUESTION)
    high = vlm.look(picture).importance(QUESTION, "rel-att-high")
    np.testing.assert_allclose(high.values, plain.values, rtol=1e-5)


def test_nothing_is_where_no_tile_was_seen(vlm):
    """Tiles of 1500×1000 of which the model sees the middle 1000×1000."""
    joined = vlm.look(noise((1500, 2000))).importance(QUESTION, "raw-att-high")
    assert joined.shape == (24, 12)
    # 250 of 1500 pixels each side are two of twelve cells.
    values = joined.values
    assert (values[:, :2] == 0).all() and (values[:, 10:] == 0).all()
    assert (values[:, 2:10] > 0).all()


@pytest.mark.parametrize("fit", ["squash", "pad", "centre-crop"])
def test_tiles_of_unequal_size_lie_where_they_were_cut(vlm, fit):
    image = noise(UNEQUAL)
    tiles = images.tile(UNEQUAL).boxes
    assert len({(box.width, box.height) for box in tiles}) == len(tiles) == 4
    joined = vlm.look(image, fit).importance(QUESTION, "raw-att-high").values
    # The importance at 40 × 40 points of each joined cell, from the tile that they
    # lie in.
    points = np.zeros((24 * 40, 24 * 40))
    y, x = ((np.arange(960) + 0.5) * side / 960 for side in (1027, 1501))
    for box, amap in zip(tiles, tile_maps(vlm, image, fit), strict=True):
        (rows, row), (cols, col) = under(y, box, amap, 1), under(x, box, amap, 0)
        points[np.ix_(rows, cols)] = amap.values[np.ix_(row, col)]
    wanted = points.reshape(24, 40, 24, 40).mean((1, 3))
    np.testing.assert_allclose(joined, wanted, atol=0.02 * joined.max())
    assert (joined == 0).any() == (fit == "centre-crop")


def under(points, box, amap, axis):
    """Which points of one axis (0 for x) lie on a tile's map, and in which cell."""
    first = box[axis] + amap.region[axis]
    last = box[axis] + amap.region[axis + 2]
    cells = amap.shape[1 - axis]
    inside = (first <= points) & (points < last)
    cell = (points[inside] - first) / (last - first) * cells
    return np.flatnonzero(inside), cell.astype(int)


def test_upstream_geometry_takes_all_tiles_as_one_size(vlm):
    image = noise(UNEQUAL)
    joined = vlm.look(image, geometry="upstream").importance(QUESTION, "raw-att-high")
    assert joined.region is None
    wanted = stacked(tile_maps(vlm, image), cols=2)
    np.testing.assert_allclose(joined.values, wanted, rtol=1e-4)


@pytest.mark.parametrize("method", ["rel-att", "grad-att", "pure-grad"])
def test_tiles_of_a_batch_are_as_one_by_one(vlm, monkeypatch, method):
    image = noise((2048, 1100))
    for most in (8, 1):
        kind = dataclasses.replace(attribution.MAPS[method], tiles=most)
        monkeypatch.setitem(attribution.MAPS, f"{method}, {most}", kind)
    batch, single = (
        vlm.look(image).importance(QUESTION, f"{method}, {most}-high")
        for most in (8, 1)
    )
    np.testing.assert_allclose(batch.values, single.values, rtol=1e-3)


def test_batch_is_bounded(vlm):
    looked = vlm.look(noise((3600, 3600)))
    for most, sizes in ((8, [8, 8]), (5, [5, 5, 5, 1]), (1, [1] * 16)):
        looks = looked.looks(most)
        assert [len(numbers) for numbers, _ in looks] == sizes
        assert all(len(look.pictures) == len(numbers) for numbers, look in looks)


def test_tiles_whose_whole_graph_is_kept_come_one_by_one():
    """Some gigabytes each of a 7B model."""
    assert attribution.MAPS["pure-grad"].tiles == 1


@pytest.mark.parametrize(
    "size",
    [(500, 2000), (600, 1300), (3600, 3600), (1344, 1344), (2000, 500), (401, 20)],
)
def test_any_shape_gives_a_box_in_the_image(vlm, size):
    """Among them those where the authors' code divides by zero or finds no window."""
    looked = vlm.look(noise(size))
    amap = looked.importance(QUESTION, "rel-att-high")
    tiles = images.tile(size)
    assert amap.shape == (12 * tiles.rows, 12 * tiles.cols)
    left, top, right, bottom = boxes.select_box(amap, size, vlm.crop_px)
    assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
    assert max(right - left, bottom - top) <= 2 * vlm.crop_px
    looked.ask(QUESTION, (left, top, right, bottom), max_new_tokens=1)


def test_memory_of_tiles_is_counted_and_their_prefixes_are_freed(vlm):
    looked = vlm.look(noise((1344, 1344)))
    looked.importance(QUESTION)
    before = looked.held_bytes
    looked.importance(QUESTION, "rel-att-high")
    pixels = 3 * 96 * 96
    assert looked.held_bytes - before == 4 * (144 * 128 + pixels) * 4  # no keys


def test_nothing_is_run_on_tiles_above_the_maps_layer(vlm, monkeypatch):
    depths = []
    fill = Decoder._fill_to

    def filling(self, prompts, depth):
        fill(self, prompts, depth)
        (prefix,) = [prompt.prefix for prompt in prompts]
        depths.append(prefix.depth)
        assert prefix.cache.get_seq_length(prefix.depth - 1) == 145
        if prefix.depth < 4:
            assert prefix.cache.get_seq_length(prefix.depth) == 0

    monkeypatch.setattr(Decoder, "_fill_to", filling)
    looked = vlm.look(noise((1344, 1344)))
    looked.importance(QUESTION, "rel-att-high")
    assert depths == [vlm.layer + 1] == [3]
    looked.importance(QUESTION, "grad-att-high")  # of the answer: all layers
    assert depths == [3, 4]


# A planted peak: maps that are the light in the model's own input.


class Native(Llava):
    """Keeps an image's ratio: as many whole patches as fit into 24 × 8 pixels."""

    fit = "native"

    def pixels(self, pictures):
        width, height = pictures[0].size
        scale = 24 / max(width, height)
        cols, rows = max(round(width * scale), 1), max(round(height * scale), 1)
        small = [np.asarray(p.resize((cols * 8, rows * 8))) for p in pictures]
        values = np.stack(small).transpose(0, 3, 1, 2) / 255 - 0.5
        return self.model.lm_head.weight.new_tensor(values), (rows, cols)

    def see(self, pixels, grids):
        token = self.model.get_input_embeddings().weight[:1]
        return [token.expand(rows * cols, -1) for rows, cols in grids]


@pytest.fixture(scope="session")
def native(random_llava, processor):
    return Adapter(Native(random_llava(), processor), layer=2)


@pytest.fixture
def light(monkeypatch):
    """A method whose map is how bright the vision input is, cell by cell."""

    def of_prompts(vlm, prompts):
        return [brightness(vlm, prompt.seen[0]) for prompt in prompts]

    def brightness(vlm, seen):
        # Above the padding, whose colour is normalised to 0.
        pixels = vlm.facts.picture(seen.pixels, seen.grid).mean(1).sub(0.3).relu()
        return attribution.paper.cell_means(pixels.numpy(), seen.grid)

    kind = attribution.Attribution(
        of_prompts, attribution.paper.alone, needs_general=False
    )
    monkeypatch.setitem(attribution.MAPS, "light", kind)


def lit(size, x, y, side):
    """A black image with a white square around (x, y)."""
    image = Image.new("RGB", size, "black")
    half = side // 2
    image.paste((255, 255, 255), (x - half, y - half, x + half, y + half))
    return image


def look(vlm, native, image, fit, **options):
    if fit == "native":
        return native.look(image, **options)
    return vlm.look(image, fit, **options)


PLACES = [(0.5, 0.5), (0.42, 0.2), (0.56, 0.85), (0.1, 0.06), (0.9, 0.4), (0.3, 0.3)]


def in_view(size, light, fit, high):
    """Whether all of a light (left, top, right, bottom) lies where the model sees."""
    tiles = images.tile(size).boxes if high else [(0, 0, *size)]
    for left, top, right, bottom in tiles:
        x0, y0, x1, y1 = geometry.visible(fit, (right - left, bottom - top))
        seen = (left + x0, top + y0, left + x1, top + y1)
        if boxes.coverage(seen, light) == 1:
            return True
    return False


def reach(amap, box, fit):
    """(x, y) how far from a box's centre what it found may lie.

    In the box, or in the cell it is around where cells are larger than crops; and a
    pixel of the model's input, an eighth of a cell. Padding that cuts cells has the
    rest laid on whole ones, which moves importance by up to half a cell.
    """
    left, top, right, bottom = amap.region
    cell = np.array([right - left, bottom - top]) / amap.shape[::-1]
    moved = cell / (2 if fit == "pad" else 8)
    return np.maximum((box.width, box.height), cell) / 2 + moved


def middle(box):
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


@pytest.mark.parametrize("high", ["", "-high"])
@pytest.mark.parametrize("size", [(900, 400), (400, 900), (1501, 1027), (500, 2000)])
@pytest.mark.parametrize("fit", FITS)
def test_box_is_where_the_light_is(vlm, native, light, fit, size, high):
    shown = 0
    for place in PLACES:
        x, y = int(place[0] * size[0]), int(place[1] * size[1])
        half = max(size) // 50  # two pixels of the model's, at least
        if not in_view(size, (x - half, y - half, x + half, y + half), fit, high):
            continue
        image = lit(size, x, y, 2 * half)
        amap = look(vlm, native, image, fit).importance(QUESTION, f"light{high}")
        box = boxes.select_box(amap, size, vlm.crop_px)
        off = np.abs(np.subtract((x, y), middle(box)))
        assert (off <= reach(amap, box, fit)).all()
        shown += 1
    assert shown >= (1 if fit == "centre-crop" else len(PLACES) - high.count("high"))


def test_upstream_geometry_misses_the_light_in_a_wide_image(vlm, light):
    """The authors' code stretches the map of the middle square over all the image."""
    x, y = 320, 150
    image = lit((900, 300), x, y, side=20)
    found = {
        kind: boxes.select_box(
            vlm.look(image, geometry=kind).importance(QUESTION, "light"),
            image.size,
            vlm.crop_px,
        )
        for kind in view.GEOMETRIES
    }
    assert found["exact"].left <= x < found["exact"].right
    assert not found["upstream"].left <= x < found["upstream"].right


@pytest.mark.parametrize("fit", ["squash", "pad", "native"])
def test_upstream_geometry_is_right_where_all_is_seen(vlm, native, light, fit):
    image = lit((400, 400), 60, 300, side=20)
    kinds = [
        look(vlm, native, image, fit, geometry=kind).importance(QUESTION, "light")
        for kind in view.GEOMETRIES
    ]
    np.testing.assert_array_equal(kinds[0].values, kinds[1].values)
    chosen = [boxes.select_box(amap, image.size, vlm.crop_px) for amap in kinds]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("fit", "visible"),
    [
        (None, (100, 0, 300, 200)),
        ("centre-crop", (100, 0, 300, 200)),
        ("squash", (0, 0, 400, 200)),
        ("pad", (0, 0, 400, 200)),
        ("native", (0, 0, 400, 200)),
    ],
)
def test_answer_says_what_the_model_saw(vlm, native, fit, visible):
    looked = look(vlm, native, noise((400, 200)), fit)
    for crop in (None, (10, 10, 90, 90)):
        assert looked.ask(QUESTION, crop, max_new_tokens=1).visible == visible


def test_families_that_take_squares_refuse_the_native_ratio(vlm):
    with pytest.raises(ValueError, match="'llava' takes squares only"):
        vlm.look(noise((400, 200)), "native")


@pytest.mark.parametrize(
    ("size", "high_res", "shape"),
    [
        ((1024, 300), "auto", (12, 12)),
        ((1025, 300), "auto", (12, 36)),
        ((300, 1025), "auto", (24, 12)),
        ((1025, 300), False, (12, 12)),
        ((900, 300), True, (12, 36)),
    ],
)
def test_large_images_are_cut_if_asked_to(vlm, size, high_res, shape):
    answer = ViCrop(vlm).answer(
        noise(size), QUESTION, high_res=high_res, max_new_tokens=1
    )
    assert isinstance(answer.amap, Map) and answer.amap.shape == shape
