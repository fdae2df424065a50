import shutil

import pytest

from vicrop import adapters
from vicrop.run import datasets, loop, show
from vicrop.run.records import RunConfig
from vicrop.run.results import size_group

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def config(folder):
    return RunConfig(dataset=str(folder), max_new_tokens=2)


def test_example_is_a_small_object_that_the_model_gets_wrong(config, folder):
    vlm = adapters.load("tiny-llava")
    small = [
        sample
        for sample in datasets.load(str(folder))
        if size_group(datasets.object_size(sample, (448, 448))) == "small"
        and vlm.look(datasets.image_path(str(folder), sample)).ask(sample.question).text
        not in sample.labels
    ]
    assert small
    for number, sample in enumerate(small):
        found = show.example(vlm, "", "", number, dataset=str(folder))
        assert found[1:] == (sample.question, sample.boxes)
    with pytest.raises(ValueError, match=f"has only {len(small)} such samples"):
        show.example(vlm, "", "", len(small), dataset=str(folder))


def test_example_may_be_the_callers(folder):
    photo = str(folder / "images" / "1.png")
    picture, question, boxes = show.example(None, photo, "what is this?")
    assert (picture.size, question, boxes) == ((448, 448), "what is this?", ())
    with pytest.raises(ValueError, match="the question is empty"):
        show.example(None, photo, "")


def test_replay_shows_what_was_recorded(config):
    records = {
        record.id: record for record in loop.run(config, progress=False).records()
    }
    shown = show.replay(config, loop.load(config), ["2-color", "0-read"])
    assert [sample.id for *_, sample in shown] == ["2-color", "0-read"]
    for picture, answer, sample in shown:
        assert picture.size == (448, 448)
        assert answer.text == records[sample.id].answer
        assert answer.box == records[sample.id].box
        assert answer.amap is not None


def test_replays_are_by_model_and_sample(config, folder):
    picked = [("tiny-llava", "2-color"), ("tiny-llava", "0-read")]
    shown = show.replays(picked, "center-crop", str(folder))
    assert list(shown) == ["tiny-llava, 2-color", "tiny-llava, 0-read"]
    assert [sample.id for *_, sample in shown.values()] == ["2-color", "0-read"]
    assert show.replays([], "center-crop", str(folder)) == {}
