"""What only a GPU can show: `pytest -m gpu tests`, every night where there is one."""

import shutil

import pytest
import torch

from vicrop import adapters
from vicrop.run import loop
from vicrop.run.records import RunConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
MODELS = ["tiny-llava", "tiny-instructblip", "tiny-qwen2.5-vl"]
METHODS = ["no-crop", "rel-att", "grad-att", "pure-grad"]


@pytest.fixture
def folder(drawn, tmp_path):
    return str(shutil.copytree(drawn, tmp_path / "data"))


def answers(folder, monkeypatch, place, **settings):
    """Every method's answers and boxes of the six questions."""
    monkeypatch.setenv("VICROP_RESULTS", str(place))
    configs = [RunConfig(dataset=folder, method=m, **settings) for m in METHODS]
    made = loop.run_together(configs, progress=False)
    assert all(folder.meta()["errors"] == 0 for folder in made)
    return [[(r.plain, r.answer, r.box) for r in one.records()] for one in made]


@pytest.mark.parametrize("model", MODELS)
def test_gpu_answers_as_a_cpu_does(folder, monkeypatch, tmp_path, model):
    """float32, and no rounding of products to tf32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    cpu = answers(folder, monkeypatch, tmp_path / "cpu", model=model)
    gpu = answers(folder, monkeypatch, tmp_path / "gpu", model=model, device="cuda")
    assert gpu == cpu


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [2, "auto"])
def test_batches_answer_as_one_by_one(folder, monkeypatch, tmp_path, model, size):
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    how = {"model": model, "device": "cuda"}
    alone = answers(folder, monkeypatch, tmp_path / "alone", **how)
    made = answers(folder, monkeypatch, tmp_path / "made", batch_size=size, **how)
    assert made == alone


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_answers_in_batches(folder, monkeypatch, tmp_path, dtype):
    """No equality: a batch rounds otherwise. Every question gets its answer."""
    how = {"model": "tiny-llava", "device": "cuda", "dtype": dtype}
    made = answers(folder, monkeypatch, tmp_path, batch_size=3, **how)
    assert all(len(one) == 6 for one in made)
    assert any(text for one in made for text, *_ in one)


def test_memory_of_closed_views_is_free_again(folder):
    vlm = adapters.load("tiny-llava", device="cuda")
    from PIL import Image

    before = torch.cuda.memory_allocated()
    with vlm.look(Image.new("RGB", (448, 448), "red")) as view:
        view.importance("what digit is on the red plate?")
        assert torch.cuda.memory_allocated() > before
        assert view.held_bytes > 0
    del view
    assert torch.cuda.memory_allocated() <= before + 2**20
