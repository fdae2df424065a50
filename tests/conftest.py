"""What tests share: a small random model, a scene, a data set; and no network."""

import json
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile(
    "same-every-time", derandomize=True, deadline=None, max_examples=60, database=None
)
settings.load_profile("same-every-time")

GOLDEN = Path(__file__).parent / "golden"


# Before anything imports torch or huggingface_hub, the notebooks' conftest included: a
# process that torch has started threads in must not fork.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_collection_modifyitems(items):
    """What takes long comes first: no worker is to be left with it at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.suffix == ".py", item.path not in slow))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    connect = socket.socket.connect

    def local_only(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a test wants the network: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def golden():
    return json.loads((GOLDEN / "boxes_and_splits.json").read_text())


@pytest.fixture(scope="session")
def golden_llava():
    """Folder of the authors' numbers for a small random LLaVA."""
    return GOLDEN / "llava"


@pytest.fixture(scope="session")
def random_llava():
    """Makes a tiny-llava of random weights, large enough that answers vary."""
    import torch

    from embedded import llava

    def make(seed: int = 0):
        torch.manual_seed(seed)
        model = llava.model().eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(6 if weight.ndim > 1 else 1)
        return model

    return make


@pytest.fixture(scope="session")
def llama():
    """A random Llama with grouped queries, weights large enough to look somewhere."""
    import torch
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation="sdpa",
    )
    model = LlamaModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim > 1 else 1)
    return model


@pytest.fixture(scope="session")
def processor():
    from embedded import llava

    return llava.processor()


@pytest.fixture(scope="session")
def vlm(random_llava, processor):
    from twins import with_heads

    from vicrop import adapters

    return with_heads(adapters.wrap(random_llava(), processor, "llava", layer=2))


@pytest.fixture(scope="session")
def scene():
    """A drawn scene and its picture, 448 × 448 pixels."""
    from embedded import scenes

    drawn, pixels = scenes.draw(scenes.PLATES, seed=3)
    return drawn, Image.fromarray(pixels)


@pytest.fixture(scope="session")
def picture(scene):
    return scene[1]


@pytest.fixture(scope="session")
def view(vlm, picture):
    return vlm.look(picture)


@pytest.fixture
def write_data(tmp_path):
    """Writes a data set in the unified format; its folder, to be given as dataset."""

    def write(rows, images=(), name="data"):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True, exist_ok=True)
        text = rows if isinstance(rows, str) else json.dumps(rows)
        (folder / "data.json").write_text(text, encoding="utf-8")
        for number, image in enumerate(images):
            image.save(folder / "images" / f"{number}.png")
        return folder

    return write


@pytest.fixture
def row():
    """Makes a valid row of a ``data.json``, changed as asked."""

    def make(**changes):
        plain = {
            "id": "a",
            "question": "what digit is on the red plate?",
            "labels": ["4"],
            "image_path": "0.png",
        }
        return plain | changes

    return make


@pytest.fixture
def vicrop(monkeypatch, capsys):
    """Runs ``vicrop …``; exit status, stdout, stderr."""
    from vicrop import cli

    def call(*args):
        monkeypatch.setattr("sys.argv", ["vicrop", *map(str, args)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def results_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture(scope="session")
def saved_weights(tmp_path_factory, random_llava, processor):
    """A folder with a random ``tiny-llava``, as ``paths.WEIGHTS`` has the real one."""
    root = tmp_path_factory.mktemp("weights")
    random_llava().save_pretrained(root / "tiny-llava")
    processor.save_pretrained(root / "tiny-llava")
    return root


@pytest.fixture
def random_weights(saved_weights, monkeypatch):
    """Lets ``tiny-llava`` be the random model."""
    from vicrop import paths

    monkeypatch.setattr(paths, "WEIGHTS", saved_weights)
    return saved_weights


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Three scenes with two questions each, ground-truth boxes included."""
    from embedded import scenes

    folder = tmp_path_factory.mktemp("drawn")
    (folder / "images").mkdir()
    rows = []
    for number in range(3):
        scene, pixels = scenes.draw(scenes.PLATES, seed=number)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        for kind, plate in zip(("read", "color"), scene.plates, strict=False):
            asked = scenes.ask(kind, plate, np.random.default_rng(number))
            rows.append(
                {
                    "id": f"{number}-{kind}",
                    "question": asked.text,
                    "labels": [asked.answer],
                    "image_path": f"{number}.png",
                    "boxes": [plate.box],
                }
            )
    (folder / "data.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def validation(drawn, tmp_path, random_weights, results_folder):
    """Data, and a run on them of whose 28 answers the lowest 9 are repaired.

    Only its records' features and scores are made up.
    """
    from vicrop import methods
    from vicrop.run import loop, records

    folder = shutil.copytree(drawn, tmp_path / "val")
    rows = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps(rows[:-1]))
    config = records.RunConfig(dataset=str(folder), max_new_tokens=2)
    run = loop.run(config, progress=False)
    first = next(run.records())
    lines = []
    for number in range(1, 29):
        made = {
            "features": {key: number / 100 for key in methods.FEATURES},
            "plain_score": float(number > 9),
            "score": 1.0,
        }
        lines.append(first.model_copy(update={"id": str(number), **made}).line())
    run.records_file.write_text("".join(lines))
    return folder, run
