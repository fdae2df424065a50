import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from data_prep.dataset import DataSet, Item, Layout
from data_prep.originals.search import Originals
from data_prep.unified import build
from tests.data_prep.handmade import (
    SIZE,
    fails,
    make,
    one_line,
    question,
    rows_of,
    tree,
    write_originals,
    write_rows,
)
from tests.fixtures.makers import draw
from vicrop.run import datasets


def test_folder_has_rows_pictures_and_a_note_and_nothing_else(root, originals):
    built = make(root, originals)
    assert built.fresh
    assert sorted(tree(root)) == [
        "textvqa",
        "textvqa/data.json",
        "textvqa/images",
        "textvqa/images/image0.jpg",
        "textvqa/images/image1.jpg",
        "textvqa/prep.json",
    ]
    assert rows_of(built) == [
        {
            "id": "0000000000",
            "question": "what does the sign say?",
            "labels": ["stop"] * 10,
            "image_path": "image0.jpg",
            "boxes": [[10, 8, 30, 12]],
            "meta": {"question_id": 34602},
        },
        {
            "id": "0000000001",
            "question": "what does the sign say?",
            "labels": ["stop"] * 10,
            "image_path": "image1.jpg",
            "meta": {"question_id": 34603},
        },
    ]
    assert len(datasets.load(str(built.folder))) == 2


def test_note_says_what_was_read_made_and_published(root, originals):
    made = make(root, originals, fetched={"a.json": "somewhere"})
    note = json.loads((made.folder / "prep.json").read_text())
    assert note == made.note
    names = [source["name"] for source in note["sources"]]
    assert names == ["TextVQA_0.5.1_val.json", "train-00000-of-00001.parquet"]
    assert note["counts"] == {
        "questions": 2,
        "images": 2,
        "with_boxes": 1,
        "questions_in_source": 2,
        "images_in_source": 2,
        "questions_published": 5000,
        "images_published": 3166,
    }
    assert note["fetched"] == {"a.json": "somewhere"}
    assert note["stock"]["files"] == 2
    assert set(note["versions"]) == set(build.PACKAGES)


def test_second_time_nothing_is_made(root, originals, monkeypatch):
    first = make(root, originals)
    monkeypatch.setattr(build, "_fill", lambda *_: pytest.fail("made again"))
    again = make(root, originals)
    assert not again.fresh and again.note == first.note


def test_same_originals_elsewhere_make_the_same_bytes(root, originals, tmp_path):
    make(root, originals)
    shutil.copytree(originals, tmp_path / "copy")
    other = make(tmp_path / "other", tmp_path / "copy")
    assert tree(other.folder) == tree(root / "textvqa")
    assert not make(root, tmp_path / "copy").fresh


def test_pictures_that_were_mended_are_taken_if_asked_to(root, originals):
    make(root, originals)
    draw.write(originals / "train_images" / "image0.jpg", draw.picture(9, SIZE))
    assert not make(root, originals).fresh  # sums of annotations only are compared
    made = make(root, originals, replace=True)
    written = (made.folder / "images" / "image0.jpg").read_bytes()
    assert made.fresh and written == draw.picture(9, SIZE)


@pytest.mark.parametrize(
    "options, told", [({"limit": 1}, "limit"), ({"seed": 3}, "seed")]
)
def test_other_options_replace_only_if_asked_to(root, originals, options, told):
    make(root, originals)
    fails(f"is there already, with other {told}; add", root, originals, **options)
    made = make(root, originals, replace=True, **options)
    assert made.fresh and made.note[told] == options[told]


def test_other_originals_replace_only_if_asked_to(root, originals):
    make(root, originals)
    write_rows(originals, [question(0, question="why?"), question(1)])
    fails("with other sources", root, originals)
    assert rows_of(make(root, originals, replace=True))[0]["question"] == "why?"


def spoil_rows(folder):
    (folder / "data.json").write_text("[]")


def spoil_pictures(folder):
    (folder / "images" / "image0.jpg").unlink()


def cut_picture(folder):
    (folder / "images" / "image0.jpg").write_bytes(b"")


def spoil_note(folder):
    (folder / "prep.json").write_text("{")


@pytest.mark.parametrize("spoil", [spoil_rows, spoil_pictures, cut_picture, spoil_note])
def test_folder_that_was_changed_is_not_taken_for_whole(root, originals, spoil):
    first = tree(make(root, originals).folder)
    spoil(root / "textvqa")
    fails("is there already, with .*--replace", root, originals)
    make(root, originals, replace=True)
    assert tree(root / "textvqa") == first


def test_folder_that_was_not_made_by_prep_is_never_replaced(root, originals):
    draw.write(root / "textvqa" / "mine.txt", b"years of work")
    fails("not made by .*move it away", root, originals)
    fails("not made by .*move it away", root, originals, replace=True)


def test_originals_in_place_of_the_data_set_are_not_replaced(root):
    write_originals(root / "textvqa" / "raw")
    draw.write(root / "textvqa" / "prep.json", b"{}")
    fails("lies in .*move it away", root, root / "textvqa" / "raw", replace=True)


def test_subset_is_the_one_that_the_runs_would_take(root, tmp_path):
    folder = write_originals(tmp_path / "originals", 8)
    made = make(root, folder, limit=3, seed=5)
    numbers = [int(row["id"]) for row in rows_of(made)]
    assert numbers == datasets.subset(8, 3, 5)
    assert len(list((made.folder / "images").iterdir())) == 3
    assert made.note["counts"]["questions_in_source"] == 8


# What is wrong with the originals


