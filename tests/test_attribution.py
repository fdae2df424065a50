import copy
import math

import numpy as np
import pytest
import torch
from PIL import Image

from vicrop import attribution
from vicrop.adapters.llava import prompt_text
from vicrop.attribution import GENERAL_QUESTION
from vicrop.prompts import log_likelihood

QUESTION = "what digit is on the red plate?"


def share_of_range(found, wanted):
    """Largest difference over the range of what is wanted."""
    return np.abs(found - wanted).max() / (wanted.max() - wanted.min())


def slow_attention(vlm, inputs):
    """(layers, rows, cols) the plain way: all weights of all layers, eagerly."""
    model = copy.deepcopy(vlm.model)  # transformers leaves a hook of its own on it
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = model(**inputs, output_attentions=True).attentions
    image = inputs["input_ids"][0] == model.config.image_token_id
    rows = [layer[0, :, -1][:, image].mean(0) for layer in weights]
    return torch.stack(rows).reshape(len(weights), *vlm.facts.grid).numpy()


@pytest.fixture(scope="module")
def inputs(processor, picture):
    """The processor's inputs for the question and for the general prompt."""
    return [
        processor(images=picture, text=prompt_text(text), return_tensors="pt")
        for text in (QUESTION, GENERAL_QUESTION)
    ]


def attention_by_layer(vlm, prompt):
    (rows,) = vlm.attend([prompt], range(len(vlm.attention)))
    return np.stack([attribution.paper.mean_of_heads(row, prompt) for row in rows])


def test_attention_of_every_layer_equals_output_attentions(vlm, inputs):
    wanted = slow_attention(vlm, inputs[0])
    found = attention_by_layer(vlm, vlm.read(inputs[0]))
    assert found.shape == (4, 1, 12, 12)
    for layer in range(4):
        assert share_of_range(found[layer, 0], wanted[layer]) < 1e-4


def test_attention_of_the_maps_layer_is_that_layers(vlm, inputs):
    prompt = vlm.read(inputs[0])
    (alone,) = attribution.paper.attention_to_image(vlm, [prompt])
    among = attention_by_layer(vlm, prompt)
    assert alone.shape == (1, 12, 12)
    np.testing.assert_allclose(alone, among[vlm.layer], rtol=1e-5)


def test_some_layers_rows_are_those_among_all(vlm, inputs):
    prompt = vlm.read(inputs[0])
    (some,), (every,) = (vlm.attend([prompt], n) for n in ([0, 2, 3], range(4)))
    torch.testing.assert_close(some, every[[0, 2, 3]])
    torch.testing.assert_close(some[1], vlm.run([prompt])[0].row)


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
        assert found.shape == (12, 12) and found.dtype == np.float32
        wanted = view.importance(QUESTION, method).values
        assert share_of_range(found, wanted) < 1e-4


def test_missing_general_prompt_is_asked_for(vlm, inputs):
    with pytest.raises(ValueError, match="rel-att needs a general prompt too"):
        attribution.compute("rel-att", vlm, inputs[0])


def test_missing_image_is_asked_for(vlm, inputs):
    with pytest.raises(ValueError, match="pure-grad filters by the image's detail"):
        attribution.compute("pure-grad", vlm, *inputs)


@pytest.mark.parametrize("method", ["rel_att", "no-crop", ""])
def test_unknown_map_is_named(vlm, inputs, method):
    with pytest.raises(ValueError, match=f"unknown map '{method}'; known: rel-att"):
        attribution.compute(method, vlm, *inputs)


def test_relative_divides_cell_by_cell_without_an_epsilon():
    question, general = np.array([[1.0, 2], [0, 3]]), np.array([[2.0, 4], [1, 0]])
    found = attribution.paper.relative(question, general)
    assert found.tolist() == [[0.5, 0.5], [0.0, np.inf]]


def test_floored_divides_by_no_less_than_one_cells_share():
    question, general = np.array([[[1.0, 2], [0, 3]]]), np.array([[[0.5, 4], [1, 0]]])
    found = attribution.paper.floored(question, general)
    assert found.tolist() == [[[2, 0.5], [0, 12]]]


def test_cell_means_are_of_each_cells_pixels():
    values = np.arange(24.0).reshape(1, 4, 6)
    found = attribution.paper.cell_means(values, (2, 3))
    wanted = [
        [values[0, y : y + 2, x : x + 2].mean() for x in (0, 2, 4)] for y in (0, 2)
    ]
    assert found[0].tolist() == wanted


def test_half_of_a_picture_has_more_detail_than_its_median(picture):
    mask = attribution.paper.detail_mask(picture, (96, 96))
    assert mask.shape == (96, 96) and 0.4 < mask.mean() <= 0.5


