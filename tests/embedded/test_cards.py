import json

import numpy as np
import pytest

from analysis import looking
from data_prep import plates
from embedded import cards, llava, scenes
from vicrop import adapters, paths
from vicrop.adapters import MODELS
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


def test_heads_are_those_that_look_into_the_asked_objects_box(card):
    vlm, shares = adapters.load("tiny-llava"), []
    small = [one for one in datasets.load(cards.VALIDATION) if size_of(one) == "small"]
    assert len(small) == 3
    for sample, view in looking.views(vlm, cards.VALIDATION, small):
        prompt = view.whole.prompt(sample.question)
        (read,) = vlm.attend([prompt], range(4))  # (layers, 1, heads, keys)
        found = read[:, 0, :, prompt.prefix.span].reshape(*read.shape[:1], -1, 12, 12)
        shares.append([[inside(h, sample, view) for h in layer] for layer in found])
    mean = np.mean(shares, 0)
    order = sorted(np.ndindex(*mean.shape), key=lambda head: -mean[head])
    assert card["heads"] == [list(head) for head in order[:3]]


def size_of(sample):
    return results.size_group(datasets.object_size(sample, (448, 448)))


def inside(head, sample, view):
    """The share of a head's attention in the box, pixel by pixel of each cell."""
    cells = np.kron(head.numpy(), np.ones((112, 112)))  # 3 of a picture's pixels each
    left, top, right, bottom = (round(3 * edge) for edge in sample.boxes[0])
    assert view.image.size == (448, 448)
    return cells[top:bottom, left:right].sum() / cells.sum()


def test_registrys_heads_are_the_cards():
    made = {key: cards.read(key) for key in cards.SUBJECTS if MODELS[key].is_here()}
    chosen = {key: card["heads"] for key, card in made.items() if "heads" in card}
    assert {"tiny-llava", "tiny-instructblip", "tiny-qwen2.5-vl"} <= set(chosen)
    assert {key: MODELS[key].heads for key in chosen} == chosen


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
