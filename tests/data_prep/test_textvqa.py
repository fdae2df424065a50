import json

import numpy as np
import pytest

from data_prep import textvqa
from data_prep.originals.fields import from_ltrb, from_xywh
from data_prep.originals.search import Originals
from tests.data_prep.handmade import (
    NAME,
    one_line,
    question,
    write_boxes,
    write_originals,
    write_rows,
)
from tests.data_prep.originals import FOLDER
from tests.fixtures.makers.draw import write_parquet

LAYOUTS = ("textvqa", "textvqa--zip", "textvqa--parquet")


def items_of(folder):
    return textvqa.DATASET.items(Originals([folder]))


def fails(match, folder):
    """The error is one line."""
    with pytest.raises(ValueError, match=match) as e:
        items_of(folder)
    return one_line(e)


@pytest.fixture
def spoil(tmp_path):
    """Writes two questions, the second changed; the folder."""

    def made(**changes):
        rows = [question(0), question(1, **changes)]
        return write_originals(tmp_path, 2, rows)

    return made


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_tells_the_same(layout):
    def told(item):
        return item.key, item.question, item.labels, item.image, item.boxes, item.meta

    wanted = list(map(told, items_of(FOLDER / LAYOUTS[0])))
    assert list(map(told, items_of(FOLDER / layout))) == wanted


def test_questions_keep_the_order_and_the_words_of_the_original():
    file = FOLDER / "textvqa" / NAME
    rows = json.loads(file.read_text())["data"]
    items = items_of(FOLDER / "textvqa")
    assert [item.question for item in items] == [row["question"] for row in rows]
    assert [list(item.labels) for item in items] == [row["answers"] for row in rows]
    assert [item.meta["question_id"] for item in items] == [34602, 34603, 34604, 34605]


def test_boxes_are_joined_by_question_and_told_by_their_sides():
    boxes = {item.key: item.boxes for item in items_of(FOLDER / "textvqa")}
    assert boxes == {
        "34602": [(60, 40, 84, 52)],
        "34603": [],
        "34604": [(16, 20.5, 166, 120.5)],
        "34605": [],
    }


def test_questions_without_the_boxes_file_have_no_boxes(tmp_path):
    items = items_of(write_originals(tmp_path))
    assert [item.boxes for item in items] == [[], []]


@pytest.mark.parametrize("count", [0, 1, 9, 11])
def test_another_number_of_answers_than_ten_is_named(spoil, count):
    told = "val.json row 1 field answers: .* at (least|most) 10 items"
    fails(told, spoil(answers=["a"] * count))


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"answers": None}, "field answers: is missing; is this another split"),
        ({"answers": [""] * 10}, "field answers: .*as in the test split; use val"),
        ({"answers": "stop"}, "field answers: .*got 'stop'"),
        ({"answers": ["a"] * 9 + [1]}, "field answers.9: .*string.*got '1'"),
        ({"question": None}, "field question: is missing"),
        ({"question": ""}, "field question: "),
        ({"image_id": None}, "field image_id: is missing"),
        ({"image_id": 7}, "field image_id: .*string.*got '7'"),
        ({"question_id": "x"}, "field question_id: .*integer.*got 'x'"),
        ({"question_id": 1.5}, "field question_id: .*got '1.5'"),
    ],
)
def test_field_that_is_wrong_is_named_with_its_row(spoil, changes, told):
    line = fails(f"val.json row 1 {told}", spoil(**changes))
    assert line.startswith("/")


def test_question_that_is_there_twice_is_named(spoil):
    fails("row 1: question '34602' is also .*row 0", spoil(question_id=34602))


@pytest.mark.parametrize("rows", [{}, {"a": 1}, [], "rows", None])
def test_rows_that_are_no_list_are_named(tmp_path, rows):
    write_rows(tmp_path, rows)
    fails("val.json must hold a list under 'data'", tmp_path)


