import shutil

import pytest
import torch
from safetensors.torch import load_file

from data_prep import plates
from embedded import cards, instructblip, llava, qwen, scenes, train, training_data
from embedded.fit import Schedule, Workers
from vicrop import adapters, paths
from vicrop.run.provenance import weights_hash

# Python 3.12 and on warn of a fork beside torch's threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

QUESTION = "what digit is on the red plate?"


@pytest.fixture(scope="module", autouse=True)
def short():
    """All stages, two steps each, on a few scenes."""
    schedule = Schedule(steps=2, batch=2, rate=1e-3, warmup=1)
    with pytest.MonkeyPatch.context() as patch:
        for family in (llava, instructblip, qwen):
            for stage in family.STAGES:
                patch.setitem(family.STAGES, stage, schedule)
        patch.setattr(training_data, "CHUNK", 2)
        for name, first in (("FIRST", 0), ("SMALLER", 4)):
            source = training_data.Source(first, 4, scenes.PLATES)
            patch.setattr(training_data, name, source)
        yield


def trained(folder):
    folder.mkdir(exist_ok=True)
    train.train_llava(folder, Workers(0, 1))
    return weights_of(folder)


def weights_of(folder):
    return (folder / "tiny-llava" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def first(tmp_path_factory, short):
    """A folder in which tiny-llava was trained."""
    folder = tmp_path_factory.mktemp("first")
    trained(folder)
    return folder


@pytest.fixture
def begun(first, tmp_path):
    """The same, to train on in."""
    return shutil.copytree(first, tmp_path, dirs_exist_ok=True)


def test_all_stages_make_a_model_that_loads_and_answers(first, picture):
    vlm = adapters.load(str(first / "tiny-llava"), family="llava", layer=1)
    view = vlm.look(picture)
    assert isinstance(view.ask(QUESTION, max_new_tokens=2).text, str)
    assert view.importance(QUESTION).shape == (12, 12)


def test_training_again_makes_the_same_bytes(first, tmp_path):
    assert trained(tmp_path) == weights_of(first)


def test_qwen_goes_on_from_tiny_llava_and_comes_out_the_same(begun, picture):
    made, folder = [], begun / "qwen/tiny-qwen2.5-vl"
    for _ in range(2):
        shutil.rmtree(begun / "qwen", ignore_errors=True)
        train.train_qwen(begun, Workers(0, 1))
        made.append((folder / "model.safetensors").read_bytes())
    assert made[0] == made[1]
    vlm = adapters.load(str(folder), family="qwen2.5-vl", layer=1, crop_px=96)
    view = vlm.look(picture)
    assert isinstance(view.ask(QUESTION, max_new_tokens=2).text, str)
    assert view.importance(QUESTION).shape == (12, 12)


def test_unmasked_shares_what_sees_and_differs_in_what_it_was_masked(begun):
    """Two steps of the language stage decide by their number whether to mask."""
    key = "tiny-llava-unmasked"
    train.train_unmasked(key, 7, begun, Workers(0, 1))
    here, there = (
        load_file(folder / "model.safetensors")
        for folder in (begun / "tiny-llava", begun / key / key)
    )
    tower = [name for name in here if "vision_tower" in name]
    assert tower and all(torch.equal(here[name], there[name]) for name in tower)
    assert any(not torch.equal(here[name], there[name]) for name in here)


def test_instructblip_stands_behind_tiny_llavas_tower(begun, picture):
    train.train_instructblip(begun, Workers(0, 1))
    folder = str(begun / "instructblip/tiny-instructblip")
    view = adapters.load(folder, family="instructblip", layer=1).look(picture)
    assert isinstance(view.ask(QUESTION, max_new_tokens=2).text, str)
    assert view.importance(QUESTION).shape == (12, 12)


@pytest.mark.parametrize("stage", ["cache", "Pool"])
def test_training_interrupted_between_stages_makes_the_same_bytes(
    first, tmp_path, monkeypatch, stage
):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_data, stage, interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path)
    assert trained(tmp_path) == weights_of(first)


def test_finished_training_is_not_repeated(first, begun, monkeypatch):
    monkeypatch.setattr(
        training_data, "pictures", lambda *_: pytest.fail("drawn again")
    )
    monkeypatch.setattr(llava.Dense, "loss", lambda *_: pytest.fail("trained again"))
    assert trained(begun) == weights_of(first)


def test_command_trains_and_leaves_weights_with_their_card(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    quota = (("small", 2), ("medium", 1), ("large", 1), ("exists", 1))
    recipe = plates.Recipe(scenes.PLATES, "val", quota)
    plates.make("plates-val", tmp_path, progress=False, recipe=recipe)
    monkeypatch.setattr(train.mp, "spawn", in_this_process)
    monkeypatch.setattr(train.signal, "signal", lambda *_: None)
    train.main(tmp_path / "train", tmp_path / "weights", processes=1)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    assert set(train.RECIPES) == set(cards.SUBJECTS)
    for key in train.RECIPES:
        card = cards.read(key)
        assert card["weights_sha256"] == weights_hash(adapters.load(key))
        stages = cards.SUBJECTS[key].stages
        assert {name: len(rows) for name, rows in card["curves"].items()} == (
            dict.fromkeys(stages, 1)
        )


def in_this_process(work, args, nprocs, daemon):
    """Stands in for ``mp.spawn``."""
    work(0, *args)


def test_training_does_not_begin_without_validation_data(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    monkeypatch.setattr(train.mp, "spawn", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(FileNotFoundError, match="`python -m data_prep.plates`"):
        train.main(tmp_path / "train", tmp_path / "weights")
