import json
import shutil

import numpy as np
import pytest

from data_prep import vstar
from data_prep.originals.search import Originals
from data_prep.unified.build import build
from tests.data_prep.originals import FOLDER
from tests.fixtures.makers.vstar import QUESTIONS
from vicrop import scoring
from vicrop.scoring import mcq

LAYOUTS = ("--zip", "--parquet", "--parquet-choices", "--parquet-paths")


def items_of(folder, seed=0):
    return vstar.DATASET.items(Originals([folder]), seed)


@pytest.fixture
def both(tmp_path):
    """A copy of the published folder, to be spoilt."""
    return shutil.copytree(FOLDER / "vstar", tmp_path / "vstar")


@pytest.fixture
def beside(tmp_path):
    return shutil.copytree(FOLDER / "vstar--beside", tmp_path / "beside")


def change(file, **fields):
    """Other values in the first row of a JSON or JSON lines file; None drops one."""
    first, *rest = file.read_text().splitlines()
    row = json.loads(first) | fields
    row = {key: value for key, value in row.items() if value is not None}
    file.write_text("\n".join([json.dumps(row), *rest]))


def one_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_question_is_the_original_text_and_the_short_one_its_stem():
    for item, made in zip(items_of(FOLDER / "vstar"), QUESTIONS, strict=True):
        assert item.question == made.text
        assert item.short_question == made.asked
        assert item.options == made.words
        assert list(item.labels) == [made.label] * 10
        assert item.meta["category"] == made.category


def test_boxes_of_every_target_are_joined_by_picture():
    for item, made in zip(items_of(FOLDER / "vstar"), QUESTIONS, strict=True):
        wanted = [(x, y, x + w, y + h) for x, y, w, h in made.boxes]
        assert list(item.boxes) == wanted


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_tells_the_same(layout):
    plain = items_of(FOLDER / "vstar")
    other = items_of(FOLDER / f"vstar{layout}")
    for one, two in zip(plain, other, strict=True):
        assert one.question == two.question
        assert one.short_question == two.short_question
        assert (list(one.labels), list(one.options)) == (
            list(two.labels),
            list(two.options),
        )
        assert (one.key, one.meta) == (two.key, two.meta)


def test_pictures_of_one_name_in_two_folders_stay_apart(tmp_path):
    made = build(vstar.DATASET, Originals([FOLDER / "vstar"]), tmp_path)
    for question in QUESTIONS:
        written = made.folder / "images" / question.image
        assert written.read_bytes() == question.picture


def test_other_folders_of_the_repository_are_left_out(both):
    (both / "test_questions.jsonl").unlink()
    assert {item.meta["category"] for item in items_of(both)} == {
        "direct_attributes",
        "relative_position",
    }


def test_shuffled_label_names_the_option_that_came_first():
    by_name = {made.image: made for made in QUESTIONS}
    for item in items_of(FOLDER / "vstar--beside"):
        made = by_name[item.image]
        assert sorted(item.options) == sorted(made.sentences)
        known = mcq.options(item.question)
        assert known[item.labels[0]] == made.sentences[0]
        assert scoring.score("vstar", item.labels[0], item.labels, item.question) == 1


def test_right_option_is_not_always_the_first(beside):
    source = json.loads((beside / "direct_attributes/sa_17.json").read_text())
    picture = (beside / "direct_attributes/sa_17.jpg").read_bytes()
    for number in range(200):
        stem = beside / "direct_attributes" / f"sa_{1000 + number}"
        stem.with_suffix(".json").write_text(json.dumps(source))
        stem.with_suffix(".jpg").write_bytes(picture)
    labels = [i.labels[0] for i in items_of(beside) if "/sa_1" in i.image]
    counts = np.array([labels.count(known) for known in "ABCD"])
    assert counts.min() > 30  # of about 50; five deviations below is 19


def test_order_of_options_hangs_on_seed_and_name_only(beside):
    before = {item.key: item.question for item in items_of(beside)}
    for folder in ("direct_attributes", "relative_position"):
        first = sorted((beside / folder).glob("*.json"))[0]
        first.unlink()
        del before[f"{folder}/{first.stem}"]
    assert {item.key: item.question for item in items_of(beside)} == before
    others = [
        {item.key: item.question for item in items_of(beside, seed)}
        for seed in range(1, 9)
    ]
    assert any(other != before for other in others)


def test_picture_beside_its_json_may_be_a_png(beside):
    picture = beside / "direct_attributes" / "sa_17.jpg"
    picture.rename(picture.with_suffix(".PNG"))
    names = {item.image for item in items_of(beside)}
    assert "direct_attributes/sa_17.PNG" in names


def test_question_without_its_closing_line_gets_one(both):
    text = "Which?\n(A) red\n(B) blue"
    change(both / "test_questions.jsonl", text=text, label="B")
    item = items_of(both)[0]
    # Else the authors' scorer would take the last option for the closing line.
    assert item.question.split("\n")[1:-1] == ["(A) red", "(B) blue"]
    assert item.short_question == "Which?"


