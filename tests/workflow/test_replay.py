import os
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest

import workflow
from vicrop.run import loop, provenance
from vicrop.run.records import RunConfig
from workflow import replay

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")


@pytest.fixture
def config(drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "data")
    return RunConfig(dataset=str(folder), max_new_tokens=2)


def test_page_of_a_finished_run_loads_no_torch(config):
    loop.run(config, progress=False)
    book = nbformat.read(workflow.notebooks() / "run.ipynb", as_version=4)
    cells = [cell.source for cell in book.cells if cell.cell_type == "code"]
    cells.insert(1, f"dataset, limit, max_new_tokens = {config.dataset!r}, 0, 2")
    code = "\n".join([*cells, "import sys; print({'torch'} & set(sys.modules))"])
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "no sample failed, and none is missing\nset()\n"


@pytest.mark.parametrize("lost", ["records_file", "maps_file"])
def test_sample_without_record_or_map_is_answered_again(config, lost):
    made = loop.run(config, progress=False)
    [(_, answer, _)] = replay.replay(config, ["0-read"])
    getattr(made, lost).unlink()
    vlm = provenance.load(config)
    [(_, again, _)] = replay.replay(config, ["0-read"], vlm)
    assert vlm.work.passes > 0
    assert (again.text, again.plain, again.box) == (
        answer.text,
        answer.plain,
        answer.box,
    )
    assert (again.amap.values == answer.amap.values).all()


def test_replay_shows_what_was_recorded(config):
    records = {
        record.id: record for record in loop.run(config, progress=False).records()
    }
    shown = replay.replay(config, ["2-color", "0-read"])
    assert [sample.id for *_, sample in shown] == ["2-color", "0-read"]
    for picture, answer, sample in shown:
        assert picture.size == (448, 448)
        assert answer.text == records[sample.id].answer
        assert answer.box == records[sample.id].box
        assert answer.amap is not None


def test_examples_show_every_sort_of_answer():
    scores = {"fixed": (0, 1), "broken": (1, 0), "wrong": (0, 0), "right": (1, 1)}
    rows = {
        f"{sort}{number}": (plain, score, None)
        for sort, (plain, score) in scores.items()
        for number in range(3)
    }
    rows["failed"] = (None, None, "ValueError: x")
    names = ["plain_score", "score", "error"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=names)
    shown = replay.examples(table, each=1)
    assert shown == ["fixed0", "broken0", "wrong0", "right0"]
    kept = ["fixed2", "right1"]
    assert replay.examples(table, each=1, kept=kept) == kept
