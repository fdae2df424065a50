import json
import zipfile
from functools import partial

import pytest

from data_prep.download import fetch
from data_prep.gqa import DATASET
from data_prep.originals.search import Originals
from data_prep.unified import build
from tests.data_prep import originals
from tests.data_prep.originals import FOLDER
from tests.fixtures.makers import draw
from tests.fixtures.makers.gqa import SIZES, bytes_of, mirrored, rows
from vicrop import scoring

NAME = "testdev_balanced_questions.json"
ASKED = "testdev_balanced_instructions/testdev-00000-of-00001.parquet"
SHOWN = "testdev_balanced_images/testdev-00000-of-00001.parquet"
SECOND = "00126851"


refused = partial(originals.refused, DATASET)


def read(folder):
    return DATASET.items(Originals([folder]))


def written(folder, values):
    draw.write_json(folder / NAME, values)
    return folder


def with_change(folder, **change):
    """The second row's fields changed; one that becomes ... is taken out."""
    values = rows()
    changed = values[SECOND] | change
    values[SECOND] = {k: value for k, value in changed.items() if value is not ...}
    return written(folder, values)


def with_mirror(folder, asked=None, shown=tuple(SIZES)):
    made = asked or [mirrored(number, values) for number, values in rows().items()]
    draw.write_parquet(folder / ASKED, made)
    pictures = [{"id": i, "image": {"bytes": bytes_of("n28600")}} for i in shown]
    draw.write_parquet(folder / SHOWN, pictures)
    return folder


def made(folder, out):
    """Rows of data.json."""
    build.build(DATASET, Originals([folder]), out)
    return json.loads((out / "gqa" / "data.json").read_text())


@pytest.mark.parametrize("fixture", ["gqa", "gqa--zip", "gqa--parquet"])
def test_all_layouts_give_the_same_rows_in_the_file_s_order(fixture, tmp_path):
    found = made(FOLDER / fixture, tmp_path)
    ids = [row["meta"]["question_id"] for row in found]
    assert ids == ["20903190", "00126851", "126851", "07333408", "20168"]
    assert found == made(FOLDER / "gqa", tmp_path / "again")
    assert found[1] == {
        "id": "0000000001",
        "question": "Who is wearing the hat?",
        "labels": ["woman"],
        "image_path": "n411121.jpg",
        "meta": {
            "question_id": "00126851",
            "category": "query",
            "semantic": "rel",
            "detailed": "relS",
        },
    }


@pytest.mark.parametrize("fixture", ["gqa", "gqa--zip", "gqa--parquet"])
def test_every_picture_is_its_question_s_own(fixture, tmp_path):
    for row in made(FOLDER / fixture, tmp_path):
        kept = (tmp_path / "gqa" / "images" / row["image_path"]).read_bytes()
        assert kept == bytes_of(row["image_path"].removesuffix(".jpg"))


def test_pictures_of_other_splits_are_not_taken(tmp_path):
    made(FOLDER / "gqa--zip", tmp_path)
    kept = {path.stem for path in (tmp_path / "gqa" / "images").iterdir()}
    assert kept == set(SIZES)


def test_label_is_one_word_in_a_list():
    labels = read(FOLDER / "gqa")[0].labels
    assert labels == ("no",)
    assert scoring.score("gqa", "no", labels) == 1
    assert scoring.score("gqa", "nothing", labels, variant="upstream") == 1


def test_ids_that_are_equal_as_numbers_are_two_questions():
    keys = [item.key for item in read(FOLDER / "gqa")]
    assert {"00126851", "126851"} < set(keys)


def test_same_words_about_one_picture_are_two_questions():
    _, _, first, second, _ = read(FOLDER / "gqa")
    assert (first.question, first.image) == (second.question, second.image)
    assert first.key != second.key


@pytest.mark.parametrize("answer", [None, "", ...])
def test_test_split_has_no_answer(answer, tmp_path):
    folder = with_change(tmp_path, answer=answer)
    refused(folder, f"{NAME} row {SECOND} field answer: no answer, as in the test")


@pytest.mark.parametrize(
    "field, value, told",
    [
        ("question", "", "question"),
        ("question", ..., "question"),
        ("answer", ["no"], "answer"),
        ("answer", True, "answer"),
        ("imageId", 2354786, "imageId"),
        ("imageId", "../n411121", "imageId"),
        ("imageId", "", "imageId"),
        ("imageId", ..., "imageId"),
        ("types", None, "types"),
        ("types", ..., "types"),
        ("types", {"semantic": "rel", "detailed": "relS"}, "types.structural"),
    ],
)
def test_wrong_schema_names_file_row_and_field(field, value, told, tmp_path):
    folder = with_change(tmp_path, **{field: value})
    refused(folder, rf"{NAME} row {SECOND} field {told}: .*\(got ")


