import json
from functools import partial

import numpy as np
import pytest

from data_prep.download.fetch import plan
from data_prep.originals.search import Originals
from data_prep.unified import build
from data_prep.vqav2 import ANNOTATIONS, DATASET, QUESTIONS
from tests.data_prep import originals
from tests.fixtures.makers import draw
from tests.fixtures.makers import vqav2 as maker
from vicrop.run import datasets

PARQUET = "validation-00000-of-00001.parquet"


def written(folder, questions=None, annotations=None):
    """Both files, as they are given or as they should be."""
    values = {
        QUESTIONS: {"questions": questions or maker.questions()},
        ANNOTATIONS: {"annotations": annotations or maker.annotations()},
    }
    for name, value in values.items():
        draw.write_json(folder / name, value)
    return folder


def changed(rows, number, change):
    """Fields of one row changed; those that become None are taken out."""
    row = {**rows[number], **change}
    rows[number] = {key: value for key, value in row.items() if value is not None}
    return rows


def with_answers(folder, answers):
    rows = changed(maker.annotations(), 1, {"answers": answers})
    return written(folder, annotations=rows)


refused = partial(originals.refused, DATASET)


def read(folder):
    return DATASET.items(Originals([folder]))


def facts(items):
    return {item.key: (item.question, item.labels, item.meta) for item in items}


def test_files_are_joined_by_question_id_not_by_place(tmp_path):
    items = read(written(tmp_path))
    assert [item.meta["question_id"] for item in items] == [
        number for number, *_ in maker.QUESTIONS
    ]
    assert [item.labels[0] for item in items] == ["down", "no", "2", "red", "0"]


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_and_answers_changes_nothing(seed, tmp_path):
    rng = np.random.default_rng(seed)
    questions, annotations = maker.questions(), maker.annotations()
    for row in annotations:
        rng.shuffle(row["answers"])
    rng.shuffle(questions)
    rng.shuffle(annotations)
    shuffled = written(tmp_path / "shuffled", questions, annotations)
    assert facts(read(shuffled)) == facts(read(written(tmp_path / "plain")))


def test_labels_are_ten_in_the_order_of_their_ids(tmp_path):
    first = read(written(tmp_path))[0]
    assert first.labels == ("down", "not down", *["down"] * 7, "nothing")


def test_meta_has_the_kinds_of_question_and_answer(tmp_path):
    assert read(written(tmp_path))[3].meta == {
        "question_id": 42001,
        "category": "other",
        "question_type": "what color is the",
    }


def test_picture_s_name_has_leading_zeros(tmp_path):
    found = read(written(tmp_path))[2]
    assert found.picture == "val2014/COCO_val2014_000000000042.jpg"


def test_mirror_gives_the_same_questions(tmp_path):
    draw.write_parquet(tmp_path / "mirror" / PARQUET, maker.mirrored())
    mirror, plain = read(tmp_path / "mirror"), read(written(tmp_path / "plain"))
    assert facts(mirror) == facts(plain)
    assert [item.image for item in mirror] == [item.image for item in plain]


def test_question_without_annotation_is_named(tmp_path):
    rows = [row for row in maker.annotations() if row["question_id"] != 42001]
    refused(
        written(tmp_path, annotations=rows),
        f"questions.json row 3: question 42001 is not in .*{ANNOTATIONS}",
    )


def test_annotation_without_question_is_named(tmp_path):
    rows = [row for row in maker.questions() if row["question_id"] != 262148001]
    refused(
        written(tmp_path, questions=rows),
        f"annotations.json row 3: question 262148001 is not in .*{QUESTIONS}",
    )


def test_question_that_is_annotated_twice_is_refused(tmp_path):
    rows = [*maker.annotations(), maker.annotations()[2]]
    refused(
        written(tmp_path, annotations=rows),
        "annotations.json row 5: question 42000 is annotated already in .* row 2",
    )


def test_question_that_is_asked_twice_is_refused(tmp_path):
    rows = [*maker.questions(), maker.questions()[0]]
    refused(written(tmp_path, questions=rows), "row 5: question '262148000' is also")


def test_files_that_disagree_on_the_picture_are_refused(tmp_path):
    rows = changed(maker.annotations(), 0, {"image_id": 42})
    refused(
        written(tmp_path, annotations=rows),
        "annotations.json row 0 field image_id: 42, but .* row 4 has 393225",
    )


@pytest.mark.parametrize("count", [1, 9, 11])
def test_other_than_ten_answers_are_refused(count, tmp_path):
    answers = [{"answer": "red", "answer_id": n} for n in range(count)]
    refused(
        with_answers(tmp_path, answers),
        f"annotations.json row 1 field answers: .*not {count}",
    )


