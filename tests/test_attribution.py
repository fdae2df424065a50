import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from vicrop import adapters, attribution
from vicrop.adapters import GENERAL_QUESTION
from vicrop.adapters.llava import prompt_text

QUESTION = "what digit is on the red plate?"


@pytest.fixture(scope="module")
def expected(golden_llava):
    return json.loads((golden_llava / "expected.json").read_text())


@pytest.fixture(scope="module")
def golden_vlm(golden_llava, expected):
    model = LlavaForConditionalGeneration.from_pretrained(golden_llava)
    return adapters.wrap(model, family="llava", layer=expected["layer"])


@pytest.fixture(scope="module")
def golden_inputs(golden_llava, expected):
    side = expected["image_resolution"]
    with Image.open(golden_llava / "image.png") as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(small, np.float32) / 127.5 - 1)
    pixels = pixels.permute(2, 0, 1)[None]
    return [
        {"input_ids": torch.tensor([expected[key]]), "pixel_values": pixels}
        for key in ("question_ids", "general_ids")
    ]


def share_of_range(found, wanted):
    """Largest difference over the range of what is wanted."""
    return np.abs(found - wanted).max() / (wanted.max() - wanted.min())


def test_rel_att_is_the_authors(golden_vlm, golden_inputs, expected):
    found = attribution.compute("rel-att", golden_vlm, *golden_inputs)
    assert found.dtype == np.float32
    assert share_of_range(found, np.array(expected["maps"]["rel_att"])) < 1e-4


def slow_attention(vlm, inputs):
    """(layers, rows, cols) the plain way: all weights of all layers, eagerly."""
    model = copy.deepcopy(vlm.model)  # transformers leaves a hook of its own on it
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = model(**inputs, output_attentions=True).attentions
    image = inputs["input_ids"][0] == model.config.image_token_id
    rows = [layer[0, :, -1][:, image].mean(0) for layer in weights]
    return torch.stack(rows).reshape(len(weights), *vlm.grid).numpy()


@pytest.fixture(scope="module")
def inputs(processor, picture):
    """The processor's inputs for the question and for the general prompt."""
    return [
        processor(images=picture, text=prompt_text(text), return_tensors="pt")
        for text in (QUESTION, GENERAL_QUESTION)
    ]


def test_attention_of_every_layer_equals_output_attentions(vlm, inputs):
    wanted = slow_attention(vlm, inputs[0])
    layers = list(range(4))
    found = attribution.attention_to_image(vlm, vlm.read(inputs[0]), layers)
    assert found.shape == (4, 12, 12)
    for layer in layers:
        assert share_of_range(found[layer], wanted[layer]) < 1e-4


def test_attention_of_the_maps_layer_is_that_layers(vlm, inputs):
    prompt = vlm.read(inputs[0])
    alone = attribution.attention_to_image(vlm, prompt)
    among = attribution.attention_to_image(vlm, prompt, [0, 2, 3])
    assert alone.shape == (12, 12)
    np.testing.assert_allclose(alone, among[1], rtol=1e-5)


def test_rel_att_equals_the_plain_way(vlm, inputs):
    question, general = (slow_attention(vlm, given)[vlm.layer] for given in inputs)
    found = attribution.compute("rel-att", vlm, *inputs)
    assert share_of_range(found, question / general) < 1e-4


def test_raw_att_needs_no_general_prompt(vlm, inputs):
    found = attribution.compute("raw-att", vlm, inputs[0])
    wanted = slow_attention(vlm, inputs[0])[vlm.layer]
    assert share_of_range(found, wanted) < 1e-4


def test_compute_equals_the_views_map(vlm, view, inputs):
    for method in attribution.MAPS:
        found = attribution.compute(method, vlm, *inputs, image=view.image)
        wanted = view.importance(QUESTION, method).values
        assert share_of_range(found, wanted) < 1e-4


def test_missing_general_prompt_is_asked_for(vlm, inputs):
    with pytest.raises(ValueError, match="rel-att divides by a general prompt"):
        attribution.compute("rel-att", vlm, inputs[0])


@pytest.mark.parametrize("method", ["rel_att", "no-crop", ""])
def test_unknown_map_is_named(vlm, inputs, method):
    with pytest.raises(ValueError, match=f"unknown map '{method}'; known: rel-att"):
        attribution.compute(method, vlm, *inputs)


def test_relative_divides_cell_by_cell_without_an_epsilon():
    question, general = np.array([[1.0, 2], [0, 3]]), np.array([[2.0, 4], [1, 0]])
    found = attribution.relative(question, general, None)
    assert found.tolist() == [[0.5, 0.5], [0.0, np.inf]]


def test_no_map_leaves_anything_behind(vlm, inputs):
    before = [module.config for module in vlm.attention]
    for method in attribution.MAPS:
        attribution.compute(method, vlm, *inputs)
    assert all(
        module.config is config
        for module, config in zip(vlm.attention, before, strict=True)
    )
    assert vlm.model.config._attn_implementation == "sdpa"