def test_keys_with_high_are_split():
    assert attribution.split("rel-att-high") == ("rel-att", True)
    assert attribution.split("pure-grad") == ("pure-grad", False)
    for method in ("no-crop-high", "-high", "high"):
        with pytest.raises(ValueError, match="unknown map"):
            attribution.split(method)


def test_no_map_leaves_anything_behind(vlm, inputs, picture):
    before = [module.config for module in vlm.attention]
    for method in attribution.MAPS:
        attribution.compute(method, vlm, *inputs, image=picture)
    assert all(
        module.config is config
        for module, config in zip(vlm.attention, before, strict=True)
    )
    assert vlm.model.config._attn_implementation == "sdpa"


def test_likelihood_is_one_tokens_even_where_several_are_likeliest():
    scores = torch.tensor([[9.0, 1.0, 9.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(log_likelihood(scores), scores)
    chances = scores.detach().softmax(-1)
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 0, 0]]) - chances)


def test_masked_out_cells_may_be_infinite(picture):
    flat = Image.new("RGB", (8, 8), "teal")
    flat.paste(picture.crop((0, 0, 4, 8)), (0, 0))
    mask = attribution.paper.detail_mask(flat, (8, 8))
    assert mask.any() and not mask.all()
    general = np.where(mask, 2.0, 0.0)[None]
    found = attribution.paper.filtered(np.ones((1, 8, 8)), general, [flat], (1, 1))
    assert found[0, 0, 0] == pytest.approx(mask.mean() / 2)


def test_map_of_two_images_at_once_is_refused(vlm, processor, picture):
    text = prompt_text(QUESTION, images=2)
    both = processor(images=[picture, picture], text=text, return_tensors="pt")
    with pytest.raises(ValueError, match="a map is of one image: got 2 images and 288"):
        attribution.compute("raw-att", vlm, both)


def test_several_or_padded_prompts_are_refused(vlm, inputs):
    one = inputs[0]
    two = {**one, "input_ids": one["input_ids"].repeat(2, 1)}
    padded = {**one, "attention_mask": torch.zeros_like(one["input_ids"])}
    for given in (two, padded):
        with pytest.raises(ValueError, match="expected one prompt without padding"):
            attribution.compute("raw-att", vlm, given)


def test_features_that_do_not_fit_the_prompt_are_refused(vlm, view):
    words = vlm.words(QUESTION, [view.whole.seen])
    with pytest.raises(ValueError, match="144 places for image tokens.*makes 145"):
        vlm.embed(words.ids, [torch.zeros(1, 145, 128)])


def mirrored(index, length):
    """An index beyond the border, mirrored at the middle of the border pixel."""
    while not 0 <= index < length:
        index = -index if index < 0 else 2 * (length - 1) - index
    return index


def reflected(index, length):
    """The same, mirrored at the border itself."""
    while not 0 <= index < length:
        index = -index - 1 if index < 0 else 2 * length - 1 - index
    return index


def slow_high_pass(pixels):
    """Blur, difference and median of (height, width, 3) in [0, 1], in loops."""
    height, width = pixels.shape[:2]
    bell = [math.exp(-(d**2) / (2 * 0.8**2)) for d in (-1, 0, 1)]
    detail = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            blurred = np.zeros(3)
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    near = pixels[mirrored(y + dy, height), mirrored(x + dx, width)]
                    blurred += bell[dy + 1] * bell[dx + 1] * near / sum(bell) ** 2
            detail[y, x] = math.sqrt(((pixels[y, x] - blurred) ** 2).sum())
    median = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            near = [
                detail[reflected(y + dy, height), reflected(x + dx, width)]
                for dy in range(-3, 4)
                for dx in range(-3, 4)
            ]
            median[y, x] = sorted(near)[24]
    return median


@pytest.mark.parametrize("shape", [(12, 9), (8, 8), (2, 15), (5, 3)])
def test_high_pass_is_the_slow_one(rng, shape):
    pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = attribution.paper.high_pass(Image.fromarray(pixels), shape)
    np.testing.assert_allclose(found, slow_high_pass(pixels / 255), atol=1e-12)


def test_high_pass_resizes_to_the_models_input(rng):
    image = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    small = image.resize((10, 14), Image.Resampling.BILINEAR)
    found = attribution.paper.high_pass(image, (14, 10))
    assert found.shape == (14, 10)
    assert (found == attribution.paper.high_pass(small, (14, 10))).all()


def test_high_pass_is_zero_where_nothing_changes():
    half = np.zeros((40, 40, 3), np.uint8)
    half[:, 20:] = np.indices((40, 20)).sum(0)[..., None] % 2 * 255
    detail = attribution.paper.high_pass(Image.fromarray(half), (40, 40))
    assert detail[:, :15].max() < 1e-12 and detail[:, 25:].min() > 0.1
