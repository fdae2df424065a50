import json

import nbformat
import numpy as np
import pytest
from pydantic import ValidationError

import workflow
from vicrop.run.records import HOW, Record, RunConfig, Sample, SavedMap
from vicrop.types import Box, Map


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"question": " "}, "question"),
        ({"question": None}, "question"),
        ({"labels": 4.0}, "labels"),
        ({"labels": [None]}, "labels"),
        ({"image_path": ""}, "image_path"),
        ({"boxes": [[0, 0, 1]]}, "boxes"),
        ({"boxes": [[5, 0, 2, 9]]}, "boxes"),
        ({"boxes": [[0, 9, 5, 2]]}, "boxes"),
        ({"boxes": [[1, 0, 1, 2]]}, "boxes"),
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
        {"crops": 0},
        {"gate_alpha": 1},
        {"gate_feature": "mood"},
    ],
)
def test_run_config_refuses(changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        RunConfig(**changes)


def test_every_parameter_that_records_depend_on_is_in_the_runs_name():
    changed = {
        "model": "other",
        "method": "no-crop",
        "dataset": "plates-hd",
        "limit": 5,
        "seed": 1,
        "dtype": "bfloat16",
        "layer": 1,
        "max_new_tokens": 3,
        "fit": "pad",
        "geometry": "upstream",
        "options": {"max_pixels": 9216},
        "boxes_from": "runs/other",
        "crop_policy": "funnel",
        "crops": 3,
        "gate": "runs/other",
        "gate_feature": "margin",
        "gate_alpha": 0.2,
    }
    assert changed.keys() == RunConfig.model_fields.keys() - set(HOW)
    made = [RunConfig(**{key: value}) for key, value in changed.items()] + [RunConfig()]
    assert len({config.run_id for config in made}) == len(made)
    assert made[0].identity().keys() == changed.keys()


def test_how_a_run_is_made_does_not_change_its_name():
    how = {
        "family": "llava",
        "device": "cuda",
        "shard": 1,
        "shards": 3,
        "batch_size": "auto",
        "sample_timeout": 2.5,
        "save_maps": True,
    }
    assert tuple(how) == HOW
    assert RunConfig(**how).identity() == RunConfig().identity()
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


def test_records_of_before_are_read_and_empty_news_is_not_written():
    told = {"id": "a", "question": "what?", "labels": ["4"], "answer": "4"}
    made = Record(**told)
    assert Record.from_line(json.dumps(told)) == Record.from_line(made.line()) == made
    later = {"further": [(1, 2, 3, 4)], "features": {"margin": 0.5}, "gated": True}
    assert not later.keys() & json.loads(made.line()).keys()
    full = Record(**told, **later)
    assert Record.from_line(full.line()) == full
    assert later.keys() <= json.loads(full.line()).keys()


def test_the_run_notebook_has_the_same_parameters_and_defaults():
    """Save ``limit``, so that it is a smoke run, and what only the page needs."""
    book = nbformat.read(workflow.notebooks() / "run.ipynb", as_version=4)
    (cell,) = (c for c in book.cells if "parameters" in c.metadata.get("tags", ()))
    given: dict = {}
    exec(cell.source, given)
    told = {name: given[name] for name in given if not name.startswith("__")}
    assert told.pop("progress") is True and told.pop("limit") == 8
    assert told == RunConfig().model_dump(exclude={"limit"})


def test_every_parameter_is_described_where_help_and_documentation_read_it():
    for name, field in RunConfig.model_fields.items():
        assert f"{name}: {field.description}" in RunConfig.__doc__


@pytest.mark.parametrize("region", [None, (0.5, 1.0, 20.25, 30.0)])
def test_map_comes_back_to_the_last_bit(rng, region):
    amap = Map(rng.random((3, 5)) ** 9, region)
    line = SavedMap.of("ü", amap).line()
    saved = SavedMap.from_line(line)
    back = saved.map()
    assert saved.id == "ü" and line.count("\n") == 1
    assert back.values.tobytes() == amap.values.tobytes()
    assert (back.shape, back.region) == ((3, 5), region)


def test_changed_map_is_refused(rng):
    line = SavedMap.of("a", Map(rng.random((3, 5)))).line()
    with pytest.raises(ValueError, match="checksum"):
        SavedMap.from_line(line.replace('"a"', '"b"'))


def test_even_map_takes_a_few_bytes():
    assert len(SavedMap.of("a", Map(np.ones((24, 24)))).line()) < 200
