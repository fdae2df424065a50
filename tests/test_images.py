import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from vicrop import images
from vicrop.types import Box


@pytest.fixture
def noise(rng):
    return Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))


def save(image, path, **options):
    image.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A grey PNG that says its size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + data + chunk(b"IEND", b"")


def test_path_image_and_array_load_alike(noise, tmp_path):
    path = save(noise, tmp_path / "a.png")
    wanted = np.asarray(noise)
    for source in (path, str(path), noise, wanted):
        loaded = images.load(source)
        assert loaded.mode == "RGB"
        assert (np.asarray(loaded) == wanted).all()


def test_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image at .*nowhere.png"):
        images.load(tmp_path / "nowhere.png")


def test_folder_is_not_an_image(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image at"):
        images.load(tmp_path)


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "webp"])
def test_truncated_image_is_named(noise, tmp_path, kind):
    path = save(noise, tmp_path / f"half.{kind}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"half\.\w+ is not a readable image"):
        images.load(path)


@pytest.mark.parametrize("text", ["", "this is not a picture"])
def test_text_named_png_is_refused(tmp_path, text):
    path = tmp_path / "letter.png"
    path.write_text(text)
    with pytest.raises(ValueError, match="letter.png is not a readable image"):
        images.load(path)


@given(data=st.data())
def test_broken_file_loads_or_is_refused_by_name(data, tmp_path_factory):
    """Whatever bytes are lost or changed, there is no other kind of error."""
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP"]))
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    broken = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(
            st.integers(0, 255)
        )
    cut = data.draw(st.integers(0, len(broken)))
    path = tmp_path_factory.mktemp("broken") / "image"
    path.write_bytes(broken[:cut])
    try:
        assert images.load(path).mode == "RGB"
    except ValueError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("size", [(13_378, 13_378), (30_000, 30_000), (2**31 - 1, 1)])
def test_decompression_bomb_is_not_decoded(tmp_path, monkeypatch, size):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="bomb.png has more than 178,956,970 pixels"):
        images.load(path)


def test_largest_image_is_pillows_own_limit():
    assert images.MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


def test_large_image_within_the_limit_is_not_warned_about(tmp_path):
    # Between Pillow's limit for a warning and its limit for an error.
    path = tmp_path / "large.png"
    path.write_bytes(png_header(13_000, 13_000))
    with pytest.raises(ValueError, match="not a readable image .*truncated"):
        images.load(path)


def test_image_of_no_pixels_is_refused():
    with pytest.raises(ValueError, match="0×4, expected at least 1×1"):
        images.load(Image.new("RGB", (0, 4)))


def test_one_pixel_is_an_image(tmp_path):
    path = save(Image.new("RGB", (1, 1), (9, 8, 7)), tmp_path / "a.png")
    assert images.load(path).getpixel((0, 0)) == (9, 8, 7)


MODES = "1 L LA P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV LAB I F I;16 I;16B"


@pytest.mark.parametrize("mode", MODES.split())
def test_every_mode_becomes_rgb(mode):
    loaded = images.load(Image.new(mode, (3, 2)))
    assert loaded.mode == "RGB" and loaded.size == (3, 2)


def test_grey_stays_grey(tmp_path):
    path = save(Image.new("L", (2, 2), 77), tmp_path / "grey.png")
    assert images.load(path).getpixel((0, 0)) == (77, 77, 77)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 256 * 64, 65535]], np.uint16)
    path = save(Image.fromarray(values), tmp_path / "deep.png")
    assert np.asarray(images.load(path))[0, :, 0].tolist() == [0, 63, 255]


def test_float_image_within_8_bits_is_left_as_it_is():
    values = np.array([[0, 100, 255]], np.float32)
    loaded = images.load(Image.fromarray(values))
    assert np.asarray(loaded)[0, :, 0].tolist() == [0, 100, 255]


def test_transparency_becomes_white(tmp_path):
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    loaded = images.load(save(image, tmp_path / "alpha.png"))
    assert loaded.getpixel((0, 0)) == (255, 0, 0)
    assert loaded.getpixel((1, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_transparent_palette_entry_becomes_white(tmp_path, kind):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.putpixel((1, 0), 1)
    path = save(image, tmp_path / f"palette.{kind}", transparency=1)
    loaded = images.load(path)
    assert loaded.getpixel((0, 0)) == (200, 0, 0)
    assert loaded.getpixel((1, 0)) == (255, 255, 255)


def test_cmyk_jpeg_is_converted(tmp_path):
    path = save(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "ink.jpg")
    red, green, blue = images.load(path).getpixel((8, 8))
    assert red > 200 and green < 60 and blue < 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotated_photo_is_turned_upright(tmp_path, orientation):
    upright = Image.new("RGB", (32, 16), "black")
    upright.paste((255, 255, 255), (0, 0, 8, 8))  # top left
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    turned = upright
    if orientation in stored:
        turned = upright.transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(turned, tmp_path / "photo.jpg", exif=exif, quality=95)
    loaded = images.load(path)
    assert loaded.size == (32, 16)
    assert loaded.getpixel((3, 3))[0] > 200
    assert loaded.getpixel((28, 3))[0] < 60 and loaded.getpixel((3, 12))[0] < 60


@pytest.mark.parametrize(
    ("shape", "mode"), [((4, 5), "grey"), ((4, 5, 1), "grey"), ((4, 5, 4), "alpha")]
)
def test_arrays_of_one_and_four_channels_load(shape, mode):
    loaded = images.load(np.full(shape, 255, np.uint8))
    assert loaded.size == (5, 4)
    assert loaded.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "shape", [(3,), (4, 5, 2), (4, 5, 5), (1, 4, 5, 3), (3, 0), (0, 4, 3), ()]
)
def test_array_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="got shape"):
        images.load(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "uint16"])
