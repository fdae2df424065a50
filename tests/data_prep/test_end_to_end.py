"""Every data set and layout: originals -> ``prep`` -> ``run`` -> ``score``."""

import json

import pytest
from typer.testing import CliRunner

import data_prep
from tests.data_prep.originals import FIXTURES, key_of
from vicrop.cli import app
from vicrop.run import datasets


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "results"))
    return tmp_path


def shell(*words):
    """What a command prints; it must succeed."""
    made = CliRunner().invoke(app, [str(word) for word in words])
    assert made.exit_code == 0, made.output + repr(made.exception)
    return made.output


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda folder: folder.name)
def test_originals_become_answers_with_scores(fixture, folders):
    key = key_of(fixture)
    shell("prep", key, "--source", fixture)
    samples = datasets.load(key)
    shell("run", "--dataset", key, "--method", "rel-att", "--limit", 6)
    runs = sorted((folders / "results" / "runs").iterdir())
    shell("score", *runs)
    [lines] = [(run / "records.jsonl").read_text().splitlines() for run in runs]
    records = [json.loads(line) for line in lines]
    assert len(records) == min(6, len(samples))
    assert all(record["error"] is None for record in records)
    assert all(0 <= record["score"] <= 1 for record in records)


def test_every_data_set_has_a_fixture():
    assert {key_of(fixture) for fixture in FIXTURES} == set(data_prep.MODULES)


def test_every_layout_has_a_fixture():
    from data_prep.originals.search import Originals

    seen = {
        (key_of(fixture), data_prep.get(key_of(fixture)).layout_of(found).name)
        for fixture in FIXTURES
        for found in [Originals([fixture])]
    }
    known = {
        (key, layout.name)
        for key in data_prep.MODULES
        for layout in data_prep.get(key).layouts
    }
    assert seen == known
