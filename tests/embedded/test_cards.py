import json

import pytest

from analysis import looking
from data_prep import plates
from embedded import cards, llava, scenes
from vicrop import adapters, paths
from vicrop.run import datasets, results
from vicrop.run.provenance import file_hash, weights_hash

# Python 3.12 and on warn of a fork beside torch's threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

CURVES = [
    {"step": 25, "seconds": 30.0, "loss": 2.0, "color": 0.5},
    {"step": 50, "seconds": 90.0, "loss": 1.0, "color": 0.6, "char": 0.2},
]


@pytest.fixture
def card(saved_weights, tmp_path, monkeypatch):
    """The card of the random model, measured on a few validation scenes."""
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    quota = (("small", 3), ("medium", 1), ("large", 1), ("exists", 1))
    recipe = plates.Recipe(scenes.PLATES, "val", quota)
    plates.make("plates-val", tmp_path, progress=False, recipe=recipe)
    weights = tmp_path / "tiny-llava"
    weights.mkdir()
    for file in (saved_weights / "tiny-llava").iterdir():
        (weights / file.name).write_bytes(file.read_bytes())
    for stage in llava.STAGES:
        (tmp_path / f"{stage}.json").write_text(json.dumps(CURVES))
    subject = cards.SUBJECTS["tiny-llava"]
    cards.write(weights, tmp_path, subject, {"seed": 3, "processes": 2})
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    return cards.read("tiny-llava")


def test_card_says_what_was_trained_and_measured(card):
    vlm = adapters.load("tiny-llava")
    assert card["seed"] == 3 and card["processes"] == 2
    assert card["parameters"] == sum(p.numel() for p in vlm.model.parameters())
    assert card["weights_sha256"] == weights_hash(vlm)
    file = paths.WEIGHTS / "tiny-llava" / "model.safetensors"
    assert card["file_sha256"] == file_hash(file)
    assert card["seconds"] == dict.fromkeys(llava.STAGES, 90.0)


def test_layer_is_the_one_that_validation_scenes_chose(card):
    vlm = adapters.load("tiny-llava")
    samples = datasets.load(cards.VALIDATION)
    looked = looking.by_layer(vlm, cards.VALIDATION, samples)
    small = looked[looked["size"].map(results.size_group) == "small"]
    assert card["layer"] == looking.best_layer(small)
    assert card["covered_n"] == 3
    assert set(card["covered_by_layer"]) == {"0", "1", "2", "3"}


def test_card_becomes_tables(card):
    groups = {"small": 3, "medium": 1, "large": 1, "no object": 1}
    counted = sum(made["n"] for made in card["validation"].values())
    assert counted == len(datasets.load(cards.VALIDATION)) == sum(groups.values())
    assert len(cards.validation(card)) == len(card["validation"])
    schedule = cards.schedule(card)
    assert schedule["stage"].tolist() == list(llava.STAGES)
    assert schedule["minutes"].tolist() == ["1.5"] * len(llava.STAGES)
    assert schedule["batch"][0].startswith("2 × ")
    assert cards.layers(card)["layer"].tolist() == ["0", "1", "2", "3"]
    assert cards.metrics(card, "vision") == ["color", "char"]


def test_cards_stand_below_each_other_with_the_models_key(card):
    joined = cards.side_by_side({"one": card, "two": card}, cards.layers)
    assert joined.columns[0] == "model"
    assert joined["model"].tolist() == ["one"] * 4 + ["two"] * 4
    assert joined["layer"].tolist() == ["0", "1", "2", "3"] * 2


def test_writing_a_card_leaves_the_weights_alone(card, saved_weights):
    file = "tiny-llava/model.safetensors"
    assert (paths.WEIGHTS / file).read_bytes() == (saved_weights / file).read_bytes()
