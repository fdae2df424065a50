"""The table of all data sets."""

import json

import pytest

import data_prep
from data_prep import overview


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    return tmp_path


def put(data, key, rows):
    (data / key).mkdir()
    (data / key / "data.json").write_text(json.dumps(rows))


def test_every_data_set_has_a_row(data):
    table = overview.table().set_index("key")
    assert list(table.index) == list(data_prep.MODULES)
    assert set(table["here"]) == {"no"}
    assert table.loc["gqa", "in the paper"] == "10,781 / 398"


def test_what_has_been_made_is_counted(data, row):
    put(data, "gqa", [row(id="a"), row(id="b")])
    put(data, "plates", [row(boxes=[[0, 0, 2, 2]])])
    table = overview.table().set_index("key")
    assert table.loc["gqa", "here"] == "2 questions"
    assert table.loc["docvqa", "here"] == "no"
    assert overview.with_boxes() == ["plates"]


def test_questions_and_gigabytes_are_those_that_are_asked_and_fetched():
    published = overview.published()
    assert published["vqav2"][0] == 50_000  # of more that are published
    assert published["textvqa"] == (5000, pytest.approx(8.4, abs=0.1))