@pytest.mark.parametrize("values", [[], {}, [{"question": "What?"}], "questions"])
def test_another_structure_is_told(values, tmp_path):
    refused(written(tmp_path, values), "must hold an object of questions by their id")


def test_row_that_is_no_object_is_told(tmp_path):
    values = rows() | {SECOND: "What?"}
    refused(written(tmp_path, values), rf"row {SECOND} field \(the row itself\)")


def test_torn_json_is_told(tmp_path):
    (tmp_path / NAME).write_text(json.dumps(rows())[:-40])
    refused(tmp_path, f"{NAME} is not whole JSON .*; a torn download")


def test_text_that_is_not_utf8_is_told(tmp_path):
    (tmp_path / NAME).write_bytes(b'{"1": {"question": "caf\xe9?"}}')
    refused(tmp_path, f"{NAME} is not UTF-8 text")


def test_torn_zip_is_told(tmp_path):
    whole = (FOLDER / "gqa--zip" / "questions1.2.zip").read_bytes()
    (tmp_path / "questions1.2.zip").write_bytes(whole[:-30])
    refused(tmp_path, "questions1.2.zip is not a whole .*; a torn download")


def test_other_splits_alone_are_not_taken(tmp_path):
    draw.write_json(tmp_path / "val_balanced_questions.json", rows())
    refused(tmp_path, f"no original files of gqa.*{NAME}", FileNotFoundError)


def test_one_table_of_the_mirror_alone_is_not_taken(tmp_path):
    (with_mirror(tmp_path) / SHOWN).unlink()
    refused(tmp_path, "no original files of gqa", FileNotFoundError)


def test_mirror_s_question_without_its_picture_is_named(tmp_path):
    folder = with_mirror(tmp_path, shown=("n411121", "n578821"))
    match = f"{ASKED} row 2 field imageId: no picture 'n28600' in testdev_balanced_im"
    refused(folder, match, FileNotFoundError)


def test_mirror_s_picture_that_is_there_twice_is_refused(tmp_path):
    folder = with_mirror(tmp_path, shown=(*SIZES, "n28600"))
    refused(folder, f"{SHOWN} row 3 field id: picture 'n28600' is there already")


def test_question_that_is_there_twice_is_refused(tmp_path):
    twice = json.dumps(rows())[:-1] + ", " + json.dumps({SECOND: rows()[SECOND]})[1:]
    (tmp_path / NAME).write_text(twice)
    refused(tmp_path, f"{NAME} .*'{SECOND}' is there twice")


def test_mirror_s_question_that_is_there_twice_is_refused(tmp_path):
    one = mirrored(SECOND, rows()[SECOND])
    folder = with_mirror(tmp_path, asked=[one, one])
    refused(folder, f"{ASKED} row 1: question '{SECOND}' is also .* row 0")


def test_mirror_s_ids_must_be_text(tmp_path):
    one = mirrored(SECOND, rows()[SECOND]) | {"id": 126851}
    refused(with_mirror(tmp_path, asked=[one]), f"{ASKED} row 0 field id: .*string")


def test_mirror_without_a_column_names_it(tmp_path):
    one = mirrored(SECOND, rows()[SECOND])
    del one["types"]
    refused(with_mirror(tmp_path, asked=[one]), "has no column types; it has")


def test_missing_picture_is_named_and_nothing_stays(tmp_path):
    folder = written(tmp_path / "in", rows())
    match = f"{NAME} row 20903190: no picture images/n411121.jpg in "
    with pytest.raises(FileNotFoundError, match=match) as raised:
        build.build(DATASET, Originals([folder]), tmp_path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "gqa").exists()


def test_only_pictures_that_are_asked_about_are_fetched(tmp_path, monkeypatch):
    asked = []

    def fetch_files(files, folder):
        with zipfile.ZipFile(FOLDER / "gqa--zip" / "questions1.2.zip") as archive:
            archive.extract(NAME, folder)
        return {files[0].name: files[0].url}

    def download(url, names, folder):
        asked.extend([url, *names])
        draw.write(folder / "images" / "n411121.jpg", b"")

    monkeypatch.setattr(fetch, "fetch_files", fetch_files)
    monkeypatch.setattr(fetch.zip_members, "download", download)
    found = fetch.fetch(DATASET, tmp_path)
    assert asked[0].endswith("/gqa/images.zip")
    assert asked[1:] == [f"images/{image}.jpg" for image in SIZES]
    assert found.folders == [tmp_path / "gqa", tmp_path / "gqa-images"]
