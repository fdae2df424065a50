"""What every family must do alike, against the plain way of doing it."""

import copy

import numpy as np
import pytest
import torch
import twins
from PIL import Image
from transformers import (
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    OPTConfig,
    T5Config,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as CLASS_OF_TYPE,
)
from twins import prompt_of, tokens_of

from vicrop import adapters, attribution, capture
from vicrop.adapters import FAMILIES, instructblip, llava
from vicrop.adapters.facts import Facts
from vicrop.attribution import GENERAL_QUESTION
from vicrop.boxes import select_box
from vicrop.types import Box, Part, Shown
from vicrop.view import Pictures

KEYS = {
    "llava": "llava-1.5-7b",
    "instructblip": "instructblip-vicuna-7b",
    "qwen2.5-vl": "qwen2.5-vl-3b",
}
QUESTION = "what digit is on the red plate?"
QUESTIONS = [QUESTION, "is there a blue plate?", "wörds , what color?"]
PLAIN_MAPS = ["rel-att", "grad-att", "pure-grad"]


@pytest.fixture(scope="module")
def family_vlm():
    """A twin of each family; wide pictures are few cells for Qwen."""
    made = {}

    def make(family):
        if family not in made:
            small = {"max_pixels": 20 * 28 * 28} if family == "qwen2.5-vl" else {}
            made[family] = twins.wrap(KEYS[family], **small)
        return made[family]

    return make


@pytest.fixture(params=KEYS)
def vlm(request, family_vlm):
    return family_vlm(request.param)


@pytest.fixture
def qwen(family_vlm):
    return family_vlm("qwen2.5-vl")


@pytest.fixture(scope="module")
def pictures():
    """Three pictures of one size and one of another."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, 3, 5, 3), dtype=np.uint8)
    sizes = [(140, 84)] * 3 + [(60, 150)]
    return [
        Image.fromarray(pixels).resize(size)
        for pixels, size in zip(noise, sizes, strict=True)
    ]


# What a family says.


def test_every_familys_facts_are_its_own():
    for key, family in FAMILIES.items():
        assert family.facts.family == key
        assert family.architecture == family.facts.architecture.__name__
        assert family.architecture in CLASS_OF_TYPE.values()


def test_there_are_few_names_to_know_of_a_family(vlm):
    said = {*vars(Facts), *Facts.__annotations__, *vars(vlm.facts)}
    assert len({name for name in said if not name.startswith("_")}) <= 16


# What the processor writes.


def stock_inputs(vlm, question, pictures):
    """The processor's own inputs, from the family's prompt in words."""
    texts = {
        "llava": lambda: llava.prompt_text(question, len(pictures)),
        "instructblip": lambda: instructblip.prompt_text(question),
        "qwen2.5-vl": lambda: chat(vlm, question, len(pictures)),
    }
    return vlm.processor(
        images=list(pictures),
        text=[texts[vlm.family]()],
        return_tensors="pt",
    )


def chat(vlm, question, images):
    text = f"{question} Answer the question using a single word or phrase."
    content = [*[{"type": "image"}] * images, {"type": "text", "text": text}]
    return vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )


@pytest.fixture(autouse=True)
def stock_sizes(family_vlm):
    """Qwen's processor bounds pictures as the adapter does, for equal inputs."""
    process = family_vlm("qwen2.5-vl").processor.image_processor
    process.size["longest_edge"] = 20 * 28 * 28


@pytest.mark.parametrize("count", [1, 2])
def test_words_are_the_processors(vlm, pictures, count):
    if count == 2 and vlm.family == "instructblip":
        pytest.skip("its processor takes one image; see the plain computation below")
    given = [pictures[0], pictures[3]][:count]
    seen = [vlm.look_at([picture]) for picture in given]
    for question in [*QUESTIONS, GENERAL_QUESTION]:
        inputs = stock_inputs(vlm, question, given)
        words = vlm.words(question, seen)
        assert torch.equal(words.ids, inputs["input_ids"])
        if words.asked is not None:
            assert torch.equal(words.asked, inputs["qformer_input_ids"])


