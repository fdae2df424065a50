import json

import pytest

from data_prep import treebench
from data_prep.originals.rows import Row
from data_prep.originals.search import Originals
from data_prep.unified.build import build
from tests.data_prep.originals import FOLDER
from tests.fixtures.makers import draw
from tests.fixtures.makers.treebench import QUESTIONS, picture, row, tsv
from vicrop import scoring
from vicrop.scoring import mcq


def items_of(folder):
    return treebench.DATASET.items(Originals([folder]))


@pytest.mark.parametrize("name", ["treebench", "treebench--together"])
def test_question_has_as_many_options_as_are_not_empty(name):
    for item, made in zip(items_of(FOLDER / name), QUESTIONS, strict=True):
        question, options, answer, category, boxes = made
        assert item.short_question == question
        assert list(item.options) == list(options)
        assert list(mcq.options(item.question).values()) == list(options)
        assert item.labels == [answer]
        assert item.meta["category"] == category
        assert [list(box) for box in item.boxes] == boxes


def test_pictures_are_those_of_the_rows(tmp_path):
    originals = Originals([FOLDER / "treebench"])
    made = build(treebench.DATASET, originals, tmp_path).folder
    for number, found in enumerate(json.loads((made / "data.json").read_text())):
        path = made / "images" / found["image_path"]
        assert path.read_bytes() == picture(number)


def test_right_letter_and_right_text_score():
    item = items_of(FOLDER / "treebench")[1]
    for said, score in (("F", 1), ("It cannot be seen", 1), ("A", 0)):
        assert scoring.score("treebench", said, item.labels, item.question) == score


def spoilt(tmp_path, **fields):
    draw.write(tmp_path / "TreeBench.tsv", tsv([row(0) | fields, row(1)]))
    return items_of(tmp_path)


@pytest.mark.parametrize(
    "told_as, boxes",
    [
        ("[]", []),
        ("", []),
        ("[(3, 4, 5, 6)]", [(3, 4, 5, 6)]),
        ("[3, 4, 5.5, 6]", [(3, 4, 5.5, 6)]),
        ("[[3, 4, 5, 6], [1, 2, 3, 4]]", [(3, 4, 5, 6), (1, 2, 3, 4)]),
    ],
)
def test_boxes_are_a_list_as_text(tmp_path, told_as, boxes):
    assert list(spoilt(tmp_path, target_instances=told_as)[0].boxes) == boxes


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"target_instances": "[[3, 4"}, "target_instances: not a printed"),
        ({"target_instances": "none"}, "target_instances: not a printed"),
        ({"target_instances": "[[3, 4, 1, 9]]"}, r"is it \[x, y, width, height\]"),
        (
            {"target_instances": "[[3, 4, nan, 9]]"},
            "target_instances: not a printed",
        ),
        ({"target_instances": "[[3, 4, 1e999, 9]]"}, "is not four finite numbers"),
        ({"target_instances": "[[3, 4, 9]]"}, "is not four finite numbers"),
        ({"target_instances": '{"box": 1}'}, "field target_instances"),
        ({"target_instances": "7"}, "field target_instances"),
        ({"answer": "E"}, "field answer: 'E' is no letter of its options, A, B, C, D"),
        ({"answer": ""}, "field answer: .*at least 1"),
        ({"C": ""}, "options are A, B, D, expected A, B, … without a gap"),
        ({"B": "", "C": "", "D": ""}, "options are A, expected"),
        ({"question": ""}, "field question: .*at least 1"),
        ({"index": 1}, "question '1' is also .* row 0"),
    ],
)
def test_row_that_is_wrong_is_named(tmp_path, fields, told):
    with pytest.raises(ValueError, match=told) as e:
        spoilt(tmp_path, **fields)
    assert "TreeBench.tsv row" in str(e.value)
    assert "\n" not in str(e.value)


def test_row_without_any_options_says_where_they_may_be():
    with pytest.raises(ValueError, match="or multi-choice options: options are none"):
        treebench.options_of(Row("file row 3", {"question": "Which?"}))


def test_box_outside_its_picture_is_named_and_nothing_is_left(tmp_path):
    file = tmp_path / "in" / "TreeBench.tsv"
    draw.write(file, tsv([row(0) | {"target_instances": "[[200, 100, 300, 120]]"}]))
    with pytest.raises(ValueError, match="row 0: box .* leaves its picture of 240×160"):
        build(
            treebench.DATASET,
            Originals([file.parent]),
            tmp_path / "out",
        )
    assert not (tmp_path / "out" / "treebench").exists()


def test_torn_table_is_named(tmp_path):
    whole = tsv([row(0), row(1)]).decode()
    cut = whole.rindex("\t", 0, whole.rindex("\t"))
    (tmp_path / "TreeBench.tsv").write_text(whole[:cut])
    with pytest.raises(ValueError, match="row 1 .*number of fields.*fetch it again"):
        items_of(tmp_path)


def test_text_that_is_not_utf8_is_named(tmp_path):
    whole = tsv([row(0) | {"question": "Caf\xe9?"}]).decode().encode("latin-1")
    (tmp_path / "TreeBench.tsv").write_bytes(whole)
    with pytest.raises(ValueError, match="TreeBench.tsv is not UTF-8 text"):
        items_of(tmp_path)
