import json
from functools import partial

import pytest

from data_prep.docvqa import DATASET
from data_prep.download import fetch
from data_prep.originals.search import Originals
from data_prep.unified import build
from tests.data_prep import originals
from tests.data_prep.originals import FOLDER
from tests.fixtures.makers import draw
from tests.fixtures.makers.docvqa import bytes_of, mirrored, older, portal, rows
from vicrop import scoring

NAME = "val_v1.0_withQT.json"
PARQUET = "DocVQA/validation-00000-of-00001.parquet"
TYPED = ["docvqa", "docvqa--packed", "docvqa--parquet", "docvqa--parquet-m4"]


refused = partial(originals.refused, DATASET)


def read(folder):
    return DATASET.items(Originals([folder]))


def written(folder, values, name=NAME):
    draw.write_json(folder / name, portal(values))
    return folder


def with_change(folder, **change):
    """The second row's fields changed; one that becomes ... is taken out."""
    values = rows()
    changed = values[1] | change
    values[1] = {key: value for key, value in changed.items() if value is not ...}
    return written(folder, values)


def with_pages(folder, name="spdocvqa_images"):
    for page in {row["image"] for row in rows()}:
        base = page.removeprefix("documents/")
        draw.write(folder / name / base, bytes_of(base.removesuffix(".png")))
    return folder


def made(folder, out):
    """Rows of data.json."""
    build.build(DATASET, Originals([folder]), out)
    return json.loads((out / "docvqa" / "data.json").read_text())


@pytest.mark.parametrize("fixture", TYPED)
def test_portal_and_mirrors_give_the_same_rows(fixture, tmp_path):
    found = made(FOLDER / fixture, tmp_path)
    assert [row["meta"]["question_id"] for row in found] == [
        row["questionId"] for row in rows()
    ]
    assert found == made(FOLDER / "docvqa", tmp_path / "again")
    assert found[2] == {
        "id": "0000000002",
        "question": "Who signed the letter?",
        "labels": ["Edward R. Shannon", "Edward Shannon"],
        "image_path": "xnbl0037_1.png",
        "meta": {
            "question_id": 57349,
            "category": "handwritten",
            "question_types": ["handwritten", "form"],
        },
    }


def test_older_tarball_differs_only_in_the_types_it_does_not_tell(tmp_path):
    found = made(FOLDER / "docvqa--tarball", tmp_path / "older")
    newer = made(FOLDER / "docvqa", tmp_path / "newer")
    for row in newer:
        row["meta"] = {"question_id": row["meta"]["question_id"]}
    assert found == newer


def test_page_is_found_though_its_folder_is_called_otherwise(tmp_path):
    folder = with_pages(written(tmp_path / "in", rows()), "spdocvqa_images")
    assert [item.picture for item in read(folder)][0] == "documents/pybv0228_81.png"
    assert made(folder, tmp_path)[0]["image_path"] == "pybv0228_81.png"


def test_page_of_the_named_folder_comes_before_one_of_another(tmp_path):
    folder = with_pages(written(tmp_path / "in", rows()), "documents")
    other = draw.picture(1, (30, 40), kind="PNG")
    draw.write(folder / "small" / "pybv0228_81.png", other)
    made(folder, tmp_path)
    kept = tmp_path / "docvqa" / "images" / "pybv0228_81.png"
    assert kept.read_bytes() == bytes_of("pybv0228_81")


def test_portal_s_file_comes_before_the_older_one(tmp_path):
    draw.write_json(tmp_path / "val_v1.0.json", older(rows()[:1]))
    assert len(read(written(tmp_path, rows()))) == 5


def test_every_variant_of_an_answer_counts_in_full():
    labels = read(FOLDER / "docvqa")[2].labels
    said = ("Edward R. Shannon", "edward shannon")
    assert [scoring.score("docvqa", text, labels) for text in said] == [1, 1]


def test_same_words_about_one_page_are_two_questions():
    first, second = read(FOLDER / "docvqa")[:2]
    assert (first.question, first.image) == (second.question, second.image)
    assert first.key != second.key


@pytest.mark.parametrize("types", [None, [], ...])
def test_question_may_have_no_type(types, tmp_path):
    found = read(with_change(tmp_path, question_types=types))
    assert found[1].meta == {"question_id": 24580}


def test_mirror_s_other_data_set_is_left_alone():
    assert len(read(FOLDER / "docvqa--parquet")) == 5


@pytest.mark.parametrize("answers", [None, [], [""], ...])
def test_test_split_has_no_answers(answers, tmp_path):
    folder = with_change(tmp_path, answers=answers)
    refused(folder, rf"{NAME} row 1 field answers: no answers, as in the test split")


def test_test_split_of_the_mirror_has_no_answers(tmp_path):
    values = [mirrored(rows()[0], str), mirrored(rows()[1] | {"answers": None}, str)]
    draw.write_parquet(tmp_path / PARQUET, values)
    refused(tmp_path, "row 1 field answers: no answers, as in the test split; use val")


@pytest.mark.parametrize(
    "field, value",
    [
        ("questionId", "q7"),
        ("questionId", None),
        ("questionId", ...),
        ("question", ""),
        ("question", ["What?"]),
        ("answers", "0.28"),
        ("answers", {"text": "0.28"}),
        ("answers.1", ["0.28", None]),
        ("image", ""),
        ("image", ...),
        ("question_types", "form"),
    ],
)
def test_wrong_schema_names_file_row_and_field(field, value, tmp_path):
    folder = with_change(tmp_path, **{field.partition(".")[0]: value})
    refused(folder, rf"{NAME} row 1 field {field}: .*\(got ")