def test_pixels_are_the_processors(vlm, pictures):
    inputs = stock_inputs(vlm, QUESTION, pictures[:2])
    pixels, _ = vlm.facts.pixels(pictures[:2])
    assert torch.equal(pixels, inputs["pixel_values"])


def test_two_images_placeholders_are_each_ones(vlm, pictures):
    seen = [vlm.look_at([pictures[0]]), vlm.look_at([pictures[3]])]
    words = vlm.words(QUESTION, seen)
    counts = [vlm.token_count(one) for one in seen]
    assert (words.ids == vlm.image_token_id).sum() == sum(counts)
    span = vlm.begin(words, seen[0]).span
    assert span.stop - span.start == counts[0]


# Answers.


def stock_answer(vlm, inputs, count=6):
    """Greedy tokens by transformers' ``generate``, without the end token."""
    grown = vlm.model.generate(**inputs, do_sample=False, max_new_tokens=count)
    start = inputs["input_ids"].shape[1]
    tokens = grown[0, start:].tolist()
    return [token for token in tokens if token not in vlm.end_ids]


def test_answers_equal_stock_generate_token_by_token(vlm, pictures):
    said = set()
    for picture in (pictures[0], pictures[3]):
        view = vlm.look(picture)
        for question in QUESTIONS:
            wanted = stock_answer(vlm, stock_inputs(vlm, question, [picture]))
            assert tokens_of(vlm, prompt_of(view, question), 6) == wanted
            said.add(tuple(wanted))
    assert len(said) > 2  # else equality says little


BOXES = Box(30, 20, 110, 76), Box(0, 10, 56, 84)


@pytest.mark.parametrize(
    ("boxes", "order", "given"),
    [
        (1, "after", lambda image, crops: [image, *crops]),
        (2, "after", lambda image, crops: [image, *crops]),
        (2, "first", lambda image, crops: [*crops, image]),
        (1, "alone", lambda image, crops: crops),
    ],
)
def test_answers_from_images_equal_the_plain_computation(
    vlm, pictures, boxes, order, given
):
    """Stock ``generate`` on all; for InstructBLIP, on all images' query outputs."""
    plain = {"instructblip": plain_images}.get(vlm.family, stock_images)
    view, said = vlm.look(pictures[0]), set()
    shown = Shown(tuple(map(Part, BOXES[:boxes])), order)
    images = given(pictures[0], [pictures[0].crop(box) for box in BOXES[:boxes]])
    for question in QUESTIONS:
        wanted = plain(vlm, question, images)
        assert tokens_of(vlm, prompt_of(view, question, shown), 6) == wanted
        said.add(tuple(wanted))
    assert len(said) > 1


def test_same_tokens_is_the_image_enlarged_to_as_many(vlm, pictures):
    """Never more, and a row less at most; stock ``generate`` says the same of it."""
    view = vlm.look(pictures[0])
    shown = Shown((Part(BOXES[0]), Part(BOXES[1], "blank")), "same-tokens")
    if vlm.family != "qwen2.5-vl":
        with pytest.raises(ValueError, match=r"pictures of one size.*full-twice"):
            view.ask(QUESTION, shown)
        return
    together = prompt_of(view, QUESTION, Shown(shown.parts))
    most = sum(map(vlm.token_count, together.seen))
    prompt = prompt_of(view, QUESTION, shown)
    ((rows, cols),) = [one.grid for one in prompt.seen]
    assert most - rows < rows * cols <= most
    vlm.processor.image_processor.size["longest_edge"] = most * 28 * 28
    larger = pictures[0].resize((cols * 28, rows * 28))
    wanted = stock_images(vlm, QUESTION, [larger])
    assert tokens_of(vlm, prompt, 6) == wanted


def stock_images(vlm, question, given):
    return stock_answer(vlm, stock_inputs(vlm, question, given))


