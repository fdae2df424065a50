import json
from functools import partial

import pytest

from data_prep.download.fetch import plan
from data_prep.originals.search import Originals
from data_prep.pope import CATEGORIES, DATASET
from data_prep.unified import build
from tests.data_prep import originals
from tests.fixtures.makers import draw
from tests.fixtures.makers.pope import QUESTIONS, lines, mirrored
from vicrop import scoring


def name_of(category):
    return f"coco_pope_{category}.json"


def published(folder, **changed):
    """The three files; a category's text as it is given, if it is."""
    for category in CATEGORIES:
        data = changed.get(category, lines(category))
        draw.write(folder / name_of(category), data.encode())
    return folder


def with_change(folder, **change):
    """The second line of the popular file changed."""
    rows = [json.loads(line) for line in lines("popular").splitlines()]
    changed = {**rows[1], **change}
    rows[1] = {key: value for key, value in changed.items() if value is not None}
    text = "\n".join(json.dumps(row) for row in rows)
    return published(folder, popular=text)


refused = partial(originals.refused, DATASET)


def read(folder):
    return DATASET.items(Originals([folder]))


def test_files_are_read_one_after_the_other_and_name_the_category(tmp_path):
    found = [
        (item.meta["category"], item.meta["question_id"], item.question)
        for item in read(published(tmp_path))
    ]
    assert found == [
        (category, number, text)
        for category in CATEGORIES
        for number, _, text, _ in QUESTIONS[category]
    ]


def test_numbers_that_repeat_across_files_are_no_duplicates(tmp_path):
    items = read(published(tmp_path))
    numbers = [item.meta["question_id"] for item in items]
    assert numbers.count(1) == 3
    assert len({item.key for item in items}) == len(items) == 8


def test_number_that_repeats_in_one_file_is_refused(tmp_path):
    refused(
        with_change(tmp_path, question_id=1),
        "coco_pope_popular.json row 1: question 'popular 1' is also .* row 0",
    )


def test_label_is_a_list_of_one_that_scores(tmp_path):
    items = read(published(tmp_path))
    assert {tuple(item.labels) for item in items} == {("yes",), ("no",)}
    for item in items:
        [right] = item.labels
        said = {"yes": "Yes, there is.", "no": "No, there is none."}
        scores = {key: scoring.score("pope", said[key], item.labels) for key in said}
        assert scores == {right: 1, {"yes": "no", "no": "yes"}[right]: 0}


def test_pictures_are_looked_for_in_val2014(tmp_path):
    assert {item.picture for item in read(published(tmp_path))} == {
        "val2014/COCO_val2014_000000310196.jpg",
        "val2014/COCO_val2014_000000000042.jpg",
    }


def test_older_file_with_fewer_lines_is_taken_and_counted(tmp_path):
    shorter = "".join(lines("random").splitlines(keepends=True)[:1])
    folder = published(tmp_path / "originals", random=shorter)
    for name in ("310196", "000042"):
        path = folder / "val2014" / f"COCO_val2014_000000{name}.jpg"
        draw.write(path, draw.picture(int(name), (32, 24)))
    made = build.build(DATASET, Originals([folder]), tmp_path)
    assert made.note["counts"]["questions_in_source"] == 7
    assert made.note["counts"]["questions_published"] == 9000
    assert "8910" in made.note["note"] and "2910" in made.note["note"]


def test_empty_lines_are_left_out(tmp_path):
    text = lines("random").replace("\n", "\n\n")
    assert len(read(published(tmp_path, random=text))) == 8


def parquet_of(folder, files):
    for name, rows in files.items():
        draw.write_parquet(folder / name, rows)
    return folder


@pytest.mark.parametrize("form", ["default", "full"])
def test_mirrors_give_the_same_questions(form, tmp_path):
    if form == "default":
        rows = [row for category in CATEGORIES for row in mirrored(category)]
        files = {"data/test-00000-of-00001.parquet": rows}
    else:
        files = {f"Full/{c}-00000-of-00001.parquet": mirrored(c) for c in CATEGORIES}

    def kept(folder):
        return [(i.key, i.question, i.labels, i.image, i.meta) for i in read(folder)]

    wanted = kept(published(tmp_path / "published"))
    assert kept(parquet_of(tmp_path / "mirror", files)) == wanted


@pytest.mark.parametrize(
    "field, value",
    [("answer", "Yes"), ("category", "rare"), ("question", ""), ("question_id", "x")],
)
def test_mirror_s_wrong_value_names_file_row_and_field(field, value, tmp_path):
    rows = mirrored("popular")
    rows[2][field] = value
    folder = parquet_of(tmp_path, {"test-00000-of-00001.parquet": rows})
    refused(folder, f"test-00000-of-00001.parquet row 2 field {field}: .*got '{value}'")


@pytest.mark.parametrize(
    "field, value",
    [
        ("label", "maybe"),
        ("label", None),
        ("label", ["yes"]),
        ("text", ""),
        ("text", None),
        ("image", None),
        ("question_id", "one"),
    ],
)
def test_wrong_schema_names_file_row_and_field(field, value, tmp_path):
    folder = with_change(tmp_path, **{field: value})
    refused(folder, f"coco_pope_popular.json row 1 field {field}")


def test_torn_line_is_told(tmp_path):
    torn = lines("random").rstrip()[:-9]
    refused(published(tmp_path, random=torn), "random.json row 1 is not whole JSON")


def test_json_list_is_not_taken_for_lines(tmp_path):
    whole = json.dumps([json.loads(line) for line in lines("random").splitlines()])
    refused(published(tmp_path, random=whole), "random.json row 0 field")


def test_empty_file_is_told(tmp_path):
    refused(published(tmp_path, random=""), "coco_pope_random.json has no questions")


def test_text_that_is_not_utf8_is_told(tmp_path):
    published(tmp_path)
    (tmp_path / name_of("random")).write_bytes(b'{"text": "caf\xe9"}\n')
    refused(tmp_path, "coco_pope_random.json is not UTF-8")


def test_all_three_files_are_asked_for(tmp_path):
    published(tmp_path)
    (tmp_path / name_of("random")).unlink()
    refused(tmp_path, "no original files of pope.*random.json", FileNotFoundError)


def test_missing_picture_is_named_and_nothing_stays(tmp_path):
    folder = published(tmp_path / "originals")
    with pytest.raises(
        FileNotFoundError, match="adversarial.json row 0: no picture val2014/COCO_val"
    ):
        build.build(DATASET, Originals([folder]), tmp_path / "data")
    assert not (tmp_path / "data" / "pope").exists()


def test_plan_fetches_three_files_and_single_pictures(tmp_path):
    rows = plan(DATASET, tmp_path)
    assert [row.name for row in rows] == [
        *map(name_of, CATEGORIES),
        "val2014.zip (pictures asked about)",
    ]
    assert sum(row.gigabytes for row in rows) < 0.1