def test_question_of_several_lines_keeps_them():
    stem, options = vstar.split("One.\n\nTwo?\n(A)  red \r\n(B) (dark) blue\n", "")
    assert stem == "One.\n\nTwo?"
    assert options == ["red", "(dark) blue"]


def test_questions_without_boxes_beside_them_have_none(both):
    (both / "direct_attributes" / "sa_17.json").unlink()
    found = {item.image: len(item.boxes) for item in items_of(both)}
    # Neither those of the other folder's picture of that name.
    assert found["direct_attributes/sa_17.jpg"] == 0
    assert found["relative_position/sa_17.jpg"] == 2


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"label": "E"}, "row 0 field label: 'E' is no letter of its options, A, B, "),
        ({"label": None}, "row 0 field label: is missing"),
        ({"text": "Which?"}, r"row 0 field text: options are \[\], expected"),
        ({"text": "Which?\n(A) red\n(C) blue"}, r"options are \['A', 'C'\], expected"),
        ({"image": ""}, "row 0 field image: .*at least 1"),
        ({"question_id": 4.5}, "row 0 field question_id"),
        ({"question_id": 1}, "row 1: question '1' is also .* row 0"),
    ],
)
def test_row_that_is_wrong_is_named(both, fields, told):
    change(both / "test_questions.jsonl", **fields)
    with pytest.raises(ValueError, match=told) as e:
        items_of(both)
    assert "test_questions.jsonl row" in one_line(e)


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"bbox": [[1, 2, float("nan"), 4]]}, "field bbox: .* not four finite numbers"),
        ({"bbox": [[1, 2, 3]]}, "field bbox: .* not four finite numbers"),
        ({"bbox": [[1, 2, 0, 4]]}, r"is not \[x, y, width, height\]"),
        ({"bbox": []}, "field bbox: .*at least 1"),
        ({"options": ["one"]}, "field options: .*at least 2"),
        ({"options": None}, "field options: is missing"),
        ({"question": ""}, "field question: .*at least 1"),
    ],
)
def test_file_beside_a_picture_that_is_wrong_is_named(beside, fields, told):
    change(beside / "direct_attributes" / "sa_4690.json", **fields)
    with pytest.raises(ValueError, match=told) as e:
        items_of(beside)
    assert "direct_attributes/sa_4690.json" in one_line(e)


def test_box_in_the_other_form_leaves_its_picture(both, tmp_path):
    x, y, width, height = QUESTIONS[1].boxes[0]
    file = both / "direct_attributes" / "sa_17.json"
    change(file, bbox=[[x, y, x + width, y + height]])
    with pytest.raises(ValueError, match="leaves its picture of 240×320 pixels"):
        build(vstar.DATASET, Originals([both]), tmp_path / "out")
    assert not (tmp_path / "out" / "vstar").exists()


@pytest.mark.parametrize("name", ["test_questions.jsonl", "direct_attributes/*17.json"])
def test_torn_file_is_named(both, name):
    [file] = both.glob(name)
    file.write_text(file.read_text()[:-30])
    with pytest.raises(ValueError, match="is not whole JSON") as e:
        items_of(both)
    assert file.name in one_line(e)


@pytest.mark.parametrize("fixture", ["vstar", "vstar--beside"])
def test_picture_of_the_other_folder_is_not_taken_for_a_missing_one(fixture, tmp_path):
    folder = shutil.copytree(FOLDER / fixture, tmp_path / fixture)
    (folder / "direct_attributes" / "sa_17.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="direct_attributes/sa_17.jpg among"):
        items_of(folder)


def test_missing_picture_is_named_with_its_row(both, tmp_path):
    for picture in both.rglob("sa_901.jpg"):
        picture.unlink()
    told = r"row 4: no picture relative_position/sa_901.jpg among"
    with pytest.raises(FileNotFoundError, match=told) as e:
        build(vstar.DATASET, Originals([both]), tmp_path / "out")
    one_line(e)
    assert not (tmp_path / "out" / "vstar").exists()


def test_number_of_a_choice_that_is_not_there_is_named(tmp_path):
    from tests.fixtures.makers import draw

    row = {"question": "Which?", "choices": ["red", "blue"], "answer": 2}
    row |= {"category": "direct_attributes", "question_id": 7, "image": b"picture"}
    draw.write_parquet(tmp_path / "test-0.parquet", [row])
    told = "row 0 field answer: 2 is no number of its 2 choices, from 0"
    with pytest.raises(ValueError, match=told):
        items_of(tmp_path)


def test_mirror_without_a_column_names_it(tmp_path):
    from tests.fixtures.makers import draw

    row = {"question_id": "7", "category": "direct_attributes", "label": "A"}
    draw.write_parquet(tmp_path / "test-0.parquet", [row])
    with pytest.raises(ValueError, match="has no column image, text; it has ques"):
        items_of(tmp_path)


def test_folder_without_originals_says_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="test_questions.jsonl; or beside"):
        items_of(tmp_path)