def plain_images(vlm, question, given):
    """Each image's queries by the model's own method, one after the other."""
    model, each = vlm.model, [stock_inputs(vlm, question, [one]) for one in given]
    queries = [
        model.get_image_features(
            pixel_values=inputs["pixel_values"],
            qformer_input_ids=inputs["qformer_input_ids"],
            qformer_attention_mask=inputs["qformer_attention_mask"],
            interpolate_pos_encoding=False,
        ).pooler_output
        for inputs in each
    ]
    ids = each[0]["input_ids"]
    words = vlm.text_model.embed_tokens(ids[:, ids[0] != vlm.image_token_id])
    whole = torch.cat([*queries, words], 1)
    grown = model.language_model.generate(
        inputs_embeds=whole,
        attention_mask=torch.ones(whole.shape[:2]),
        do_sample=False,
        max_new_tokens=6,
    )
    return [token for token in grown[0].tolist() if token not in vlm.end_ids]


# Qwen's grids and positions.


@pytest.mark.parametrize(
    ("size", "grid"), [((140, 84), (3, 5)), ((60, 150), (5, 2)), ((400, 100), (2, 8))]
)
def test_qwens_grid_keeps_the_images_ratio(qwen, size, grid):
    view = qwen.look(Image.new("RGB", size, "teal"))
    assert view.whole.seen.grid == grid
    assert view.whole.seen.features.shape[:2] == (1, grid[0] * grid[1])
    assert view.importance(QUESTION, "raw-att").shape == grid


@pytest.mark.parametrize(
    ("cells", "grid"),
    [
        ({"max_pixels": 9}, (3, 3)),
        ({"max_pixels": 400}, (10, 10)),
        ({"max_pixels": 400, "min_pixels": 144}, (12, 12)),
    ],
)
def test_bounds_on_pixels_change_qwens_grid(qwen, cells, grid):
    """A square of 10 by 10 cells, scaled down, left alone and scaled up."""
    bounds = {name: count * 28 * 28 for name, count in cells.items()}
    other = adapters.wrap(qwen.model, qwen.processor, qwen.family, 2, **bounds)
    assert other.look_at([Image.new("RGB", (280, 280), "teal")]).grid == grid


def test_qwens_positions_behind_a_prefix_are_the_whole_prompts(qwen, pictures):
    """Two images of different shapes, the first one kept."""
    inputs = stock_inputs(qwen, QUESTION, [pictures[0], pictures[3]])
    wanted, _ = qwen.model.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs["image_grid_thw"],
    )
    seen = [qwen.look_at([picture]) for picture in (pictures[0], pictures[3])]
    assert seen[0].grid != seen[1].grid
    prompt = qwen.prompt(QUESTION, seen)
    length = prompt.prefix.ids.shape[1]
    assert torch.equal(prompt.positions, wanted[..., length:])
    assert torch.equal(
        qwen.facts.positions(prompt.prefix.ids, [seen[0].grid]), wanted[..., :length]
    )
    assert prompt.positions.max() < inputs["input_ids"].shape[1]  # rows, not tokens


def test_pictures_of_several_shapes_are_no_batch_for_qwen(qwen, pictures):
    with pytest.raises(ValueError, match="images of several shapes cannot be one"):
        qwen.facts.pixels([pictures[0], pictures[3]])


# Maps, the plain way: everything eager, no prefix, the whole graph.


def plain_map(vlm, method, picture):
    """A map from all weights of the whole model and ``torch.autograd``."""
    return {"rel-att": plain_rel, "grad-att": plain_grad, "pure-grad": plain_pure}[
        method
    ](vlm, picture)


def whole_pass(vlm, question, picture, pixels_need=False):
    """Log-likelihood of the first answer token; attentions; pixels; in one graph."""
    model = eager_copy(vlm)
    inputs = stock_inputs(vlm, question, [picture])
    pixels = inputs["pixel_values"].requires_grad_(pixels_need)
    inputs["pixel_values"] = pixels
    crossing, hooks = [], []
    if vlm.family == "instructblip":
        module = model.qformer.encoder.layer[4].crossattention.attention  # the third
        module.config._attn_implementation = "eager"
        hooks.append(
            module.register_forward_hook(lambda m, a, out: crossing.append(out[1]))
        )
    with torch.enable_grad():
        output = model(**inputs, output_attentions=True)
    for hook in hooks:
        hook.remove()
    attentions = getattr(output, "attentions", None)
    if attentions is None:
        attentions = output.language_model_outputs.attentions
    scores = output.logits[0, -1].float().log_softmax(-1).max()
    span = inputs["input_ids"][0] == vlm.image_token_id
    return scores, [attentions[vlm.layer], *crossing], pixels, span


