import shutil

import pandas as pd
import pytest

from vicrop.run import loop, provenance
from vicrop.run.records import RunConfig
from workflow import replay

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")


@pytest.fixture
def config(drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "data")
    return RunConfig(dataset=str(folder), max_new_tokens=2)


def test_replay_shows_what_was_recorded(config):
    records = {
        record.id: record for record in loop.run(config, progress=False).records()
    }
    shown = replay.replay(config, provenance.load(config), ["2-color", "0-read"])
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