@pytest.mark.parametrize("field", ["ucsf_document_id", "ucsf_document_page_no"])
def test_mirror_s_row_without_a_page_is_named(field, tmp_path):
    values = [mirrored(row, str) for row in rows()]
    values[3][field] = None
    draw.write_parquet(tmp_path / PARQUET, values)
    refused(tmp_path, f"{PARQUET} row 3 field {field}: Input should be a valid string")


@pytest.mark.parametrize("values", [[], {"data": {}}, {"data": []}, 7, "data"])
def test_another_structure_is_told(values, tmp_path):
    draw.write_json(tmp_path / NAME, values)
    refused(tmp_path, f"{NAME} must hold a list under 'data', with rows")


def test_row_that_is_no_object_is_told(tmp_path):
    refused(written(tmp_path, [rows()[0], ["a"]]), f"{NAME} row 1 field .the row")


def test_torn_json_is_told(tmp_path):
    (tmp_path / NAME).write_text(json.dumps(portal(rows()))[:-40])
    refused(tmp_path, f"{NAME} is not whole JSON .*; a torn download")


def test_text_that_is_not_utf8_is_told(tmp_path):
    text = json.dumps(portal(rows()), ensure_ascii=False)
    (tmp_path / NAME).write_bytes(text.encode("utf-16"))
    refused(tmp_path, f"{NAME} is not UTF-8 text")


def test_torn_parquet_is_told(tmp_path):
    draw.write_parquet(tmp_path / PARQUET, [mirrored(rows()[0], str)])
    whole = (tmp_path / PARQUET).read_bytes()
    (tmp_path / PARQUET).write_bytes(whole[:-20])
    refused(tmp_path, "is not a whole parquet file")


def test_torn_tarball_is_told(tmp_path):
    whole = (FOLDER / "docvqa--tarball" / "val.tar.gz").read_bytes()
    (tmp_path / "val.tar.gz").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path, "val.tar.gz")


def test_mirror_without_a_column_names_it(tmp_path):
    draw.write_parquet(tmp_path / PARQUET, [mirrored(rows()[0], str, "answers")])
    refused(tmp_path, "has no column answers; it has questionId")


def test_question_that_is_there_twice_is_refused(tmp_path):
    folder = with_change(tmp_path, questionId=49153)
    refused(folder, f"{NAME} row 1: question '49153' is also .*{NAME} row 0")


def test_other_split_alone_is_not_taken(tmp_path):
    written(tmp_path, rows(), "test_v1.0.json")
    refused(tmp_path, "holds no original files of docvqa.*val_v1", FileNotFoundError)


def nothing_made(folder, out, match, error):
    with pytest.raises(error, match=match) as raised:
        build.build(DATASET, Originals([folder]), out)
    assert "\n" not in str(raised.value)
    assert not (out / "docvqa").exists()


def test_missing_page_is_named_and_nothing_stays(tmp_path):
    folder = with_pages(written(tmp_path / "in", rows()))
    (folder / "spdocvqa_images" / "xnbl0037_1.png").unlink()
    match = f"{NAME} row 2: no picture documents/xnbl0037_1.png in "
    nothing_made(folder, tmp_path / "out", match, FileNotFoundError)


def test_page_that_does_not_decode_is_named_and_nothing_stays(tmp_path):
    folder = with_pages(written(tmp_path / "in", rows()))
    torn = bytes_of("xnbl0037_1")[:150]
    (folder / "spdocvqa_images" / "xnbl0037_1.png").write_bytes(torn)
    match = f"{NAME} row 2: picture .*xnbl0037_1.png does not decode"
    nothing_made(folder, tmp_path / "out", match, ValueError)


def test_mirror_s_page_that_is_packed_twice_is_kept_twice(tmp_path):
    values = [mirrored(row, str) for row in rows()]
    values[1]["image"] = {"bytes": bytes_of("xnbl0037_1"), "path": None}
    draw.write_parquet(tmp_path / "in" / PARQUET, values)
    first, second, *_ = made(tmp_path / "in", tmp_path)
    assert first["image_path"] == "pybv0228_81.png"
    assert second["image_path"].startswith("pybv0228_81-")


def test_page_s_own_name_cannot_lead_out_of_the_folder(tmp_path):
    folder = with_change(tmp_path / "in", image="../../pybv0228_81.png")
    found = made(with_pages(folder), tmp_path)
    assert found[1]["image_path"] == "pybv0228_81.png"


def test_what_cannot_be_fetched_is_told_file_by_file(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        fetch.fetch(DATASET, tmp_path)
    told = str(raised.value)
    assert "\n" not in told and str(tmp_path / "docvqa") in told
    for part in ("rrc.cvc.uab.es", "Task 1", NAME, "spdocvqa_images.tar.gz"):
        assert part in told
    for part in ("val.tar.gz", "val_v1.0.json", "--mirror", "--source"):
        assert part in told


@pytest.mark.parametrize("fixture", TYPED[:2] + ["docvqa--tarball"])
def test_files_put_there_by_hand_are_taken(fixture, tmp_path):
    (tmp_path / "docvqa").symlink_to(FOLDER / fixture)
    found = fetch.fetch(DATASET, tmp_path)
    assert found == fetch.Fetched([tmp_path / "docvqa"], {})
