import json

import pytest

import data_prep
from data_prep.originals.search import Originals
from data_prep.unified import build
from tests.fixtures.makers import draw
from tests.fixtures.makers.aokvqa import rows
from vicrop import scoring
from vicrop.run import datasets

KEYS = ("aokvqa", "aokvqa-mc")
PARQUET = "data/validation-00000-of-00001-0123456789abcdef.parquet"


def read(folder, key="aokvqa"):
    return data_prep.get(key).items(Originals([folder]))


def written(folder, values):
    draw.write_json(folder / "aokvqa_v1p0_val.json", values)
    return folder


def with_change(folder, **change):
    """The second row's fields changed; those that become None are taken out."""
    values = rows()
    changed = {**values[1], **change}
    values[1] = {key: value for key, value in changed.items() if value is not None}
    return written(folder, values)


def mirrored(folder, values, kind="JPEG"):
    """The mirror's file: no image_id, answers printed."""
    picture = {"bytes": draw.picture(0, (16, 16), kind=kind), "path": None}
    made = [
        {**row, "direct_answers": str(row["direct_answers"]), "image": picture}
        for row in values
    ]
    for row in made:
        del row["image_id"]
    draw.write_parquet(folder / PARQUET, made)
    return folder


def printed_as(folder, printed):
    return mirrored(folder, [{**rows()[0], "direct_answers": printed}])


def refused(folder, match, key="aokvqa", error=ValueError):
    with pytest.raises(error, match=match) as raised:
        read(folder, key)
    assert "\n" not in str(raised.value)


def test_direct_answers_are_ten_labels(tmp_path):
    first = read(written(tmp_path, rows()))[0]
    assert len(first.labels) == 10 and list(first.labels) == rows()[0]["direct_answers"]
    assert first.question == "What is in the rider's mouth?"
    assert first.options == ("straw", "a kite", "Oslo", "seven")


def test_picture_has_leading_zeros_and_no_prefix(tmp_path):
    found = [item.picture for item in read(written(tmp_path, rows()))]
    assert found[2] == "val2017/000000000029.jpg"


def test_difficult_questions_are_kept_and_told(tmp_path):
    told = [
        item.meta["difficult_direct_answer"] for item in read(written(tmp_path, rows()))
    ]
    assert told == [False, False, False, True]


def test_label_of_a_multiple_choice_is_the_right_choice(tmp_path):
    for item, row in zip(
        read(written(tmp_path, rows()), "aokvqa-mc"), rows(), strict=True
    ):
        assert list(item.labels) == [row["choices"][row["correct_choice_idx"]]]
        assert item.short_question == row["question"]
        assert item.question.startswith(row["question"] + "\n(A) ")


def test_letter_and_text_of_the_right_choice_both_score(tmp_path):
    item = read(written(tmp_path, rows()), "aokvqa-mc")[1]
    said = {
        answer: scoring.score("aokvqa-mc", answer, item.labels, item.question)
        for answer in ("D", "(D)", "straw", "A", "seven")
    }
    assert said == {"D": 1, "(D)": 1, "straw": 1, "A": 0, "seven": 0}


def test_one_choice_can_be_scored_though_answers_are_missing(tmp_path):
    folder = with_change(tmp_path, direct_answers=None)
    assert len(read(folder, "aokvqa-mc")) == 4


@pytest.mark.parametrize("key", KEYS)
def test_mirror_gives_the_same_questions(key, tmp_path):
    def kept(folder):
        return [
            (i.key, i.question, i.labels, i.options, i.meta) for i in read(folder, key)
        ]

    published = kept(written(tmp_path / "published", rows()))
    assert kept(mirrored(tmp_path / "mirror", rows())) == published


@pytest.mark.parametrize(
    "printed",
    [
        "['a', 'b'",
        "cigarette",
        "__import__('os').getcwd()",
        "['a'] * 10",
        "a\x00b",
        "-" * 99_999,
    ],
)
def test_answers_that_are_no_printed_list_are_refused(printed, tmp_path):
    refused(printed_as(tmp_path, printed), "row 0 field direct_answers: not a printed")