def test_array_of_another_type_is_refused(dtype):
    with pytest.raises(ValueError, match=f"must be uint8 .* got {dtype}"):
        images.load(np.zeros((4, 5, 3), dtype))


def test_crop_takes_exactly_the_boxs_pixels(noise):
    part = images.crop(noise, Box(3, 5, 10, 9))
    assert (np.asarray(part) == np.asarray(noise)[5:9, 3:10]).all()


@pytest.mark.parametrize(
    "box", [(-1, 0, 5, 5), (0, 0, 31, 5), (0, 0, 5, 21), (5, 0, 5, 5), (9, 9, 3, 12)]
)
def test_crop_that_leaves_the_image_is_refused(noise, box):
    with pytest.raises(ValueError, match="does not lie in an image of 30×20"):
        images.crop(noise, Box(*box))


@pytest.mark.parametrize("size", [(30, 12), (12, 30), (13, 30), (20, 20)])
def test_padded_image_is_the_image_in_the_middle_of_colour(rng, size):
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    padded = np.asarray(images.fit(Image.fromarray(pixels), "pad", (9, 8, 7)))
    side = max(size)
    assert padded.shape == (side, side, 3)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    inner = padded[top : top + size[1], left : left + size[0]]
    assert (inner == pixels).all()
    outside = np.ones((side, side), bool)
    outside[top : top + size[1], left : left + size[0]] = False
    assert (padded[outside] == (9, 8, 7)).all()


def test_squashed_image_is_a_square_of_the_same_area_that_shows_all(rng):
    image = Image.new("RGB", (160, 40), "black")
    image.paste((255, 255, 255), (80, 0, 160, 20))  # top right
    squashed = np.asarray(images.fit(image, "squash", (0, 0, 0)))[..., 0]
    assert squashed.shape == (80, 80)
    assert squashed[:36, 44:].min() > 200
    assert squashed[:, :36].max() < 50 and squashed[44:].max() < 50


@pytest.mark.parametrize("size", [(30, 12), (12, 30), (13, 30)])
def test_centre_cropped_image_is_its_middle_square(rng, size):
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    cut = np.asarray(images.fit(Image.fromarray(pixels), "centre-crop", (0, 0, 0)))
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    assert (cut == pixels[top : top + side, left : left + side]).all()


@pytest.mark.parametrize("how", ["native", "stretch"])
def test_fit_that_makes_no_square_is_refused(noise, how):
    with pytest.raises(ValueError, match=f"unknown fit '{how}'; known: pad, squash"):
        images.fit(noise, how, (0, 0, 0))


def test_padding_to_more_pixels_than_are_opened_is_refused():
    with pytest.raises(ValueError, match="padded image has more than .*20000×20000"):
        images.fit(Image.new("RGB", (20_000, 8)), "pad", (0, 0, 0))


def cover(tiles, size):
    """How often each pixel is covered, counted pixel by pixel."""
    counts = np.zeros((size[1], size[0]), int)
    for left, top, right, bottom in tiles.boxes:
        counts[top:bottom, left:right] += 1
    return counts


@given(size=st.tuples(st.integers(1, 90), st.integers(1, 90)), limit=st.integers(1, 40))
def test_every_pixel_lies_in_exactly_one_tile(size, limit):
    tiles = images.tile(size, limit)
    assert len(tiles.boxes) == tiles.rows * tiles.cols
    assert (cover(tiles, size) == 1).all()
    assert max(box.height for box in tiles.boxes) <= limit


def test_tiles_run_row_by_row():
    tiles = images.tile((200, 100), limit=50)
    assert (tiles.rows, tiles.cols) == (2, 4)
    starts = [(box.top, box.left) for box in tiles.boxes]
    assert starts == sorted(starts)


def test_small_image_is_one_tile():
    assert images.tile((640, 480)).boxes == (Box(0, 0, 640, 480),)


def test_tiles_are_the_authors_where_theirs_exist(golden):
    answered = [case for case in golden["splits"] if "blocks" in case]
    assert len(answered) == 33
    for case in answered:
        width, height = case["image_size"]
        tiles = images.tile((width, height))
        assert (tiles.rows, tiles.cols) == (case["rows"], case["cols"])
        # Theirs may leave the image; ours end at its border.
        clipped = [
            (left, top, min(right, width), min(bottom, height))
            for left, top, right, bottom in case["blocks"]
        ]
        assert list(tiles.boxes) == clipped


def test_images_that_the_authors_cannot_split_are_split(golden):
    raising = [case for case in golden["splits"] if "blocks" not in case]
    assert len(raising) == 7
    for case in raising:
        size = tuple(case["image_size"])
        assert (cover(images.tile(size), size) == 1).all()


def test_image_of_no_pixels_is_not_tiled():
    with pytest.raises(ValueError, match="0×10"):
        images.tile((0, 10))
