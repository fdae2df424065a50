"""Idefics3, the family that the page "Add a model" adds."""

import inspect

import numpy as np
import pytest
import torch
from transformers import Idefics3ForConditionalGeneration
from twins import prompt_of, tokens_of, with_heads

from embedded import idefics3
from vicrop import adapters, attribution
from vicrop.adapters.facts import INSTRUCTION
from vicrop.adapters.idefics3 import Idefics3

QUESTION = "what digit is on the red plate?"


@pytest.fixture(scope="module")
def vlm():
    made = adapters.wrap(idefics3.model(), idefics3.processor(), "idefics3", layer=2)
    return with_heads(made)


def stock_inputs(vlm, question, pictures):
    """What Idefics3's own processor writes, told not to cut images up."""
    asked = {"type": "text", "text": f"{question} {INSTRUCTION}"}
    content = [*[{"type": "image"}] * len(pictures), asked]
    text = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return vlm.processor(
        text=text, images=pictures, do_image_splitting=False, return_tensors="pt"
    )


@pytest.mark.parametrize("images", [1, 2])
def test_words_and_pixels_are_the_processors(vlm, picture, images):
    pictures = [picture, picture.crop((0, 0, 200, 120))][:images]
    inputs = stock_inputs(vlm, QUESTION, pictures)
    seen = [vlm.look_at([one]) for one in pictures]
    assert torch.equal(vlm.words(QUESTION, seen).ids, inputs["input_ids"])
    pixels = torch.cat([one.pixels for one in seen], 1)
    assert torch.equal(pixels, inputs["pixel_values"])


@pytest.mark.parametrize("images", [1, 2])
def test_answer_is_that_of_the_stock_model(vlm, picture, images):
    pictures = [picture, picture.crop((0, 0, 200, 120))][:images]
    inputs = stock_inputs(vlm, QUESTION, pictures)
    wanted = vlm.model.generate(**inputs, max_new_tokens=6, do_sample=False)
    wanted = wanted[0, inputs["input_ids"].shape[1] :].tolist()
    seen = [vlm.look_at([one]) for one in pictures]
    found = tokens_of(vlm, vlm.prompt(QUESTION, seen), 6)
    ended = wanted[-1] in vlm.end_ids
    assert found == (wanted[:-1] if ended else wanted)


def test_row_is_that_of_output_attentions(vlm, picture):
    inputs = stock_inputs(vlm, QUESTION, [picture])
    plain = Idefics3ForConditionalGeneration(vlm.model.config).eval()
    plain.load_state_dict(vlm.model.state_dict())
    plain.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = plain(**inputs, output_attentions=True).attentions[2][0, :, -1]
    (rows,) = vlm.attend([prompt_of(vlm.look(picture), QUESTION)], [2])
    torch.testing.assert_close(rows[0, 0], wanted, rtol=1e-4, atol=1e-7)


def test_pixel_gradient_is_that_of_autograd_through_the_stock_model(vlm, picture):
    inputs = stock_inputs(vlm, QUESTION, [picture])
    pixels = inputs["pixel_values"].requires_grad_()
    logits = vlm.model(**{**inputs, "pixel_values": pixels}).logits[0, -1]
    logits.log_softmax(-1).max().backward()
    wanted = pixels.grad[0, 0].norm(dim=0)
    prompt = prompt_of(vlm.look(picture), QUESTION)
    (found,) = attribution.paper.pixel_gradient(vlm, [prompt])
    np.testing.assert_allclose(
        found[0], wanted, rtol=1e-3, atol=1e-6 * float(wanted.max())
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", sorted(set(attribution.MAPS) - {"occlusion"}))
def test_every_map_is_finite(vlm, picture, method, dtype):
    model = idefics3.model().to(dtype)
    half = with_heads(adapters.wrap(model, vlm.processor, "idefics3", layer=2))
    amap = half.look(picture).importance(QUESTION, method)
    assert amap.shape == (8, 8) and np.isfinite(amap.values).all()
    assert amap.values.max() > amap.values.min()


def test_cell_is_a_square_of_shuffled_patches(vlm, picture):
    facts = vlm.facts
    assert (facts.crop_px, facts.patch_px, facts.grid) == (128, 16, (8, 8))
    assert vlm.visible((300, 100)) == (0, 0, 300, 100)


def test_side_that_is_no_whole_number_of_patches_is_cut(picture):
    """As SmolVLM's 2.2B: 384 pixels, of which 27 patches of 14 see 378."""
    config = idefics3.config()
    config.vision_config.image_size = 132
    processor = idefics3.processor()
    processor.image_processor.max_image_size = {"longest_edge": 132}
    model = Idefics3ForConditionalGeneration(config).requires_grad_(False)
    vlm = adapters.wrap(model, processor, "idefics3", layer=2)
    seen = vlm.look_at([picture])
    assert seen.pixels.shape[-2:] == (132, 132) and seen.grid == (8, 8)
    assert vlm.facts.picture(seen.pixels, seen.grid).shape == (1, 3, 128, 128)
    assert vlm.look(picture).importance(QUESTION, "pure-grad").shape == (8, 8)


def test_adapter_is_sixty_lines_of_code_at_most():
    lines = inspect.getsource(inspect.getmodule(Idefics3)).splitlines()
    assert len([line for line in lines if line.strip()]) <= 60


def test_random_model_is_the_same_every_time():
    one, other = (idefics3.model().state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["lm_head.weight"], idefics3.model(seed=1).lm_head.weight)


def test_no_word_of_a_prompt_is_unknown(vlm, picture):
    ids = prompt_of(vlm.look(picture), QUESTION).words.ids[0].tolist()
    assert vlm.tokenizer.unk_token_id not in ids