@pytest.mark.parametrize("printed", ["{'a': 1}", "7", "[1, 2]", "['a', 'b']"])
def test_printed_values_of_another_shape_are_refused(printed, tmp_path):
    refused(printed_as(tmp_path, printed), "row 0 field direct_answers")


@pytest.mark.parametrize("count", [9, 11])
def test_nine_or_eleven_answers_are_refused(count, tmp_path):
    folder = with_change(tmp_path, direct_answers=["cab"] * count)
    refused(folder, rf"aokvqa_v1p0_val.json row 1 field direct_answers: .* not {count}")


@pytest.mark.parametrize("answers", [None, []])
def test_test_split_has_no_answers(answers, tmp_path):
    folder = with_change(tmp_path, direct_answers=answers)
    refused(folder, "row 1 field direct_answers: no answers, as in the test split")


def test_test_split_has_no_right_choice(tmp_path):
    folder = with_change(tmp_path, correct_choice_idx=None)
    refused(folder, "row 1 field correct_choice_idx: no right choice", "aokvqa-mc")


@pytest.mark.parametrize("place", [-1, 4])
def test_right_choice_must_be_one_of_them(place, tmp_path):
    folder = with_change(tmp_path, correct_choice_idx=place)
    refused(folder, f"row 1 field .*none of the 4 choices.*got '{place}'", "aokvqa-mc")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "field, value",
    [
        ("question", ""),
        ("question", ["What?"]),
        ("question_id", 7),
        ("choices", ["one"]),
        ("choices", "straw"),
        ("image_id", "x"),
        ("image_id", -1),
    ],
)
def test_wrong_schema_names_file_row_and_field(key, field, value, tmp_path):
    folder = with_change(tmp_path, **{field: value})
    refused(folder, f"aokvqa_v1p0_val.json row 1 field {field}", key)


@pytest.mark.parametrize("key", KEYS)
def test_torn_json_is_told(key, tmp_path):
    file = tmp_path / "aokvqa_v1p0_val.json"
    file.write_text(json.dumps(rows())[:-20])
    refused(tmp_path, "aokvqa_v1p0_val.json is not whole JSON", key)


def test_text_that_is_not_utf8_is_told(tmp_path):
    file = tmp_path / "aokvqa_v1p0_val.json"
    file.write_bytes(
        json.dumps([{"question": "café"}], ensure_ascii=False).encode("latin-1")
    )
    refused(tmp_path, "aokvqa_v1p0_val.json is not UTF-8")


def test_question_that_is_there_twice_is_refused(tmp_path):
    folder = with_change(tmp_path, question_id=rows()[0]["question_id"])
    refused(folder, "row 1: question '22jbM6gDxdaMaunuzgrsBB' is also .*row 0")


def test_other_split_alone_is_not_taken(tmp_path):
    draw.write_json(tmp_path / "aokvqa_v1p0_test.json", rows())
    refused(tmp_path, "holds no original files of aokvqa", error=FileNotFoundError)


def test_missing_picture_is_named_and_nothing_stays(tmp_path):
    folder = written(tmp_path / "originals", rows())
    with pytest.raises(FileNotFoundError, match=r"row 0: no picture val2017/0+461751"):
        build.build(data_prep.get("aokvqa"), Originals([folder]), tmp_path / "data")
    assert not (tmp_path / "data" / "aokvqa").exists()


def test_mirrored_picture_takes_its_question_s_name(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    folder = mirrored(tmp_path / "originals", rows()[:1], kind="PNG")
    build.build(data_prep.get("aokvqa"), Originals([folder]), tmp_path)
    [sample] = datasets.load("aokvqa")
    assert sample.image_path == "22jbM6gDxdaMaunuzgrsBB.png"
    kept = datasets.image_path("aokvqa", sample).read_bytes()
    assert kept == draw.picture(0, (16, 16), kind="PNG")