def eager_copy(vlm):
    model = copy.deepcopy(vlm.model).requires_grad_(True)
    model.set_attn_implementation("eager")
    return model


def plain_chain(vlm, weights, span):
    """Heads averaged, the last token's row, through the queries if there are any."""
    first, *connector = weights
    row = first[0].mean(0)[-1][span]
    for step in connector:
        row = row @ step[0].mean(0)[:, 1:]
    return row.detach().numpy()


def plain_rel(vlm, picture):
    values = []
    for question in (QUESTION, GENERAL_QUESTION):
        _, weights, _, span = whole_pass(vlm, question, picture)
        values.append(plain_chain(vlm, weights, span))
    return values[0] / values[1]


def plain_grad(vlm, picture):
    score, weights, _, span = whole_pass(vlm, QUESTION, picture)
    gradients = torch.autograd.grad(score, weights)
    weighted = [w * g.relu() for w, g in zip(weights, gradients, strict=True)]
    return plain_chain(vlm, weighted, span)


def plain_pure(vlm, picture):
    norms = []
    for question in (QUESTION, GENERAL_QUESTION):
        score, _, pixels, _ = whole_pass(vlm, question, picture, pixels_need=True)
        (gradient,) = torch.autograd.grad(score, pixels)
        grid = vlm.look_at([picture]).grid
        norms.append(vlm.facts.picture(gradient, grid).norm(dim=1)[0].numpy())
    mask = attribution.paper.detail_mask(vlm.fitted(picture), norms[0].shape)
    cells = norms[0] / norms[1] * mask
    return attribution.paper.cell_means(cells[None], grid)


@pytest.mark.parametrize("method", PLAIN_MAPS)
def test_map_equals_the_plain_way(vlm, pictures, method):
    square = pictures[0].resize((84, 84))
    found = vlm.look(square).importance(QUESTION, method).values
    wanted = plain_map(vlm, method, square).reshape(found.shape)
    assert np.abs(found - wanted).max() < 1e-4 * np.ptp(wanted)
    assert np.ptp(wanted) > 0


@pytest.mark.parametrize("method", attribution.MAPS)
def test_pictures_looked_at_together_equal_one_by_one(vlm, pictures, method):
    together = Pictures(vlm, pictures[:3]).maps(QUESTION, method)
    for values, picture in zip(together, pictures[:3], strict=True):
        alone = Pictures(vlm, [picture]).maps(QUESTION, method)[0]
        assert np.abs(values - alone).max() < 1e-4 * np.ptp(alone)
    if method != "center-prior":  # which is the same whatever is shown
        assert np.abs(together[0] - together[1]).max() > 1e-3 * np.ptp(together[0])


# Nothing is left behind.


def state(vlm):
    """All that reading may have touched."""
    modules = list(vlm.model.modules())
    return (
        [id(module.__dict__.get("config")) for module in modules],
        [module.__dict__.get("forward") for module in modules],
        [
            len(module._forward_hooks) + len(module._backward_hooks)
            for module in modules
        ],
        [weight.requires_grad for weight in vlm.model.parameters()],
        [weight.grad for weight in vlm.model.parameters()],
        torch.is_grad_enabled(),
        vlm.model.training,
    )


def test_no_map_leaves_anything_behind(vlm, pictures):
    before = state(vlm)
    for method in attribution.MAPS:
        vlm.look(pictures[0]).importance(QUESTION, method)
    assert state(vlm) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("method", PLAIN_MAPS)
