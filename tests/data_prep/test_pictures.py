import io
import struct
import warnings
import zlib

import pytest
from PIL import Image

from data_prep.dataset import Item
from data_prep.originals.parquet import ParquetCells
from data_prep.originals.search import Originals
from data_prep.unified import pictures
from tests.data_prep.handmade import one_line, tree
from tests.data_prep.test_archives import spoilt, tarred, zipped
from tests.fixtures.makers.draw import picture, write, write_parquet

SIZE = (40, 30)


def asked(name, where="a.json row 5", **changes):
    plain = {"where": where, "key": name, "question": "q?", "labels": ["a"]}
    return Item(**(plain | {"picture": f"images/{name}", "image": name} | changes))


def written(tmp_path, items):
    originals = Originals([tmp_path / "in"])
    return pictures.write(items, originals, tmp_path / "out")


@pytest.fixture
def source(tmp_path):
    """Writes a picture's bytes among the originals."""

    def made(data, name="a.jpg"):
        write(tmp_path / "in" / "images" / name, data)
        return tmp_path

    return made


def test_picture_keeps_its_bytes(source):
    folder = source(picture(1, SIZE))
    [made] = written(folder, [asked("a.jpg")])
    assert (made.name, made.size) == ("a.jpg", SIZE)
    assert (folder / "out" / "a.jpg").read_bytes() == picture(1, SIZE)


@pytest.mark.parametrize(
    "kind, suffix",
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif")],
)
def test_name_without_a_suffix_gets_its_format_s(source, kind, suffix):
    folder = source(picture(1, SIZE, kind=kind))
    [made] = written(folder, [asked("a.jpg", image="deep/b")])
    assert made.name == f"deep/b.{suffix}"
    assert (folder / "out" / made.name).is_file()


def test_jpeg_with_a_second_picture_behind_it_is_one(source):
    out = io.BytesIO()
    frames = [Image.new("RGB", SIZE, color) for color in ("red", "blue")]
    frames[0].save(out, "MPO", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(out.getvalue())) as image:
        assert image.format == "MPO"
    [made] = written(source(out.getvalue()), [asked("a.jpg", image="a")])
    assert (made.name, made.size) == ("a.jpg", SIZE)


def test_picture_that_several_ask_about_is_written_once(source):
    source(picture(1, SIZE))
    folder = source(picture(1, SIZE), "b.jpg")
    made = written(folder, [asked("a.jpg"), asked("b.jpg"), asked("a.jpg")])
    assert [one.name for one in made] == ["a.jpg"] * 3
    assert list(tree(folder / "out")) == ["a.jpg"]


def test_two_pictures_of_one_name_are_both_kept(source):
    source(picture(1, SIZE))
    folder = source(picture(2, SIZE), "b.jpg")
    first, second = written(folder, [asked("a.jpg"), asked("b.jpg", image="a.jpg")])
    assert first.name == "a.jpg"
    assert second.name == f"a-{second.digest[:12]}.jpg"
    assert (folder / "out" / second.name).read_bytes() == picture(2, SIZE)


def test_pictures_of_folders_archives_and_cells_stand_in_the_items_order(tmp_path):
    shown = {name: picture(n, SIZE) for n, name in enumerate("abcdef")}
    write(tmp_path / "in" / "a.jpg", shown["a"])
    zipped(tmp_path / "in" / "z.zip", [(f"x/{n}.jpg", shown[n]) for n in "bc"])
    tarred(tmp_path / "in" / "t.tar.gz", [(f"x/{n}.jpg", shown[n]) for n in "ed"])
    write_parquet(tmp_path / "in" / "p.parquet", [{"image": shown["f"]}])
    [cell] = ParquetCells.of(
        Originals([tmp_path / "in"]).need_all("p.parquet"), "image"
    )
    items = [asked(f"{n}.jpg") for n in "fdbeca"]
    items[0] = asked("f.jpg", picture=cell)
    made = written(tmp_path, items)
    assert [one.name[0] for one in made] == list("fdbeca")
    assert tree(tmp_path / "out") == {f"{n}.jpg": shown[n] for n in "abcdef"}


def test_which_of_two_names_a_picture_gets_is_the_same_every_time(tmp_path):
    for n in range(6):
        name = tmp_path / "in" / f"{n}.parquet"
        write_parquet(name, [{"image": picture(0, SIZE)}])
    entries = Originals([tmp_path / "in"]).need_all("*.parquet")
    cells = ParquetCells.of(entries, "image")[::-1]
    items = [asked(f"{n}.jpg", picture=cell) for n, cell in enumerate(cells)]
    assert {made.name for made in written(tmp_path, items)} == {"0.jpg"}


def bomb():
    """A PNG of a few bytes that claims 30,000 × 30,000 pixels."""

    def chunk(kind, data):
        sum_ = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_)

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def tiff():
    return picture(1, SIZE, kind="TIFF")


@pytest.mark.parametrize(
    "data, told",
    [
        (picture(1, (200, 200))[:1500], r"does not decode \(.*truncated"),
        (picture(1, SIZE, kind="PNG")[:60], "does not decode"),
        (picture(1, SIZE)[:20], "(is no picture|does not decode)"),
        (b"<!DOCTYPE html><p>404", r"is no picture \(it begins with b'<!DOCTYPE html>"),
        (b"", r"is no picture \(it begins with b''\)"),
        (tiff(), "is no picture .* expected one of JPEG, PNG, WEBP, GIF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture"),
        (bomb(), "does not decode .*exceeds limit"),
    ],
    ids="cut-jpeg cut-png head page empty tiff eps bomb".split(),
)
def test_picture_that_cannot_be_used_is_named_with_its_row(source, data, told):
    folder = source(data)
    with pytest.raises(ValueError, match=told) as e:
        written(folder, [asked("a.jpg")])
    line = one_line(e)
    assert line.startswith("a.json row 5: picture ") and "in/images/a.jpg" in line
    assert "fetch it again" in line
    assert tree(folder / "out") == {}


def test_spoilt_picture_is_written_or_named_and_nothing_else(source, tmp_path, rng):
    wholes = [picture(1, SIZE, kind=kind) for kind in pictures.FORMATS]
    named = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(400):
            data = spoilt(wholes[number % 4], rng)
            try:
                pictures.decoded(data, "a.jpg")
            except ValueError as error:
                named += 1
                assert str(error).startswith("a.jpg ") and "\n" not in str(error)
    assert 20 < named < 400


def test_size_is_that_of_the_upright_picture(source):
    exif = Image.Exif()
    exif[0x0112] = 8
    out = io.BytesIO()
    Image.new("RGB", SIZE).save(out, "JPEG", exif=exif)
    [made] = written(source(out.getvalue()), [asked("a.jpg")])
    assert made.size == SIZE[::-1]


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/a.jpg", "a//b.jpg", "./a.jpg", "C:a", "a\\b", "x\0"]
)
def test_name_that_leads_out_is_named(source, name):
    folder = source(picture(1, SIZE))
    before = tree(folder)
    with pytest.raises(ValueError, match="row 5: picture name .* is no path") as e:
        written(folder, [asked("a.jpg", image=name)])
    one_line(e)
    assert {k: v for k, v in tree(folder).items() if k != "out"} == before


def test_missing_picture_is_named_before_any_is_written(source):
    folder = source(picture(1, SIZE))
    with pytest.raises(FileNotFoundError, match="row 5: no picture images/b.jpg in"):
        written(folder, [asked("a.jpg"), asked("b.jpg")])
    assert not (folder / "out").exists()
