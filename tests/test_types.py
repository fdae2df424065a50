import numpy as np
import pytest
from pydantic import ValidationError

from vicrop.run.records import HOW, Record, RunConfig, Sample
from vicrop.types import Answer, Box, Map, check_question


def test_box_measures_itself_in_pixels():
    box = Box(10, 20, 40, 60)
    assert (box.width, box.height, box.area, box.center) == (30, 40, 1200, (25, 40))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(4), r"must be \(rows, cols\), got shape \(4,\)"),
        (np.ones((2, 2, 3)), r"got shape \(2, 2, 3\)"),
        (np.ones((0, 3)), r"got shape \(0, 3\)"),
        ([[1, np.nan], [1, 1]], "has 1 cells that are NaN or infinite"),
        ([[np.inf, -np.inf]], "has 2 cells that are NaN or infinite"),
        ([[1, 1e300]], "has 1 cells that are NaN or infinite"),
        ([[1, -0.5]], r"has a negative cell \(-0.5\)"),
        (np.zeros((3, 3)), "zero everywhere"),
        ([[0, 1e-300]], "zero everywhere"),
    ],
)
def test_map_refuses_values_that_point_nowhere(values, message):
    with pytest.raises(ValueError, match=message):
        Map(values)


def test_map_keeps_its_own_float32_copy():
    values = np.ones((2, 3))
    amap = Map(values)
    values[:] = 7
    assert amap.values.dtype == np.float32
    assert amap.shape == (2, 3)
    assert (amap.values == 1).all()


def test_map_of_float32_is_a_copy_too():
    values = np.ones((2, 3), np.float32)
    amap = Map(values)
    values[:] = 7
    assert (amap.values == 1).all()


@pytest.mark.parametrize("question", ["", " ", "\n\t "])
def test_empty_question_is_refused(question):
    with pytest.raises(ValueError, match="the question is empty"):
        check_question(question)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"question": " "}, "question"),
        ({"question": None}, "question"),
        ({"labels": []}, "labels"),
        ({"labels": "4"}, "labels"),
        ({"labels": [4]}, "labels"),
        ({"image_path": ""}, "image_path"),
        ({"boxes": [[0, 0, 1]]}, "boxes"),
        ({"boxes": [[5, 0, 2, 9]]}, "boxes"),
        ({"boxes": [[0, 9, 5, 2]]}, "boxes"),
        ({"boxes": [[-1, 0, 5, 2]]}, "boxes"),
        ({"boxes": [[0, 0, float("nan"), 2]]}, "boxes"),
        ({"boxes": [[0, 0, float("inf"), 2]]}, "boxes"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_sample_refuses_a_bad_field_by_name(row, changes, field):
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(row(**changes))
    assert caught.value.errors()[0]["loc"][0] == field


def test_sample_takes_what_the_format_allows_beside_the_four_fields(row):
    sample = Sample.model_validate(
        row(
            short_question="red plate",
            boxes=[[1, 2, 3, 4.5]],
            options=["4", "5"],
            meta={"kind": "digit"},
        )
    )
    assert sample.boxes == ((1, 2, 3, 4.5),)


def test_samples_are_frozen(row):
    sample = Sample.model_validate(row())
    with pytest.raises(ValidationError, match="frozen"):
        sample.question = "another?"


@pytest.mark.parametrize(
    "changes",
    [
        {"limit": -1},
        {"max_new_tokens": 0},
        {"layer": "two"},
        {"modle": "x"},
        {"fit": "stretch"},
        {"geometry": "flat"},
    ],
)
def test_run_config_refuses(changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        RunConfig(**changes)


def test_every_parameter_changes_the_digest():
    changed = {
        "model": "other",
        "method": "no-crop",
        "dataset": "plates-hd",
        "limit": 5,
        "seed": 1,
        "dtype": "bfloat16",
        "device": "cuda",
        "layer": 1,
        "max_new_tokens": 3,
        "fit": "pad",
        "geometry": "upstream",
        "options": {"max_pixels": 9216},
        "boxes_from": "runs/other",
    }
    assert changed.keys() == RunConfig.model_fields.keys() - set(HOW)
    digests = {RunConfig(**{key: value}).digest() for key, value in changed.items()}
    assert len(digests | {RunConfig().digest()}) == len(changed) + 1


def test_how_a_run_is_made_does_not_change_the_digest():
    how = {
        "shard": 1,
        "shards": 3,
        "batch_size": "auto",
        "sample_timeout": 2.5,
        "save_maps": True,
    }
    assert tuple(how) == HOW
    assert RunConfig(**how).digest() == RunConfig().digest()
    assert RunConfig(**how).run_id == RunConfig().run_id


def test_shard_that_is_not_there_is_refused():
    with pytest.raises(ValidationError, match="shard 2 is not one of 2, counted from"):
        RunConfig(shard=2, shards=2)


def test_run_id_names_what_was_asked_and_is_one_folder():
    assert RunConfig().run_id == "tiny-llava__rel-att__plates"
    subset = RunConfig(limit=5, seed=2, layer=3).run_id
    assert subset == "tiny-llava__rel-att__plates__n5-s2__layer3"
    shown = RunConfig(fit="pad", geometry="upstream", options={"max_pixels": 9}).run_id
    assert shown == "tiny-llava__rel-att__plates__pad__upstream__max_pixels9"
    again = RunConfig(boxes_from="book/results/runs/a__rel-att__b/").run_id
    assert again == "tiny-llava__rel-att__plates__boxes-of-a__rel-att__b"
    assert "/" not in RunConfig(model="llava-hf/x", dataset="/data/mine").run_id


def test_record_comes_back_from_its_line():
    record = Record(
        id="a",
        question="wörds “quoted”\nand lines?",
        labels=("4", "four"),
        plain="3",
        answer="4",
        plain_score=0.0,
        score=1.0,
        box=Box(1, 2, 30, 40),
        size=0.01,
        coverage=0.5,
    )
    line = record.line()
    assert line.endswith("\n") and line.count("\n") == 1
    assert Record.from_line(line) == record
    assert Record.from_line(line).box.width == 29


def test_answer_without_a_crop_has_no_box_and_no_map():
    answer = Answer("4", "4")
    assert answer.box is None and answer.amap is None