def test_interrupted_map_leaves_nothing_behind(
    vlm, pictures, method, error, monkeypatch
):
    """Raised in the last module that runs, whatever stands in below it."""
    view = vlm.look(pictures[0])
    view.importance(QUESTION, method)
    before = state(vlm)
    with monkeypatch.context() as broken:

        def fail(*args, **kwargs):
            raise error("stop here")

        for name in ("last_row", "weights"):
            broken.setattr(capture, name, fail)
        broken.setattr(vlm.text_model.norm, "forward", fail)
        with pytest.raises(error, match="stop here"):
            vlm.look(pictures[0]).importance(QUESTION, method)
    assert state(vlm) == before
    again = vlm.look(pictures[0]).importance(QUESTION, method)
    np.testing.assert_array_equal(
        again.values, view.importance(QUESTION, method).values
    )


# Bad input: one clear error each.


def test_wrong_processor_is_named(vlm, family_vlm):
    others = {"llava": "instructblip", "instructblip": "qwen2.5-vl"}
    other = family_vlm(others.get(vlm.family, "llava"))
    wanted = vlm.facts.processor_class.__name__
    with pytest.raises(ValueError, match=f"'{vlm.family}' wants a {wanted}"):
        adapters.wrap(vlm.model, other.processor, vlm.family, 2)


def test_model_of_another_family_is_named(vlm, family_vlm):
    for family in set(KEYS) - {vlm.family}:
        with pytest.raises(ValueError, match=f"which is of family {vlm.family!r}"):
            adapters.wrap(vlm.model, None, family, 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float8_e4m3fn])
def test_other_number_formats_are_refused(dtype):
    model, processor = twins.make(KEYS["llava"])
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=f"weights are {name}.*float32, float16"):
        adapters.wrap(model.to(dtype), processor, "llava", 2)


def test_attention_that_cannot_be_read_is_named(vlm, pictures, monkeypatch):
    module = vlm.attention[vlm.layer]
    view = vlm.look(pictures[0])
    view.ask(QUESTION, max_new_tokens=1)
    monkeypatch.delattr(module, "config")
    with pytest.raises(RuntimeError, match="does not go through transformers' atten"):
        view.importance(QUESTION)


def test_attention_that_never_asks_for_our_function_is_named(
    vlm, pictures, monkeypatch
):
    module = vlm.attention[vlm.layer]
    monkeypatch.setattr(
        module, "forward", lambda hidden_states, *a, **k: (hidden_states, None)
    )
    before = state(vlm)
    with pytest.raises(RuntimeError, match="did not call the attention function"):
        vlm.look(pictures[0]).importance(QUESTION)
    assert state(vlm) == before


@pytest.mark.parametrize("size", [(1, 1), (13, 13), (300, 13), (27, 332), (2, 1)])
def test_image_smaller_than_a_patch_is_looked_at(vlm, size):
    view = vlm.look(Image.effect_noise(size, 200))
    box = select_box(view.importance(QUESTION), size, vlm.crop_px)
    assert isinstance(view.ask(QUESTION, box, 1).text, str)


def test_huge_image_is_refused_before_it_is_decoded(vlm):
    with pytest.raises(ValueError, match="more than 178,956,970 pixels"):
        vlm.look(Image.new("1", (20000, 20000)))


@pytest.mark.parametrize("size", [(28, 1400), (1400, 28)])
def test_long_thin_image_is_looked_at(vlm, size):
    noise = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    view = vlm.look(Image.fromarray(noise))
    amap = view.importance(QUESTION)
    assert amap.region == vlm.visible(size)
    assert isinstance(view.ask(QUESTION, (0, 0, 28, 28), 1).text, str)


def test_prompt_without_an_image_is_refused(vlm, pictures):
    inputs = stock_inputs(vlm, QUESTION, pictures[:1])
    inputs["input_ids"] = inputs["input_ids"][:, -4:]
    with pytest.raises(ValueError, match="prompt holds 0 image tokens, expected"):
        attribution.compute("raw-att", vlm, inputs)


def test_placeholder_in_a_question_is_text(vlm, pictures):
    token = vlm.tokenizer.decode([vlm.image_token_id])
    seen = [vlm.look_at([picture]) for picture in pictures]
    ids = vlm.words(f"what is {token}?", seen).ids
    assert (ids == vlm.image_token_id).sum() == sum(map(vlm.token_count, seen))


