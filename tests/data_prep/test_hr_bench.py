import json
import re
import shutil

import pytest

from data_prep import hr_bench
from data_prep.originals.search import Originals
from data_prep.unified.build import build
from tests.data_prep.originals import FOLDER
from tests.fixtures.makers import draw
from tests.fixtures.makers.hr_bench import QUESTIONS, picture, rows, tsv
from vicrop import scoring
from vicrop.scoring import mcq

SIZES = ("4k", "8k")


def items_of(size, folder):
    return hr_bench.DATASETS[f"hr-bench-{size}"].items(Originals([folder]))


def made_of(tmp_path, size="4k", layout=""):
    data_set = hr_bench.DATASETS[f"hr-bench-{size}"]
    originals = Originals([FOLDER / f"hr-bench-{size}{layout}"])
    return build(data_set, originals, tmp_path).folder


@pytest.mark.parametrize("size", SIZES)
def test_label_is_the_letter_of_the_right_option_in_every_rotation(size):
    right = {question: options[n] for question, options, n, _ in QUESTIONS}
    for item in items_of(size, FOLDER / f"hr-bench-{size}"):
        assert mcq.options(item.question)[item.labels[0]] == right[item.short_question]
        assert len(item.labels) == 1
        assert list(mcq.options(item.question).values()) == list(item.options)


@pytest.mark.parametrize("size", SIZES)
def test_table_and_parquet_tell_the_same(size):
    first = items_of(size, FOLDER / f"hr-bench-{size}")
    second = items_of(size, FOLDER / f"hr-bench-{size}--tsv")
    for one, two in zip(first, second, strict=True):
        assert (one.question, one.labels, one.options) == (
            two.question,
            two.labels,
            two.options,
        )
        assert (one.key, one.image, one.meta) == (two.key, two.image, two.meta)
        assert one.picture.bytes() == two.picture.bytes()


@pytest.mark.parametrize("layout", ["", "--tsv"])
def test_rotations_share_one_picture(layout, tmp_path):
    folder = made_of(tmp_path, "8k", layout)
    shown = {}
    for row in json.loads((folder / "data.json").read_text()):
        shown.setdefault(row["short_question"], set()).add(row["image_path"])
    assert all(len(paths) == 1 for paths in shown.values())
    assert len(list((folder / "images").iterdir())) == len(QUESTIONS)
    for number, (question, *_) in enumerate(QUESTIONS):
        [path] = shown[question]
        assert (folder / "images" / path).read_bytes() == picture("8k", number)


def test_rotations_share_the_question_id():
    """Three questions in three cycles after the first; ids are their first rows'."""
    found = items_of("4k", FOLDER / "hr-bench-4k")
    assert [item.meta["question_id"] for item in found] == [0, 1, 2] * 4
    assert [item.meta["cycle"] for item in found[::3]] == [
        f"cycle_{number}" for number in (1, 2, 3, 4)
    ]


def test_two_questions_of_the_same_words_stay_two():
    row = dict(question="Which?", answer="A", category="single")
    one = row | dict(zip("ABCD", "wxyz", strict=True))
    two = row | dict(zip("ABCD", "xyzw", strict=True))
    rows = [
        hr_bench.Question(index=number, cycle_category=cycle, **made)
        for number, (made, cycle) in enumerate(
            [(one, 1), (two, 2), (one, 1), (two, 2), (one | {"A": "v"}, 1)]
        )
    ]
    assert hr_bench.bases(rows) == [0, 0, 2, 2, 4]


def test_one_letter_for_all_gives_the_chance_level(tmp_path):
    made = json.loads((made_of(tmp_path) / "data.json").read_text())
    scores = [
        scoring.score("hr-bench-4k", "A", row["labels"], row["question"])
        for row in made
    ]
    right: dict = {}
    for row, score in zip(made, scores, strict=True):
        right.setdefault(row["meta"]["question_id"], []).append(score)
    assert [sum(one) for one in right.values()] == [1] * len(right)
    assert {len(one) for one in right.values()} == {4}


def test_sizes_lie_in_one_folder_and_stay_apart(tmp_path):
    for size in SIZES:
        name = f"hr_bench_{size}.parquet"
        shutil.copy(FOLDER / f"hr-bench-{size}" / name, tmp_path / name)
    first = items_of("4k", tmp_path)[0].picture.bytes()
    assert first == picture("4k", 0) != items_of("8k", tmp_path)[0].picture.bytes()


def test_parts_as_another_harness_names_them_are_read(tmp_path):
    made = rows("4k")
    folder = tmp_path / "hrbench_version_split"
    for part, few in enumerate((made[:5], made[5:])):
        name = f"hrbench_4k-{part:05d}-of-00002.parquet"
        draw.write_parquet(folder / name, few)
    found = items_of("4k", tmp_path)
    assert [item.meta["index"] for item in found] == list(range(len(made)))
    assert found[5].picture.bytes() == picture("4k", 2)


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"answer": "E"}, "row 1 field answer: .*'A', 'B', 'C' or 'D'.*got 'E'"),
        ({"answer": ""}, "row 1 field answer: "),
        ({"C": ""}, "row 1 field C: .*at least 1"),
        ({"question": ""}, "row 1 field question: .*at least 1"),
        ({"index": "x"}, "row 1 field index: "),
        ({"index": 0}, "row 1: question '0' is also .* row 0"),
    ],
)
def test_row_that_is_wrong_is_named(fields, told, tmp_path):
    made = rows("4k")
    made[1] |= fields
    draw.write(tmp_path / "hr_bench_4k.tsv", tsv(made))
    with pytest.raises(ValueError, match=f"hr_bench_4k.tsv {told}") as e:
        items_of("4k", tmp_path)
    assert "\n" not in str(e.value)


def spoilt(tmp_path, image):
    made = rows("4k")
    made[1] |= {"image": image}
    draw.write(tmp_path / "in" / "hr_bench_4k.tsv", tsv(made))
    data_set = hr_bench.DATASETS["hr-bench-4k"]
    return build(data_set, Originals([tmp_path / "in"]), tmp_path / "out")


@pytest.mark.parametrize(
    "image, told",
    [
        ("#", "row 1 field image: not base64"),
        ("aGVsbG8=", "row 1: picture .* is no picture"),
    ],
)
def test_picture_that_is_none_is_named_with_its_row(image, told, tmp_path):
    with pytest.raises(ValueError, match=told) as e:
        spoilt(tmp_path, image)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "out" / "hr-bench-4k").exists()


def test_torn_table_is_named(tmp_path):
    whole = tsv(rows("4k")).decode()
    cut = whole.rindex("\t", 0, whole.rindex("\t"))
    (tmp_path / "hr_bench_4k.tsv").write_text(whole[:cut])
    with pytest.raises(ValueError, match="row 11 .*number of fields.*fetch it again"):
        items_of("4k", tmp_path)


def test_torn_parquet_is_named(tmp_path):
    whole = (FOLDER / "hr-bench-4k" / "hr_bench_4k.parquet").read_bytes()
    (tmp_path / "hr_bench_4k.parquet").write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="4k.parquet is not a whole parquet file"):
        items_of("4k", tmp_path)


def test_missing_column_is_named(tmp_path):
    made = [{k: v for k, v in row.items() if k != "answer"} for row in rows("4k")]
    draw.write_parquet(tmp_path / "hr_bench_4k.parquet", made)
    with pytest.raises(ValueError, match=re.escape("has no column answer; it has in")):
        items_of("4k", tmp_path)
