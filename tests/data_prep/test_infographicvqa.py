import json
from functools import partial

import pytest

from data_prep.download import fetch
from data_prep.infographicvqa import DATASET
from data_prep.originals.search import Originals
from data_prep.unified import build
from tests.data_prep import originals
from tests.data_prep.originals import FOLDER
from tests.fixtures.makers import draw
from tests.fixtures.makers.docvqa import without
from tests.fixtures.makers.infographicvqa import bytes_of, mirrored, rows, whole
from vicrop import scoring

NAME = "infographicsVQA_val_v1.0_withQT.json"
PARQUET = "InfographicVQA/validation-00000-of-00001.parquet"


refused = partial(originals.refused, DATASET)


def read(folder):
    return DATASET.items(Originals([folder]))


def written(folder, values, name=NAME):
    draw.write_json(folder / name, whole(values))
    return folder


def with_change(folder, **change):
    """The second row's fields changed; one that becomes ... is taken out."""
    values = rows()
    changed = values[1] | change
    values[1] = {key: value for key, value in changed.items() if value is not ...}
    return written(folder, values)


def made(folder, out):
    """Rows of data.json."""
    build.build(DATASET, Originals([folder]), out)
    return json.loads((out / "infographicvqa" / "data.json").read_text())


def test_portal_s_rows_keep_what_is_known_of_their_kind(tmp_path):
    found = made(FOLDER / "infographicvqa", tmp_path)
    assert [row["meta"]["question_id"] for row in found] == [
        row["questionId"] for row in rows()
    ]
    assert found[1] == {
        "id": "0000000001",
        "question": "How many cups a day?",
        "labels": ["12"],
        "image_path": "20471.jpeg",
        "meta": {
            "question_id": 98314,
            "category": "non-span",
            "answer_type": ["non-span"],
            "evidence": ["Figure"],
            "operation": ["Counting"],
        },
    }
    assert "operation" not in found[0]["meta"]


def test_packed_pictures_give_the_same_rows(tmp_path):
    found = made(FOLDER / "infographicvqa--zip", tmp_path / "packed")
    assert found == made(FOLDER / "infographicvqa", tmp_path / "plain")


def test_mirror_gives_the_same_rows_save_names_and_evidence(tmp_path):
    found = made(FOLDER / "infographicvqa--parquet", tmp_path / "mirror")
    published = made(FOLDER / "infographicvqa", tmp_path / "portal")
    for row in found:
        del row["image_path"]
    for row in published:
        del row["image_path"], row["meta"]["evidence"]
    assert found == published


def test_mirror_s_picture_has_its_first_question_s_name_and_is_kept_once(tmp_path):
    found = made(FOLDER / "infographicvqa--parquet", tmp_path)
    names = [row["image_path"] for row in found]
    assert names == ["98313.jpg", "98313.jpg", "65718.jpg", "70001.jpg"]
    images = tmp_path / "infographicvqa" / "images"
    assert {path.name for path in images.iterdir()} == set(names)
    assert (images / "98313.jpg").read_bytes() == bytes_of("20471")


def test_every_variant_of_an_answer_counts_in_full():
    labels = read(FOLDER / "infographicvqa")[0].labels
    said = ("12", "Twelve", "ten")
    found = [scoring.score("infographicvqa", text, labels) for text in said]
    assert found == [1, 1, 0]


@pytest.mark.parametrize("kind", [None, [], ...])
def test_kind_of_a_question_may_be_unknown(kind, tmp_path):
    fields = {"answer_type": kind, "evidence": kind, "operation/reasoning": kind}
    found = read(with_change(tmp_path, **fields))
    assert found[1].meta == {"question_id": 98314}


@pytest.mark.parametrize("name", ["infographicVQA_val_v1.0.json", NAME])
def test_older_name_of_the_file_is_known(name, tmp_path):
    assert len(read(written(tmp_path, rows(), name))) == 4