def test_row_that_is_no_object_is_named(tmp_path):
    write_rows(tmp_path, [question(0), ["a"]])
    fails("val.json row 1 field .the row itself.", tmp_path)


def test_torn_annotation_is_named(tmp_path):
    file = write_rows(tmp_path, [question(n) for n in range(9)])
    file.write_bytes(file.read_bytes()[:500])
    fails("val.json is not whole JSON .*fetch it again", tmp_path)


def test_annotation_that_is_no_utf_8_is_named(tmp_path):
    file = write_rows(tmp_path, [question(0)])
    file.write_bytes(file.read_bytes().replace(b"sign", b"s\xefgn"))
    fails(r"val.json is not UTF-8 text \(byte \d+\)", tmp_path)


@pytest.mark.parametrize(
    "box, told",
    [
        ([float("nan"), 1, 2, 3], "is not four finite numbers"),
        ([1, 2, float("inf"), 3], "is not four finite numbers"),
        ([1.0, 2, 3], "is not four finite numbers"),
        ([1.0, 2, 3, 4, 5], "is not four finite numbers"),
        ([9.0, 9, 0, 3], "with a width and a height above 0"),
        ([9.0, 9, 4, -3], "with a width and a height above 0"),
    ],
)
def test_box_that_is_wrong_is_named_with_its_row(spoil, box, told):
    folder = spoil()
    write_boxes(folder, {34602: [1.0, 2, 3, 4], 34603: box})
    fails(f"train-0.*parquet row 1 field bbox: .*{told}", folder)


def test_question_with_two_boxes_is_named(spoil):
    folder = spoil()
    rows = [{"dataset_id": "34602", "bbox": [1.0, 2, 3, 4]}] * 2
    write_parquet(folder / "train-0.parquet", rows)
    fails("train-0.parquet row 1 field dataset_id: '34602' has a box already", folder)


def test_box_of_no_question_is_named(spoil):
    folder = spoil()
    write_boxes(folder, {34602: [1.0, 2, 3, 4], 7: [1.0, 2, 3, 4]})
    fails("parquet row 1 field dataset_id: no question '7' in .*one version", folder)


def test_number_as_the_id_of_a_box_is_named(spoil):
    folder = spoil()
    write_parquet(folder / "train-0.parquet", [{"dataset_id": 1, "bbox": [1.0]}])
    fails("train-0.parquet row 0 field dataset_id: .*string", folder)


def test_training_split_of_the_mirror_is_not_taken_for_the_boxes(spoil):
    folder = spoil()
    rows = [{"question_id": 1, "question": "q?", "image": {"bytes": b""}}]
    write_parquet(folder / "data" / "train-00000-of-00020.parquet", rows)
    originals = Originals([folder])
    textvqa.DATASET.items(originals)
    assert [file["name"] for file in originals.read_files()] == [NAME]


def test_two_versions_of_the_annotation_are_named(spoil):
    folder = spoil()
    (folder / "TextVQA_0.5_val.json").write_text('{"data": []}')
    fails("TextVQA_0.5.1_val.json and .*TextVQA_0.5_val.json are different", folder)


@pytest.mark.parametrize("of", [from_xywh, from_ltrb])
@pytest.mark.parametrize("box", [[], ["1", 2, 3, 4], [None] * 4, [np.nan, 0, 1, 1]])
def test_what_is_no_box_is_named_in_either_form(of, box):
    with pytest.raises(ValueError, match="a.json row 3: .* is not four finite numbers"):
        of(box, "a.json row 3")


def test_box_in_the_other_form_is_named():
    with pytest.raises(ValueError, match=r"is it \[x, y, width, height\]\?"):
        from_ltrb([60, 40, 24, 12], "a.json row 3")
    assert from_xywh([60, 40, 24, 12], "") == (60, 40, 84, 52)
    assert from_ltrb([60, 40, 84, 52], "") == (60, 40, 84, 52)