@pytest.mark.parametrize(
    "answers, field",
    [
        (None, "answers"),
        ([], "answers"),
        ("red", "answers"),
        (["red"] * 10, "answers.0"),
        ([{"answer": "red"}] * 10, "answers.0.answer_id"),
        ([{"answer": 2, "answer_id": 1}] * 10, "answers.0.answer"),
    ],
)
def test_answers_of_another_shape_name_their_field(answers, field, tmp_path):
    refused(with_answers(tmp_path, answers), f"row 1 field {field}: ")


def test_one_person_s_answer_is_not_taken_twice(tmp_path):
    answers = maker.answers("red")
    answers[4]["answer_id"] = 2
    refused(with_answers(tmp_path, answers), "row 1 field answers: .* is there twice")


@pytest.mark.parametrize(
    "field, value",
    [
        ("question", ""),
        ("question", None),
        ("question_id", "x"),
        ("question_id", None),
        ("image_id", -1),
        ("image_id", 1.5),
    ],
)
def test_wrong_schema_names_file_row_and_field(field, value, tmp_path):
    rows = changed(maker.questions(), 2, {field: value})
    refused(written(tmp_path, questions=rows), f"questions.json row 2 field {field}: ")


def test_annotations_alone_under_questions_are_no_questions(tmp_path):
    written(tmp_path)
    draw.write_json(tmp_path / QUESTIONS, {"annotations": []})
    refused(tmp_path, "questions.json must hold a list under 'questions'")


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
def test_torn_file_is_named(name, tmp_path):
    file = written(tmp_path) / name
    file.write_bytes(file.read_bytes()[:-30])
    refused(tmp_path, f"{name} is not whole JSON")


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
def test_torn_zip_is_named(name, tmp_path):
    packed = next(archive for file, archive, _ in maker.files() if file == name)
    for file in (draw.HERE / "vqav2--zip").iterdir():
        data = file.read_bytes()
        torn = data[: len(data) // 2] if file.name == packed else data
        draw.write(tmp_path / file.name, torn)
    refused(tmp_path, f"{packed} is not a whole archive")


def test_text_that_is_not_utf8_is_told(tmp_path):
    draw.write(written(tmp_path) / QUESTIONS, b'{"questions": ["caf\xe9"]}')
    refused(tmp_path, f"{QUESTIONS} is not UTF-8")


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
def test_both_files_are_asked_for(name, tmp_path):
    (written(tmp_path) / name).unlink()
    refused(tmp_path, f"no original files of vqav2.*{name}", FileNotFoundError)


def test_mirror_without_a_column_is_named(tmp_path):
    rows = [
        {key: value for key, value in row.items() if key != "answer_type"}
        for row in maker.mirrored()
    ]
    draw.write_parquet(tmp_path / PARQUET, rows)
    refused(tmp_path, f"{PARQUET} has no column answer_type")


def test_missing_picture_is_named_and_nothing_stays(tmp_path):
    folder = written(tmp_path / "originals")
    match = "row 0: no picture val2014/COCO_val2014_000000262148.jpg"
    with pytest.raises(FileNotFoundError, match=match):
        build.build(DATASET, Originals([folder]), tmp_path / "data")
    assert not (tmp_path / "data" / "vqav2").exists()


def test_subset_is_drawn_by_the_seed_and_needs_its_pictures_only(tmp_path):
    folder = written(tmp_path / "originals")
    chosen = datasets.subset(5, 2, seed=0)
    for number in chosen:
        image = maker.QUESTIONS[number][1]
        name = f"COCO_val2014_{image:012d}.jpg"
        draw.write(folder / "val2014" / name, maker.bytes_of(image))
    build.build(DATASET, Originals([folder]), tmp_path, limit=2)
    rows = json.loads((tmp_path / "vqav2" / "data.json").read_text())
    assert [int(row["id"]) for row in rows] == chosen
    assert [row["meta"]["question_id"] for row in rows] == [
        maker.QUESTIONS[number][0] for number in chosen
    ]


def test_fifty_thousand_are_drawn_by_default_as_in_the_paper():
    assert DATASET.limit == 50_000


def test_whole_picture_archive_goes_where_pope_s_pictures_go(tmp_path):
    from data_prep import pope

    shared = pope.DATASET.pictures.store
    [archive] = [file for file in DATASET.files if file.store == shared]
    assert archive.url == pope.DATASET.pictures.url
    assert sum(row.gigabytes or 0 for row in plan(DATASET, tmp_path)) == 6
