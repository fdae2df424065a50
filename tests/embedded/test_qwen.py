import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from embedded import (
    cards,
    features,
    language,
    models,
    questions,
    qwen,
    qwen_language,
    qwen_tower,
)
from embedded import scenes as S
from embedded.curriculum import PHASES
from embedded.fit import Schedule
from embedded.models import GRID
from vicrop import adapters, boxes
from vicrop.adapters.qwen2_5_vl import Qwen25VL
from vicrop.attribution import GENERAL_QUESTION
from vicrop.run.provenance import weights_hash
from vicrop.run.results import size_group

QUESTION = "what digit is on the red plate?"


@pytest.fixture(scope="module")
def processor():
    return qwen.processor()


@pytest.fixture(scope="module")
def llava():
    """A random LLaVA whose biases and norms are not trivial."""
    torch.manual_seed(1)
    made = models.llava().eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.1)
            elif weight.dim() == 1:
                weight.uniform_(0.5, 1.5)
    return made


@pytest.fixture(scope="module")
def qwen_model():
    torch.manual_seed(2)
    return qwen.model().eval()


@pytest.fixture
def pool(rng):
    """Six scenes with random features."""
    made = features.Pool.__new__(features.Pool)
    made.features = torch.from_numpy(rng.standard_normal((6, 2, GRID**2, 128)))
    made.scenes = [(S.plan(S.PLATES, rng), features.random_crop(rng)) for _ in range(6)]
    return made


def messages(question, images=1):
    text = {"type": "text", "text": f"{question} {qwen_language.INSTRUCTION}"}
    return [{"role": "user", "content": [*[{"type": "image"}] * images, text]}]


def prompt(processor, question, images=1):
    return processor.apply_chat_template(
        messages(question, images), add_generation_prompt=True
    )


# Words and processor.


def test_words_go_on_from_tiny_llavas_and_differ():
    assert qwen.WORDS[: len(models.WORDS)] == models.WORDS
    assert len(set(qwen.WORDS)) == len(qwen.WORDS)


def test_prompt_is_qwens_and_ends_with_the_line_that_the_answer_begins(processor):
    text = prompt(processor, QUESTION)
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
        "what digit is on the red plate? Answer the question using a single word or "
        "phrase.<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = processor.tokenizer(text)["input_ids"]
    assert [qwen.WORDS[i] for i in ids[-3:]] == ["<|im_start|>", "assistant", "\n"]


@pytest.mark.parametrize("question", [QUESTION, GENERAL_QUESTION])
@pytest.mark.parametrize("images", [1, 2])
def test_no_word_of_a_prompt_is_unknown(processor, question, images):
    ids = processor.tokenizer(prompt(processor, question, images))["input_ids"]
    assert qwen.WORDS.index("<unk>") not in ids
    assert ids.count(processor.image_token_id) == images


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((448, 448), (12, 12)),
        ((96, 96), (12, 12)),
        ((115, 115), (12, 12)),
        ((20, 20), (12, 12)),
        ((1056, 2112), (17, 8)),
        ((1680, 1120), (9, 14)),
    ],
)
def test_any_image_is_about_144_tokens_at_its_own_ratio(processor, size, grid):
    made = processor.image_processor(
        images=[Image.new("RGB", size)], return_tensors="pt"
    )
    assert tuple(made["image_grid_thw"][0, 1:].tolist()) == grid


def test_all_square_crops_are_twelve_by_twelve(processor):
    bounds = (qwen.MIN_PIXELS, qwen.MAX_PIXELS)
    shapes = {smart_resize(n, n, models.PATCH_PX, *bounds) for n in range(8, 1500)}
    assert shapes == {(96, 96)}


def test_training_pixels_are_what_the_processor_gives(processor):
    _, pixels = S.draw(S.PLATES, S.scene_seed("train", 7))
    used = processor.image_processor(
        images=[Image.fromarray(pixels)], return_tensors="pt"
    )
    _, _, (small, _) = features.pictures(7, S.PLATES)
    ready = (torch.from_numpy(small).float() / 255 - 0.5) / 0.25
    trained = qwen_tower.patches(ready.permute(2, 0, 1)[None])
    torch.testing.assert_close(used["pixel_values"], trained, atol=1e-5, rtol=0)


