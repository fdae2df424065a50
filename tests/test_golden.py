"""Maps equal those that the authors' own functions give on small random models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from vicrop import adapters, attribution

GOLDEN = Path(__file__).parent / "golden"
FAMILIES = {
    "llava": "llava",
    "instructblip": "instructblip",
    "qwen2_5_vl": "qwen2.5-vl",
}


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    """(vlm, question's inputs, general prompt's inputs, image, expected maps)."""
    folder = GOLDEN / request.param
    expected = json.loads((folder / "expected.json").read_text())
    vlm = model(folder, FAMILIES[request.param], expected)
    with Image.open(folder / "image.png") as opened:
        image = opened.convert("RGB")
    asked, general = (inputs(expected, image, kind) for kind in ("question", "general"))
    return vlm, asked, general, image, expected["maps"]


def model(folder, family, expected):
    """The small random model, at the layer that the numbers are of."""
    architecture = adapters.FAMILIES[family].facts.architecture
    config = transformers.AutoConfig.from_pretrained(folder)
    if family == "qwen2.5-vl":  # its config names Qwen's end token, of another table
        config.text_config.bos_token_id = config.text_config.eos_token_id = None
    made = architecture.from_pretrained(folder, config=config)
    layer = expected.get("layer", expected.get("lm_layer"))
    return adapters.wrap(made, family=family, layer=layer)


def inputs(expected, image, kind):
    """What a processor would return."""
    made = {"input_ids": torch.tensor([expected[f"{kind}_ids"]])}
    if f"qformer_{kind}_ids" in expected:
        made["qformer_input_ids"] = torch.tensor([expected[f"qformer_{kind}_ids"]])
    if "image_grid_thw" not in expected:
        side = expected["image_resolution"]
        return made | {"pixel_values": normalised(image, (side, side))}
    _, rows, cols = expected["image_grid_thw"]
    pixels = patched(normalised(image, (cols * 14, rows * 14)), rows, cols)
    shape = torch.tensor([expected["image_grid_thw"]])
    return made | {"pixel_values": pixels, "image_grid_thw": shape}


def normalised(image, size):
    """(1, 3, height, width), / 127.5 - 1."""
    small = image.resize(size, Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(small, np.float32) / 127.5 - 1)
    return pixels.permute(2, 0, 1)[None]


def patched(pixels, rows, cols):
    """In Qwen2-VL's order: the frame twice, 2×2 patches of 14 pixels together."""
    frames = pixels.repeat(2, 1, 1, 1)
    parts = frames.reshape(2, 3, rows // 2, 2, 14, cols // 2, 2, 14)
    return parts.permute(2, 5, 3, 6, 1, 0, 4, 7).reshape(rows * cols, -1)


@pytest.mark.parametrize("method", ["rel-att", "grad-att", "pure-grad"])
def test_map_is_the_authors(case, method):
    vlm, asked, general, image, maps = case
    found = attribution.compute(method, vlm, asked, general, image)
    assert found.dtype == np.float32
    key = method.replace("-", "_")
    if key not in maps:  # the authors have rel-att only for Qwen2.5-VL
        assert vlm.family == "qwen2.5-vl" and np.isfinite(found).all() and found.any()
        return
    wanted = np.array(maps[key])
    assert np.abs(found - wanted).max() < 1e-4 * (wanted.max() - wanted.min())


def test_all_seven_of_the_authors_maps_are_compared():
    counts = [
        len(json.loads((GOLDEN / name / "expected.json").read_text())["maps"])
        for name in FAMILIES
    ]
    assert counts == [3, 3, 1]
