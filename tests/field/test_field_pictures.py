"""Pictures as people bring them: cases 1 to 5 and 28 of what was met in public."""

import io
import struct
import tempfile
import warnings
import zlib

import matplotlib
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, TiffImagePlugin

matplotlib.use("Agg")

import twins  # noqa: E402 (after the backend is chosen)

import vicrop as package  # noqa: E402
from vicrop import geometry, images, plots  # noqa: E402
from vicrop.boxes import select_box  # noqa: E402
from vicrop.run import loop  # noqa: E402
from vicrop.run.records import RunConfig, Sample  # noqa: E402
from vicrop.types import Answer, Box, Map  # noqa: E402
from workflow import replay

QUESTION = "what digit is on the red plate?"
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO", "GIF", "BMP", "JPEG2000")


@pytest.fixture
def photo(rng):
    return Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.fixture
def told():
    """What was told of pictures, and what tells it."""
    said = []
    return said, lambda name, what: said.append(what)


@pytest.fixture
def vicrop(vicrop, random_weights, results_folder):
    """With a random model, in folders of its own."""
    return vicrop


def encoded(image, kind, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def grey(values, dtype) -> Image.Image:
    return Image.fromarray(np.array([values], dtype))


def row_of(image) -> list[int]:
    """Red of an image's first row."""
    return np.asarray(image)[0, :, 0].tolist()


# Case 1.

EXIF = {
    "no TIFF": b"Exif\0\0garbage!",
    "no TIFF and no mark": b"garbage",
    "cut": b"Exif\0\0II*\0",
    "cut in a tag": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
    "empty": b"Exif\0\0",
    "pointing nowhere": b"Exif\0\0II*\0\xff\xff\xff\xff",
    "of an odd type": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\x63\0\1\0\0\0\6\0\0\0",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", EXIF)
def test_broken_exif_leaves_the_pixels(photo, tmp_path, kind, exif):
    """Case 1: the picture is there; what is broken beside it is left out."""
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(encoded(photo, kind, exif=EXIF[exif]))
    plain = images.load(encoded(photo, kind))
    assert (np.asarray(images.load(path)) == np.asarray(plain)).all()
    assert images.image_size(path) == (30, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_read_beside_a_tag_that_cannot_be_written(kind):
    """Case 1: a tag of a wrong type, which Pillow fails to write back when it turns."""
    odd = struct.pack("<HHLL", 0x8827, 2, 3, 0x004F5349)  # a speed, as text
    turned = struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + turned + odd + b"\0\0\0\0"
    assert images.load(encoded(Image.new("RGB", (30, 20)), kind, exif=exif)).size == (
        20,
        30,
    )


@pytest.mark.parametrize("orientation", range(12))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_size_is_that_of_the_picture_as_it_is_loaded(tmp_path, kind, orientation):
    """Case 1: a TIFF that Pillow turns itself, and orientations that there are not."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(encoded(Image.new("RGB", (32, 16)), kind, exif=exif))
    loaded = images.load(path)
    assert images.image_size(path) == loaded.size
    assert images.to_rgb(loaded).size == loaded.size  # and is turned once only
    assert (loaded.width == 16) == (orientation in (5, 6, 7, 8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_broken_colour_profile_leaves_the_pixels(photo, kind):
    """Case 1: profiles are not applied, so a broken one breaks nothing."""
    broken = images.load(encoded(photo, kind, icc_profile=b"no profile"))
    assert (np.asarray(broken) == np.asarray(images.load(encoded(photo, kind)))).all()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_torn_file_is_refused_by_its_name(photo, tmp_path, kind, share):
    """Case 1: half a picture is none."""
    whole = encoded(photo.resize((90, 60)), kind)
    path = tmp_path / "torn.jpg"  # whatever its ending says
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"torn.jpg is not a readable image"):
        images.load(path)


def test_folder_named_as_a_picture_is_no_picture(tmp_path):
    """Case 1."""
    (tmp_path / "a.png").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no image at .*a.png"):
        images.load(tmp_path / "a.png")


def test_wrong_ending_does_not_matter(photo, tmp_path):
    """Case 1: what counts is what is in the file."""
    (tmp_path / "a.gif").write_bytes(encoded(photo, "PNG"))
    loaded = images.load(tmp_path / "a.gif")
    assert (np.asarray(loaded) == np.asarray(photo)).all()


@pytest.mark.parametrize("error", [KeyError("x"), AssertionError(), zlib.error("x")])
def test_whatever_decoding_raises_names_the_file(photo, tmp_path, monkeypatch, error):
    """Case 1."""

    def fail(_):
        raise error

    photo.save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(ValueError, match=r"a.png is not a readable image \(.+\);"):
        images.load(tmp_path / "a.png")


def test_reading_pictures_leaves_other_warnings_alone(tmp_path):
    """Case 1: Pillow's own are of metadata; no other is lost, then or later."""
    exif = EXIF["cut in a tag"]
    data = encoded(Image.new("RGB", (8, 8)), "PNG", exif=exif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images.load(data)
        warnings.warn("mine", UserWarning, stacklevel=1)
    assert [str(one.message) for one in caught] == ["mine"]


def test_sample_of_a_broken_picture_fails_alone(
    write_data, row, picture, random_weights, results_folder
):
    """Case 1: broken EXIF is answered, a torn picture is recorded, the run goes on."""
    rows = [row(id=n, image_path=f"{n}.png", boxes=[[9, 9, 20, 20]]) for n in "0123"]
    folder = write_data(rows, [picture] * 4)
    path = folder / "images"
    picture.save(path / "1.png", exif=EXIF["cut"])
    (path / "2.png").write_bytes((path / "0.png").read_bytes()[:2000])
    (path / "3.png").write_bytes(b"")
    config = RunConfig(dataset=str(folder), method="center-crop", max_new_tokens=1)
    records = {one.id: one for one in loop.run(config, progress=False).records()}
    assert [one for one in "0123" if records[one].error] == ["2", "3"]
    assert records["1"].answer == records["0"].answer
    # Its size is known all the same, for it fails in its group.
    assert records["2"].size == records["0"].size and records["3"].size is None


# Case 2.


@pytest.fixture
def panorama(tmp_path, rng):
    path = tmp_path / "panorama.png"
    pixels = rng.integers(0, 256, (50, 600, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_answer_says_how_little_of_a_picture_is_seen(vicrop, panorama):
    """Case 2: one line, with the share and what to do."""
    status, out, err = vicrop("answer", panorama, QUESTION)
    assert status == 0 and out.startswith("without a crop: ")
    line, reads = err.splitlines()
    assert "8% of it is seen (fit centre-crop)" in line and "--fit pad" in line
    assert str(panorama) in line and "tiny-llava reads drawn plates only" in reads


@pytest.mark.parametrize("fit", ["pad", "squash"])
def test_answer_says_nothing_where_all_is_seen(vicrop, panorama, fit):
    """Case 2."""
    assert "of it is seen" not in vicrop("answer", panorama, QUESTION, "--fit", fit)[2]


@pytest.mark.parametrize(
    ("size", "seen"), [((16, 9), 9 / 16), ((6000, 500), 1 / 12), ((500, 6000), 1 / 12)]
)
def test_share_that_is_seen_is_counted_in_pixels(size, seen):
    """Case 2: a photo of 16 by 9 is usual, a panorama is not."""
    assert geometry.seen("centre-crop", size) == pytest.approx(seen)
    assert geometry.seen("pad", size) == geometry.seen("squash", size) == 1
    assert (seen < geometry.LITTLE) == (max(size) == 6000)


@pytest.mark.parametrize("together", [1, 2])
def test_run_counts_the_pictures_of_which_little_is_seen(
    write_data, row, random_weights, results_folder, together
):
    """Case 2: once in the end, each picture once, however often it is asked about."""
    sizes = [(300, 90), (200, 180), (90, 300)]
    rows = [
        row(id=f"{n}{again}", image_path=f"{n}.png") for n in range(3) for again in "ab"
    ]
    folder = write_data(rows, [Image.new("RGB", size) for size in sizes])
    configs = [
        RunConfig(
            dataset=str(folder), method=method, max_new_tokens=1, batch_size=together
        )
        for method in ("no-crop", "center-crop")
    ]
    for made in loop.run_together(configs, progress=False):
        (note,) = made.meta()["notes"]
        assert (
            note == "images (2, as 0.png): less than half is seen; --fit pad shows all"
        )
    padded = configs[0].model_copy(update={"fit": "pad"})
    assert loop.run(padded, progress=False).meta()["notes"] == []


@pytest.mark.parametrize("drawn", ["panel", "gallery"])
def test_figure_says_what_its_dark_stripe_is(row, drawn):
    """Case 2: what the map covers is what the model sees."""
    image = Image.new("RGB", (600, 50))
    amap = Map(np.eye(4), geometry.visible("centre-crop", image.size))
    said = Answer("3", "4", Box(0, 0, 9, 9), amap)
    if drawn == "panel":
        figure = plots.answer_panel(image, said)
    else:
        figure = replay.gallery([(image, said, Sample.model_validate(row()))])
    (label,) = figure.axes[1].get_legend().get_texts()
    assert label.get_text() == "seen by the model: 8%"
    figure.savefig(io.BytesIO())
    matplotlib.pyplot.close(figure)


def test_figure_of_a_picture_that_is_all_seen_needs_no_legend():
    """Case 2."""
    amap = Map(np.eye(4), (0, 0, 60, 50))
    figure = plots.answer_panel(
        Image.new("RGB", (60, 50)), Answer("3", "4", None, amap)
    )
    assert figure.axes[1].get_legend() is None
    matplotlib.pyplot.close(figure)


# Case 3.

PADDING = b"\0" * 600
HEIC, FILM = b"\0\0\0\x18ftypheic\0\0\0\0", b"\0\0\0\x20ftypisom\0\0\2\0isom"
BROUGHT = [
    ("a HEIC photo; save it as PNG", HEIC + PADDING),
    ("a HEIC photo; save it as PNG", HEIC.replace(b"heic", b"mif1")),
    ("an AVIF or JPEG XL picture; save it", b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a"),
    ("a camera's raw file; save it as", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
    ("a film; save a frame as PNG", FILM + PADDING),
    ("a film; save a frame as PNG", b"\x1aE\xdf\xa3\1\0\0#B\x86\x81\1webm"),
    ("a film; save a frame as PNG", b"RIFF\x24\0\0\0AVI LIST" + PADDING),
    ("a film; save a frame as PNG", b"\0\0\1\xba\x44\0\4\0\4\1" + PADDING),
    ("a PDF; save a page as PNG", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3" + PADDING),
    ("a drawing; save it as PNG", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    ("a drawing; save it as PNG", b'<?xml version="1.0"?>\n<!-- a --><svg/>'),
    ("a drawing; save it as PNG", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    ("a web page; fetch the picture", b"\n<!DOCTYPE html>\n<html><svg/></html>"),
    ("a pointer of git-lfs; run `git", b"version https://git-lfs.github.com/spec/v1"),
    ("text; fetch the picture itself", b'{"error": "rate limit"}'),
    ("text; fetch the picture itself", b"<Error><Code>AccessDenied</Code></Error>"),
    ("text; fetch the picture itself", b"Zugriff verweigert f\xc3\xbcr alle"),
    ("an empty file; fetch it again", b""),
    ("an array or scientific data; save", b"\x93NUMPY\1\0v\0{'descr': '|u1'}"),
    ("an array or scientific data; save", b"\0" * 128 + b"DICM\2\0\0\0UL"),
    ("an array or scientific data; save", b"\x89HDF\r\n\x1a\n" + PADDING),
    ("a torn TIFF, or of an unusual kind; save it", b"II*\0\x08\0\0\0" + PADDING),
    ("an archive; unpack it first", b"PK\3\4\x14\0\6\0" + PADDING),
    ("an archive; unpack it first", b"\x1f\x8b\x08\0\0\0\0\0" + PADDING),
]


@pytest.mark.parametrize(("what", "data"), BROUGHT)
def test_file_of_another_kind_is_called_by_its_name(tmp_path, what, data):
    """Case 3: what it is, and what to do."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for read in (images.load, images.image_size):
        with pytest.raises(ValueError, match=f"photo.jpg is not .* image but {what}"):
            read(path)


def test_answer_refuses_a_film_in_one_line(vicrop, tmp_path):
    """Case 3."""
    path = tmp_path / "cat.mp4"
    path.write_bytes(FILM)
    status, out, err = vicrop("answer", path, QUESTION)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert "a film; save a frame as PNG" in err


def test_no_other_program_is_started_for_a_drawing(monkeypatch):
    """Case 3: for PostScript, Pillow would start Ghostscript."""
    monkeypatch.setattr(
        "subprocess.check_call", lambda *_, **__: pytest.fail("started")
    )
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("gs"))
    with pytest.raises(ValueError, match="a drawing"):
        images.load(encoded(Image.new("RGB", (9, 9)), "EPS"))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_first_of_several_frames_is_taken_and_that_is_said(tmp_path, told, kind):
    """Case 3: a film's first picture is its title as a rule, so a word is needed."""
    first, second = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8))
    path = tmp_path / "a"
    path.write_bytes(encoded(first, kind, save_all=True, append_images=[second]))
    said, tell = told
    assert images.load(path, tell).getpixel((4, 4)) == (255, 255, 255)
    assert said == ["of its frames or pages the first is taken; save another as PNG"]
    with pytest.warns(UserWarning, match=f"{path}: of its frames .* first is"):
        images.load(path)


def test_a_phones_second_picture_is_none_of_several(photo):
    """Case 3: an MPO's is its first one, small; no word of it."""
    images.load(encoded(photo, "MPO", save_all=True, append_images=[photo]))


def test_run_counts_the_pictures_of_several_frames(
    write_data, row, random_weights, results_folder
):
    """Case 3: one note, not a warning a sample."""
    folder = write_data([row(id=n, image_path=f"{n}.gif") for n in "abc"])
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    for name in "bc":
        frames[0].save(
            folder / "images" / f"{name}.gif", save_all=True, append_images=frames[1:]
        )
    frames[0].save(folder / "images" / "a.gif")
    config = RunConfig(dataset=str(folder), method="no-crop", max_new_tokens=1)
    (note,) = loop.run(config, progress=False).meta()["notes"]
    assert note.startswith("images (2, as b.gif): of its frames or pages the first")


def test_preview_in_a_raw_file_is_not_the_picture(photo):
    """Case 3: a DNG's first picture is a thumbnail of what is asked about."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[ExifTags.Base.NewSubfileType] = 1
    with pytest.raises(ValueError, match="begins with a preview; save it as PNG"):
        images.load(encoded(photo, "TIFF", tiffinfo=info))


# Case 4.


@pytest.mark.parametrize("bits", [1, 8, 10, 12, 14])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_greys_are_scaled_by_the_bits_that_they_use(told, kind, bits):
    """Case 4: a camera's 12 bits in 16 were nearly black."""
    most, (said, tell) = 2**bits - 1, told
    loaded = images.load(encoded(grey([0, most // 2, most], np.uint16), kind), tell)
    assert row_of(loaded) == pytest.approx([0, 255 * (most // 2) / most, 255], abs=1)
    assert said == [f"greys of 0 to {most}, scaled as 0 to {most}"]


def test_greys_of_all_16_bits_are_scaled_without_a_word():
    """Case 4."""
    values = [0, 16384, 65535]
    for image in (grey(values, np.uint16), grey(values, ">u2"), grey(values, np.int32)):
        assert row_of(images.load(image)) == [0, 63, 255]


def tiff(pixels, photometric=1) -> bytes:
    """A TIFF of greys in their own order of bytes; white is 0 if photometric is 0."""
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    raw, bits = pixels.tobytes(), 8 * pixels.dtype.itemsize
    tags = {256: pixels.size, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8}
    tags |= {277: 1, 278: 1, 279: len(raw)}
    if pixels.dtype.kind == "f":
        tags[339] = 3
    data = b"II*\0" if order == "<" else b"MM\0*"
    data += struct.pack(f"{order}L", 8 + len(raw)) + raw
    data += struct.pack(f"{order}H", len(tags))
    for tag, value in tags.items():
        data += struct.pack(f"{order}HHLL", tag, 4, 1, value)
    return data + b"\0" * 4


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<f4", ">f4"])
def test_tiff_is_read_in_either_order_of_bytes(told, kind):
    """Case 4."""
    data = tiff(np.array([0, 1024, 4095], kind))
    assert row_of(images.load(data, told[1])) == [0, 63, 255]


@pytest.mark.parametrize("kind", ["<u2", "<f4", ">f4"])
def test_tiff_in_which_white_is_zero_is_no_negative(told, kind):
    """Case 4: Pillow turns those of 8 bits only."""
    data = tiff(np.array([0, 1024, 4095], kind), photometric=0)
    assert row_of(images.load(data, told[1])) == [255, 192, 0]


def test_palette_with_an_alpha_of_its_own_is_laid_on_white():
    """Case 4: what a transparent entry hides is not shown."""
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 9, 255, 0, 255], "RGBA")
    image.putpixel((1, 0), 1)
    assert row_of(images.load(image)) == [255, 9]
    assert images.load(image).getpixel((0, 0)) == (255, 255, 255)


def test_colours_of_floats_are_called_by_their_name():
    """Case 4: Pillow reads no colours of 32 bits each."""
    data = tiff(np.zeros(3, "<f4"))
    colours = data.replace(
        struct.pack("<HHLL", 277, 4, 1, 1), struct.pack("<HHLL", 277, 4, 1, 3)
    )
    with pytest.raises(ValueError, match="a torn TIFF, or of an unusual kind; save it"):
        images.load(colours)


@pytest.mark.parametrize(
    ("values", "wanted", "scaled"),
    [
        ([0, 0.5, 1], [0, 127, 255], "0 to 1, scaled as 0 to 1"),
        ([0, 0.5, 1.02], [0, 42, 86], "0 to 1.02, scaled as 0 to 3"),
        ([0, 100, 4000], [0, 6, 249], "0 to 4000, scaled as 0 to 4095"),
        ([-1024, 0, 1024], [0, 127, 255], "-1024 to 1024, scaled as -1024 to 1024"),
        ([0, np.inf, 1], [0, 255, 255], "0 to 1, scaled as 0 to 1"),
        ([np.nan, -np.inf, 1], [0, 0, 255], "0 to 1, scaled as 0 to 1"),
        ([0, 1e38, 3e38], [0, 74, 224], "0 to 3e+38, scaled as 0 to 3.40282e+38"),
    ],
)
def test_floats_are_scaled_and_that_is_said(told, values, wanted, scaled):
    """Case 4: of 0 to 1 they came out black."""
    said, tell = told
    for data in (grey(values, np.float32), encoded(grey(values, np.float32), "TIFF")):
        assert row_of(images.load(data, tell)) == wanted
    assert said == [f"greys of {scaled}"] * 2


def test_signed_greys_begin_at_the_least(told):
    """Case 4: a scanner's, where air is -1000."""
    data = encoded(grey([-1000, 0, 1000], np.int32), "TIFF")
    assert row_of(images.load(data, told[1])) == [0, 127, 255]


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.int32])
def test_black_picture_is_black(kind):
    """Case 4: and nothing is divided by zero."""
    assert row_of(images.load(grey([0, 0], kind))) == [0, 0]


@pytest.mark.parametrize(("most", "dark"), [(4095, True), (65535, False)])
def test_dark_colours_of_16_bits_are_told(told, most, dark):
    """Case 4: Pillow has thrown their lower bits away, so they cannot be scaled."""
    line = np.array([0, 0, 0, most, most, most], ">u2").tobytes()
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(b"\0" + line)) + chunk(b"IEND", b"")
    said, tell = told
    assert row_of(images.load(data, tell)) == [0, most >> 8]
    assert [one.startswith("of 16 bits a colour") for one in said] == [True] * dark


def chunk(name: bytes, body: bytes) -> bytes:
    """A part of a PNG."""
    check = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + check


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_what_is_transparent_is_white_in_every_mode(mode):
    """Case 4: where alpha is multiplied in, too."""
    assert row_of(images.load(Image.new(mode, (2, 1)))) == [255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_colour_that_stands_for_nothing_is_white(mode):
    """Case 4: in a PNG, one colour may be said to be transparent."""
    image = Image.new(mode, (2, 1))
    if mode == "P":
        image.putpalette([0, 0, 0, 9, 9, 9])
    image.putpixel((1, 0), (9, 9, 9) if mode == "RGB" else 1)
    nothing = (0, 0, 0) if mode == "RGB" else 0
    shown = row_of(images.load(encoded(image, "PNG", transparency=nothing)))
    assert shown == [255, {"1": 255, "L": 1}.get(mode, 9)]


def test_inverted_inks_marked_by_adobe_are_turned_back():
    """Case 4: a JPEG of CMYK stores what is not printed."""
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    assert b"Adobe" in data
    red, green, blue = images.load(data).getpixel((8, 8))
    assert red > 200 and green < 60 and blue < 60


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "HSV", "CMYK"])
def test_white_of_other_colour_spaces_is_white(mode):
    """Case 4."""
    white = {"YCbCr": (255, 128, 128), "LAB": (255, 128, 128), "HSV": (0, 0, 255)}
    image = Image.new(mode, (2, 1), white.get(mode, (0, 0, 0, 0)))
    stored = image if mode == "HSV" else encoded(image, "TIFF")
    assert min(row_of(images.load(stored))) >= 253


# Case 5.


@pytest.fixture(scope="module")
def stock():
    """A twin of each family, with the stock processor of the real models."""
    keys = ("llava-1.5-7b", "instructblip-vicuna-7b", "qwen2.5-vl-3b")
    return {key: twins.wrap(key) for key in keys}


TINY = [(332, 27), (27, 332), (1, 1), (2, 1), (1, 3), (300, 3), (800, 4), (4, 4)]


@pytest.mark.parametrize("size", TINY)
def test_picture_that_the_processor_takes_is_looked_at(stock, size):
    """Case 5: however small; its crops are, too."""
    noise = Image.effect_noise(size, 200)
    for vlm in stock.values():
        view = vlm.look(noise)
        box = select_box(view.importance(QUESTION), size, vlm.crop_px)
        for crop in (box, Box(0, 0, 1, 1)):
            assert view.ask(QUESTION, crop, 1).box == crop


@pytest.mark.parametrize("size", [(300, 1), (1, 300), (4020, 20)])
def test_picture_longer_than_the_processor_takes_is_refused_or_padded(stock, size):
    """Case 5: Qwen's takes one side at most 200 times the other; the others do not."""
    image = Image.new("RGB", size)
    with pytest.raises(ValueError, match=f"image of {size[0]}×{size[1]} .*200 times"):
        stock["qwen2.5-vl-3b"].look(image)
    stock["qwen2.5-vl-3b"].look(image, fit="pad")
    stock["llava-1.5-7b"].look(image)
    stock["instructblip-vicuna-7b"].look(image)


def test_crop_longer_than_the_processor_takes_is_refused(stock):
    """Case 5: before the processor says it in its own words."""
    view = stock["qwen2.5-vl-3b"].look(Image.new("RGB", (300, 40)))
    with pytest.raises(ValueError, match="image of 300×1 .*200 times"):
        view.ask(QUESTION, Box(0, 0, 300, 1))


def test_picture_is_not_cut_into_a_tile_a_pixel():
    """Case 5: the rule for high resolution would make 178 million tiles."""
    with pytest.raises(ValueError, match="image of 178000000×1 .*200 times"):
        images.tile((178_000_000, 1))


# Case 28.


def test_picture_is_loaded_from_whatever_holds_its_bytes(photo, tmp_path):
    """Case 28: a path, bytes, a file that is open, at its end even."""
    path = tmp_path / "a.png"
    photo.save(path)
    data = path.read_bytes()
    stream = io.BytesIO(data)
    stream.read()
    with path.open("rb") as opened, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(data)
        every = [path, str(path), data, bytearray(data), memoryview(data)]
        for source in [*every, stream, opened, spooled, Once(data)]:
            assert (np.asarray(images.load(source)) == np.asarray(photo)).all()
        assert not stream.closed and not opened.closed


class Once(io.RawIOBase):
    """A stream that cannot go back, as a server's answer."""

    def __init__(self, data):
        self.left = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, into):
        return self.left.readinto(into)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("https://example.org/a.png", "got 'https://example.org/a.png'; download"),
        ("s3://bucket/a.png", "got 's3://bucket/a.png'; download it"),
        ("data:image/png;base64,iVBORw0", "got 'data:image/png;base64,iVBORw0'"),
        (torch.zeros(3, 4, 5), "got tensor"),
        ([[0, 1], [2, 3]], r"got \[\[0, 1\]"),
        (None, "got None"),
        (7, "got 7"),
        ("", "got ''"),
    ],
)
def test_what_is_no_picture_is_refused_with_advice(source, said):
    """Case 28."""
    with pytest.raises(ValueError, match=rf"an image is a path.*{said}"):
        images.load(source)


def test_answer_refuses_an_address_in_one_line(vicrop):
    """Case 28: the shell's path of it has lost a stroke."""
    status, _, err = vicrop("answer", "https://example.org/a.png", QUESTION)
    assert status == 2 and err.count("\n") == 1 and "download it" in err


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 40, 50), np.uint8), r"got shape \(3, 40, 50\); .*channels last"),
        (np.zeros((1, 40, 50, 3), np.uint8), "of several give one"),
        (np.zeros((40, 50), bool), "got bool; multiply it by 255 and use .astype"),
        (
            np.zeros((40, 50, 3), np.float32),
            "float32; multiply it by 255 if 1 is white",
        ),
        (np.zeros((40, 50, 3), np.int64), "got int64; scale it and use .astype"),
    ],
)
def test_array_of_another_meaning_is_refused_with_what_to_do(array, said):
    """Case 28."""
    with pytest.raises(ValueError, match=said):
        images.load(array)


def test_text_in_place_of_bytes_is_refused():
    """Case 28: a file opened without "rb"."""
    with pytest.raises(ValueError, match="image is not a readable image"):
        images.load(io.StringIO("picture"))


def test_model_looks_at_bytes(vlm, photo):
    """Case 28."""
    assert vlm.look(encoded(photo, "PNG")).image.size == (30, 20)
    assert package.images.load(photo).size == (30, 20)