def test_any_resolution_model_is_refused_with_the_reason():
    with torch.device("meta"):
        model = LlavaNextForConditionalGeneration(LlavaNextConfig())
    with pytest.raises(ValueError, match="LlavaNextFor.*not one grid over the image"):
        adapters.wrap(model, None, "llava")


SMALL = {
    "t5": T5Config(d_model=16, d_ff=16, num_layers=1, num_heads=2, vocab_size=50),
    "opt": OPTConfig(
        hidden_size=16,
        ffn_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=50,
        word_embed_proj_dim=16,
    ),
}


@pytest.fixture(params=SMALL)
def other_language(request):
    config = InstructBlipConfig(
        text_config=SMALL[request.param].to_dict(),
        vision_config=dict(hidden_size=16, num_attention_heads=2, num_hidden_layers=1),
        qformer_config=dict(hidden_size=16, num_attention_heads=2, num_hidden_layers=2),
    )
    with torch.device("meta"):
        return InstructBlipForConditionalGeneration(config)


def test_instructblip_with_another_language_model_is_refused_by_name(other_language):
    name = type(other_language.language_model).__name__
    with pytest.raises(ValueError, match=f"InstructBLIP with a {name} is not supp"):
        adapters.wrap(other_language, None, "instructblip")


# A checkpoint of another family is refused before its weights are read.


@pytest.fixture
def checkpoint(tmp_path):
    """Writes a folder with a configuration and weights that nobody may read."""

    def write(config, **changes):
        for name, value in changes.items():
            setattr(config, name, value)
        config.save_pretrained(tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"torn")
        return str(tmp_path)

    return write


@pytest.mark.parametrize("named", [["LlavaNextForConditionalGeneration"], None])
def test_any_resolution_checkpoint_is_refused_by_its_type(checkpoint, named):
    """With ``architectures`` and without it."""
    folder = checkpoint(LlavaNextConfig(), architectures=named)
    with pytest.raises(ValueError, match="LlavaNextFor.*not one grid over the image"):
        adapters.load(folder, family="llava")


def test_checkpoint_of_the_type_but_another_class_is_refused(checkpoint):
    config = twins.narrow(KEYS["llava"], twins.llava_processor())
    folder = checkpoint(config, architectures=["LlavaLlamaForCausalLM"])
    with pytest.raises(ValueError, match="is a LlavaLlamaForCausalLM, as the original"):
        adapters.load(folder, family="llava")


def test_what_is_wrong_with_a_checkpoint_is_said_before_its_weights(checkpoint):
    """The weights are torn, which is never reached."""
    processor = twins.llava_processor()
    folder = checkpoint(twins.narrow(KEYS["llava"], processor))
    processor.save_pretrained(folder)
    with pytest.raises(ValueError, match="layer 14 is not one .* 0 to 5"):
        adapters.load(folder, family="llava", layer=14)
    with pytest.raises(ValueError, match="weights in .* are torn"):
        adapters.load(folder, family="llava", layer=2)


def test_quantised_checkpoint_is_refused(checkpoint):
    processor = twins.llava_processor()
    config = twins.narrow(KEYS["llava"], processor)
    config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    folder = checkpoint(config)
    processor.save_pretrained(folder)
    with pytest.raises(ValueError, match="weights are quantised .*bitsandbytes"):
        adapters.load(folder, family="llava", layer=2)


def test_instructblip_checkpoint_with_t5_is_refused_before_its_weights(checkpoint):
    processor = twins.instructblip_processor()
    config = InstructBlipConfig(text_config=SMALL["t5"].to_dict())
    folder = checkpoint(config, architectures=["InstructBlipForConditionalGeneration"])
    processor.save_pretrained(folder)
    with pytest.raises(ValueError, match="T5ForConditionalGeneration is not supported"):
        adapters.load(folder, family="instructblip")


def test_rehearsal_does_not_touch_the_random_numbers(checkpoint):
    processor = twins.llava_processor()
    folder = checkpoint(twins.narrow(KEYS["llava"], processor))
    processor.save_pretrained(folder)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="torn"):
        adapters.load(folder, family="llava", layer=2)
    assert torch.equal(torch.get_rng_state(), before)