def test_missing_layout_names_the_files_of_each(root, tmp_path):
    (tmp_path / "empty").mkdir()
    told = fails("holds no original files", root, tmp_path / "empty", error=OSError)
    assert "TextVQA_*_val.json" in told and "validation-*.parquet" in told


def test_question_that_is_there_twice_is_named_with_both_rows(root, tmp_path):
    rows = [question(0), question(1), question(0)]
    folder = write_originals(tmp_path / "originals", 2, rows)
    told = fails("row 2: question '34602' is also", root, folder)
    assert "val.json row 0" in told


def test_missing_picture_is_named_with_its_row(root, originals):
    (originals / "train_images" / "image1.jpg").unlink()
    told = fails("no picture train_images/image1.jpg", root, originals, error=OSError)
    assert "val.json row 1" in told and "another --source" in told


@pytest.mark.parametrize("image", ["../../x", "/x", "a\\..\\x", "a\0b", "n" * 300])
def test_picture_name_that_leads_out_is_named(root, tmp_path, image):
    folder = write_originals(tmp_path / "originals", 1, [question(image_id=image)])
    name = Path(image.replace("\0", "")).name
    if "\0" in image or len(image) > 200:
        packed = draw.picture(0, SIZE)
        from tests.data_prep.test_archives import tarred

        tarred(folder / "a.tar", [(f"{image[:90]}.jpg", packed)], "w")
    else:
        draw.write(folder / f"{name}.jpg", draw.picture(0, SIZE))
    before = tree(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match="row 0: ") as e:
        make(root, folder)
    one_line(e)
    (root).exists() and shutil.rmtree(root)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("spill, fine", [(20, True), (21, False)])
def test_a_large_picture_s_box_may_leave_it_by_a_hundredth(spill, fine):
    if fine:
        assert build._inside((0, 0, 2000 + spill, 9), (2000, 1500), "row")[2] == 2000
    else:
        with pytest.raises(ValueError, match="leaves its picture of 2000×1500 pixels"):
            build._inside((0, 0, 2000 + spill, 9), (2000, 1500), "row")


@pytest.mark.parametrize("spill", [0.5, 1, 2])
def test_box_that_leaves_its_picture_by_a_little_is_clipped(root, tmp_path, spill):
    box = [-spill, -spill, SIZE[0] + 2 * spill, SIZE[1] + 2 * spill]
    folder = write_originals(tmp_path / "originals", 1, boxes={34602: box})
    [row] = rows_of(make(root, folder))
    assert row["boxes"] == [[0, 0, *SIZE]]


@pytest.mark.parametrize(
    "box",
    [
        [-3.0, 0, 10, 10],
        [0.0, -3, 10, 10],
        [0.0, 0, SIZE[0] + 3, 10],
        [0.0, 0, 10, SIZE[1] + 3],
        [40.0, 10, 60, 20],  # were (left, top, right, bottom) meant?
    ],
)
def test_box_that_leaves_its_picture_by_more_is_named(root, tmp_path, box):
    folder = write_originals(tmp_path / "originals", 1, boxes={34602: box})
    told = fails("row 0: box .* leaves its picture of 64×48 pixels by", root, folder)
    assert "[left, top, right, bottom]" in told


def test_box_that_is_clipped_to_nothing_is_named(root, tmp_path):
    box = [SIZE[0] + 0.5, 0, 1, 10]
    folder = write_originals(tmp_path / "originals", 1, boxes={34602: box})
    fails("row 0: box .* leaves its picture of 64×48 pixels by 1.5", root, folder)


def turned(path, size):
    """A picture that is stored lying and shown upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", size).save(path, exif=exif)


def test_box_of_a_turned_picture_is_of_the_upright_one(root, tmp_path):
    folder = write_originals(tmp_path / "originals", 1, boxes={34602: [0.0, 50, 40, 9]})
    turned(folder / "train_images" / "image0.jpg", SIZE)
    [row] = rows_of(make(root, folder))
    assert row["boxes"] == [[0, 50, 40, 59]]
    turned(folder / "train_images" / "image0.jpg", SIZE[::-1])
    fails("leaves its picture of 64×48", root, folder, replace=True)


def item(**changes):
    plain = {"where": "a.json row 7", "key": "1", "question": "q?", "labels": ["a"]}
    return Item(**(plain | {"picture": "image0.jpg", "image": "a"} | changes))


def made_of(items):
    layout = Layout("made", ("*.json",), lambda originals, seed: items)
    return DataSet("mine", "Mine", None, None, "none", (layout,))


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"question": " "}, "field question: .*got ' '"),
        ({"labels": []}, "field labels: "),
        ({"labels": ["\ud800"]}, ": cannot be JSON in UTF-8"),
        ({"meta": {"x": float("nan")}}, ": cannot be JSON in UTF-8"),
        ({"boxes": [(0, 0, float("nan"), 9)]}, "field boxes.*: .*all finite"),
        ({"boxes": [(9, 9, 3, 3)]}, "field boxes.*: .*is not .left, top"),
        ({"image": "a/../b"}, ": picture name 'a/../b.jpg' is no path"),
        ({"image": "\udcff"}, ": picture name .* is no path"),
    ],
)
def test_row_that_would_not_be_read_again_is_named(root, originals, changes, told):
    with pytest.raises(ValueError, match=f"a.json row 7 ?{told}") as e:
        build.build(made_of([item(**changes)]), Originals([originals]), root)
    one_line(e)
    assert tree(root) == {}


def test_originals_without_a_question_are_named(root, originals):
    with pytest.raises(ValueError, match="holds no question of mine") as e:
        build.build(made_of([]), Originals([originals]), root)
    one_line(e)