@pytest.mark.parametrize("answers", [None, [], ...])
def test_test_split_has_no_answers(answers, tmp_path):
    folder = with_change(tmp_path, answers=answers)
    refused(folder, f"{NAME} row 1 field answers: no answers, as in the test split")


@pytest.mark.parametrize(
    "field, value",
    [
        ("questionId", "q7"),
        ("questionId", ...),
        ("question", ""),
        ("answers", "12"),
        ("image_local_name", ""),
        ("image_local_name", 20471),
        ("answer_type", "non-span"),
        ("evidence", {"Text": 1}),
        ("operation/reasoning", "Counting"),
    ],
)
def test_wrong_schema_names_file_row_and_field(field, value, tmp_path):
    folder = with_change(tmp_path, **{field: value})
    refused(folder, rf"{NAME} row 1 field {field}: .*\(got ")


@pytest.mark.parametrize("values", [[], {"data": {}}, {"data": []}, 7])
def test_another_structure_is_told(values, tmp_path):
    draw.write_json(tmp_path / NAME, values)
    refused(tmp_path, f"{NAME} must hold a list under 'data', with rows")


def test_torn_json_is_told(tmp_path):
    (tmp_path / NAME).write_text(json.dumps(whole(rows()))[:-40])
    refused(tmp_path, f"{NAME} is not whole JSON .*; a torn download")


def test_mirror_without_a_column_names_it(tmp_path):
    values = [without(mirrored(rows()[0]), "operation/reasoning")]
    draw.write_parquet(tmp_path / PARQUET, values)
    refused(tmp_path, "has no column operation/reasoning; it has questionId")


def test_mirror_s_row_without_a_picture_is_named(tmp_path):
    values = [mirrored(row) for row in rows()]
    values[2]["image"] = None
    draw.write_parquet(tmp_path / PARQUET, values)
    match = f"{PARQUET} row 2 field image: no picture in it"
    nothing_made(tmp_path, tmp_path / "out", match, ValueError)


def test_mirror_s_question_that_is_there_twice_is_refused(tmp_path):
    values = [mirrored(row) for row in [*rows(), rows()[1]]]
    draw.write_parquet(tmp_path / PARQUET, values)
    refused(tmp_path, f"{PARQUET} row 4: question '98314' is also .* row 1")


def test_other_split_alone_is_not_taken(tmp_path):
    written(tmp_path, rows(), "infographicsVQA_test_v1.0.json")
    refused(tmp_path, "no original files of infographicvqa", FileNotFoundError)


def nothing_made(folder, out, match, error):
    with pytest.raises(error, match=match) as raised:
        build.build(DATASET, Originals([folder]), out)
    assert "\n" not in str(raised.value)
    assert not (out / "infographicvqa").exists()


def test_missing_picture_is_named_and_nothing_stays(tmp_path):
    folder = written(tmp_path / "in", rows())
    match = f"{NAME} row 0: no picture infographicsvqa_images/20471.jpeg in "
    nothing_made(folder, tmp_path / "out", match, FileNotFoundError)


def test_picture_s_name_cannot_lead_out_of_the_folder(tmp_path):
    folder = with_change(tmp_path / "in", image_local_name="../../escaped.jpeg")
    for image in ("20471", "37313", "10186", "escaped"):
        data = draw.picture(sum(image.encode()), (40, 40))
        draw.write(folder / "infographicsvqa_images" / f"{image}.jpeg", data)
    match = "row 1: picture name '../../escaped.jpeg' "
    nothing_made(folder, tmp_path / "out", match, ValueError)
    assert not list(tmp_path.glob("escaped*"))


def test_what_cannot_be_fetched_is_told_file_by_file(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        fetch.fetch(DATASET, tmp_path)
    told = str(raised.value)
    assert "\n" not in told and str(tmp_path / "infographicvqa") in told
    for part in ("rrc.cvc.uab.es", "Task 3", NAME, "infographicsvqa_images"):
        assert part in told
    assert "--mirror" in told and "--source" in told