def test_saved_processor_and_model_come_back_the_same(processor, qwen_model, tmp_path):
    processor.save_pretrained(tmp_path)
    qwen_model.save_pretrained(tmp_path)
    loaded = Qwen25VL.load_processor(tmp_path)
    text, image = prompt(processor, QUESTION), Image.new("RGB", (300, 200), "red")
    one, other = (
        p(text=[text], images=[image], return_tensors="pt") for p in (processor, loaded)
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    again = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(**other).logits, qwen_model(**one).logits)
    assert (tmp_path / "model.safetensors").stat().st_size < 10e6


# The tower.


def test_tower_over_a_batch_is_the_models_own(processor, qwen_model, rng):
    images = [
        Image.fromarray(rng.integers(0, 255, (72, 128, 3), dtype=np.uint8))
        for _ in range(3)
    ]
    made = processor.image_processor(images=images, return_tensors="pt")
    pixels = torch.stack([torch.from_numpy(np.asarray(i).copy()) for i in images])
    ready = ((pixels.float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
    with torch.no_grad():
        own = qwen_model.model.get_image_features(
            made["pixel_values"], image_grid_thw=made["image_grid_thw"]
        ).pooler_output
        batched = qwen_tower.Tower(qwen_model.model.visual)(ready)
    torch.testing.assert_close(batched, torch.stack(list(own)), atol=1e-5, rtol=1e-4)


def test_rewritten_block_is_clips_but_for_the_turned_queries(llava):
    """Without rotations and the gate's own start, a block does what CLIP's does."""
    torch.manual_seed(3)
    visual = qwen.model().model.visual.eval()
    qwen_tower.take_over(visual, llava)
    torch.nn.init.zeros_(visual.blocks[1].mlp.up_proj.weight)
    stream = torch.randn(1, GRID**2, 128)
    level = stream - stream.mean(-1, keepdim=True)
    still = torch.ones(GRID**2, 32), torch.zeros(GRID**2, 32)
    ends = torch.tensor([0, GRID**2], dtype=torch.int32)
    layer = llava.model.vision_tower.encoder.layers[1]
    with torch.no_grad():
        theirs = layer(stream, None)
        ours = visual.blocks[1](level[0], cu_seqlens=ends, position_embeddings=still)
    theirs = theirs[0] - theirs[0].mean(-1, keepdim=True)
    missed = (ours - theirs).pow(2).mean() / (theirs - level[0]).pow(2).mean()
    assert missed < 0.01


def test_rewritten_tower_starts_nearer_than_a_random_one(llava, rng):
    visual = qwen.model().model.visual
    see = qwen_tower.teacher(llava)
    before = qwen_tower.Distilled(visual, see).loss(0, np.random.default_rng(5))
    qwen_tower.take_over(visual, llava)
    after = qwen_tower.Distilled(visual, see).loss(0, np.random.default_rng(5))
    assert after[0] < 0.8 * before[0]


def test_joined_picture_shows_what_the_joined_features_are_of(rng):
    pixels = torch.from_numpy(rng.standard_normal((4, 3, 96, 96))).float()
    cells = torch.nn.functional.avg_pool2d(pixels, models.PATCH_PX)
    for rows, cols in qwen_tower.SHAPES:
        assert rows * cols == GRID**2
        side = models.PATCH_PX
        wide = qwen_tower.joined(pixels, rows * side, cols * side)
        assert wide.shape == (2, 3, rows * side, cols * side)
        found = torch.nn.functional.avg_pool2d(wide, side)
        torch.testing.assert_close(found, qwen_tower.joined(cells, rows, cols))


def test_every_fourth_step_shows_other_shapes(llava, rng):
    distilled = qwen_tower.Distilled(
        qwen.model().model.visual, qwen_tower.teacher(llava)
    )
    distilled.size = 2
    shapes = set()
    for step in range(16):
        pixels, target = distilled.show(step, rng)
        assert target.shape[1:] == (GRID**2, 128)
        shapes.add(tuple(n // models.PATCH_PX for n in pixels.shape[2:]))
    assert shapes == {(GRID, GRID), *qwen_tower.SHAPES}


# The language model.


def test_language_model_starts_as_tiny_llavas(llava):
    model = qwen.model().eval()
    qwen_language.take_over(model, llava)
    ids = torch.tensor([[models.WORDS.index(w) for w in "is there a red".split()]])
    with torch.no_grad():
        ours = model.model.language_model(ids).last_hidden_state
        theirs = llava.model.language_model(ids).last_hidden_state
        scores = model.lm_head(ours)[..., : len(models.WORDS)]
        wanted = llava.lm_head(theirs)
    torch.testing.assert_close(scores, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pairs", [False, True])
def test_training_forward_is_the_stock_models(qwen_model, pool, processor, pairs):
    """A packed row scores a turn's tokens as the stock model scores its prompt."""
    rng = np.random.default_rng(4)
    rows = language.batch(pool, PHASES["qwen"][-1], pairs, rng, qwen_language.turn)
    with torch.no_grad():
        logits = qwen_language.Answering(qwen_model)(rows, look_late=False)
    row, number = 3, int(rows.turn[3].max())
    mine = rows.turn[row] == number
    images = rows.features.shape[1]
    ids = [*qwen_language.front(images), *rows.tokens[row][mine].tolist()]
    text = "".join(qwen.WORDS[i] for i in ids[: ids.index(qwen.WORDS.index("\n"))])
    assert text == "<|im_start|>system"
    with torch.no_grad():
        stock = _stock(qwen_model, torch.tensor([ids]), rows.features[row])
    torch.testing.assert_close(
        logits[row][mine], stock[0, -int(mine.sum()) :], atol=1e-4, rtol=1e-4
    )


def _stock(model, ids, seen):
    """The stock model's scores, its tower replaced by ready features."""
    places = ids == model.config.image_token_id
    embeddings = model.get_input_embeddings()(ids)
    embeddings[places] = seen.flatten(0, 1)
    positions, _ = model.model.get_rope_index(
        ids,
        mm_token_type_ids=places.int(),
        image_grid_thw=torch.tensor([[1, GRID, GRID]] * len(seen)),
    )
    return model(inputs_embeds=embeddings, position_ids=positions).logits


def test_turn_is_the_chat_templates_text_behind_the_image(processor):
    turn = qwen_language.turn(QUESTION, "7")
    text = prompt(processor, QUESTION).replace(
        processor.image_token, processor.image_token * GRID**2
    )
    whole = processor.tokenizer(text)["input_ids"]
    assert [*qwen_language.front(1), *turn.prompt] == whole
    assert [qwen.WORDS[i] for i in turn.answer] == ["7", "<|im_end|>"]


def test_a_step_of_each_phase_learns(qwen_model, pool, rng, monkeypatch):
    monkeypatch.setattr(language, "LANGUAGE", Schedule(steps=1, batch=4, rate=1.0))
    answering = qwen_language.Answering(qwen_model)
    stage = answering.loss_on(pool, "qwen")
    for phase in PHASES["qwen"]:
        loss, metrics = stage(phase.until - 1, rng)
        ((name, (hits, asked)),) = metrics.items()
        assert name.startswith("right, ")
        assert 0 <= hits <= asked > 0
        loss.backward()
    assert all(p.grad is not None for p in answering.head.parameters())


# The weights we ship.


@pytest.fixture(scope="module")
def trained():
    if not adapters.MODELS["tiny-qwen2.5-vl"].is_here():
        pytest.skip("tiny-qwen2.5-vl has no weights yet; `make train` makes them")
    return adapters.load("tiny-qwen2.5-vl")


def test_card_is_of_these_weights_and_chose_the_layer(trained):
    card = cards.read("tiny-qwen2.5-vl")
    assert card["weights_sha256"] == weights_hash(trained)
    assert card["start"] == "tiny-llava"
    assert card["layer"] == trained.layer


def test_wide_and_tall_scenes_are_read_too(trained):
    """Large plates at once, small ones with a crop, whatever the image's shape."""
    plain, cropped = {"small": [], "large": []}, {"small": [], "large": []}
    for index in range(14):
        scene, pixels = S.draw(S.PLATES_WIDE, S.scene_seed("val", 500_000 + index))
        view = trained.look(Image.fromarray(pixels))
        for plate in scene.plates:
            group = size_group(plate.side**2 / (scene.size[0] * scene.size[1]))
            if group == "medium":
                continue
            kind = questions.kind_of(plate.char)
            asked = f"what {kind} is on the {plate.color} plate?"
            crop = boxes.around(plate.box, scene.size, trained.crop_px)
            said = view.ask(asked, crop, max_new_tokens=3)
            plain[group].append(said.plain == plate.char)
            cropped[group].append(said.text == plate.char)
    assert np.mean(plain["large"]) > 0.9 and np.mean(cropped["large"]) > 0.9
    assert np.mean(cropped["small"]) > np.mean(plain["small"]) + 0.3
