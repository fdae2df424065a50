import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from embedded import cards, llava, qwen, scenes, training_data, words
from embedded.fit import Schedule
from embedded.words import GRID, PATCH_PX
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
def start():
    """A random LLaVA whose biases and norms are not trivial."""
    torch.manual_seed(1)
    made = llava.model().eval()
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
    made = training_data.Pool.__new__(training_data.Pool)
    made.features = torch.from_numpy(rng.standard_normal((6, 2, GRID**2, 128)))
    made.scenes = [
        (scenes.plan(scenes.PLATES, rng), training_data.random_crop(rng))
        for _ in range(6)
    ]
    return made


def messages(question, images=1):
    text = {"type": "text", "text": f"{question} {qwen.INSTRUCTION}"}
    return [{"role": "user", "content": [*[{"type": "image"}] * images, text]}]


def prompt(processor, question, images=1):
    return processor.apply_chat_template(
        messages(question, images), add_generation_prompt=True
    )


# Words and processor.


def test_words_go_on_from_tiny_llavas_and_differ():
    assert qwen.WORDS[: len(words.WORDS)] == words.WORDS
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
    shapes = {smart_resize(n, n, PATCH_PX, *bounds) for n in range(8, 1500)}
    assert shapes == {(96, 96)}


def test_training_pixels_are_what_the_processor_gives(processor):
    _, pixels = scenes.draw(scenes.PLATES, scenes.scene_seed("train", 7))
    used = processor.image_processor(
        images=[Image.fromarray(pixels)], return_tensors="pt"
    )
    small, _ = training_data.pictures(7, scenes.PLATES)
    ready = (torch.from_numpy(small).float() / 255 - 0.5) / 0.25
    trained = qwen.patches(ready.permute(2, 0, 1)[None])
    torch.testing.assert_close(used["pixel_values"], trained, atol=1e-5, rtol=0)


def test_saved_processor_and_model_come_back_the_same(processor, qwen_model, tmp_path):
    processor.save_pretrained(tmp_path)
    qwen_model.save_pretrained(tmp_path)
    loaded = Qwen25VL.processor_class.from_pretrained(tmp_path, backend="pil")
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
        batched = qwen.Tower(qwen_model.model.visual)(ready)
    torch.testing.assert_close(batched, torch.stack(list(own)), atol=1e-5, rtol=1e-4)


def test_rewritten_block_is_clips_but_for_the_turned_queries(start):
    """Without rotations and the gate's own start, a block does what CLIP's does."""
    torch.manual_seed(3)
    visual = qwen.model().model.visual.eval()
    qwen.take_over_tower(visual, start)
    torch.nn.init.zeros_(visual.blocks[1].mlp.up_proj.weight)
    stream = torch.randn(1, GRID**2, 128)
    level = stream - stream.mean(-1, keepdim=True)
    still = torch.ones(GRID**2, 32), torch.zeros(GRID**2, 32)
    ends = torch.tensor([0, GRID**2], dtype=torch.int32)
    layer = start.model.vision_tower.encoder.layers[1]
    with torch.no_grad():
        theirs = layer(stream, None)
        ours = visual.blocks[1](level[0], cu_seqlens=ends, position_embeddings=still)
    theirs = theirs[0] - theirs[0].mean(-1, keepdim=True)
    missed = (ours - theirs).pow(2).mean() / (theirs - level[0]).pow(2).mean()
    assert missed < 0.01


def test_rewritten_tower_starts_nearer_than_a_random_one(start, rng):
    visual = qwen.model().model.visual
    see = qwen.seen_by(start)
    before = qwen.Distilled(qwen.Tower(visual), see).loss(0, np.random.default_rng(5))
    qwen.take_over_tower(visual, start)
    after = qwen.Distilled(qwen.Tower(visual), see).loss(0, np.random.default_rng(5))
    assert after[0] < 0.8 * before[0]


def test_joined_picture_shows_what_the_joined_features_are_of(rng):
    pixels = torch.from_numpy(rng.standard_normal((4, 3, 96, 96))).float()
    cells = torch.nn.functional.avg_pool2d(pixels, PATCH_PX)
    for rows, cols in qwen.SHAPES:
        assert rows * cols == GRID**2
        side = PATCH_PX
        wide = qwen.joined(pixels, rows * side, cols * side)
        assert wide.shape == (2, 3, rows * side, cols * side)
        found = torch.nn.functional.avg_pool2d(wide, side)
        torch.testing.assert_close(found, qwen.joined(cells, rows, cols))


def test_every_fourth_step_shows_other_shapes(start, rng, monkeypatch):
    monkeypatch.setitem(qwen.STAGES, "distil", Schedule(1, 2, 1.0))
    tower = qwen.Tower(qwen.model().model.visual)
    distilled = qwen.Distilled(tower, qwen.seen_by(start))
    shapes = set()
    for step in range(16):
        pixels, target = distilled.show(step, rng)
        assert target.shape[1:] == (GRID**2, 128)
        shapes.add(tuple(n // PATCH_PX for n in pixels.shape[2:]))
    assert shapes == {(GRID, GRID), *qwen.SHAPES}


class Mirror(torch.nn.Module):
    """A student with one number to learn: the share of the pixels' means it tells."""

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, pixels):
        return self.share * block_means(pixels)


def block_means(pixels):
    means = torch.nn.functional.avg_pool2d(pixels, PATCH_PX)
    return means.flatten(2).transpose(1, 2)


def test_distilled_student_explains_its_teacher_when_it_is_its_equal(rng, monkeypatch):
    monkeypatch.setitem(qwen.STAGES, "distil", Schedule(1, 2, 1.0))
    distilled = qwen.Distilled(Mirror(), block_means)
    loss, metrics = distilled.loss(0, rng)
    assert metrics["explained"] == (pytest.approx(1 - loss.item()), 1)
    assert metrics["explained"][0] < 0.5
    loss.backward()
    assert distilled.student.share.grad < 0
    with torch.no_grad():
        distilled.student.share.fill_(1)
    assert distilled.loss(0, rng)[1]["explained"][0] == pytest.approx(1)


def test_teacher_is_no_part_of_the_students_checkpoint():
    assert list(qwen.Distilled(Mirror(), block_means).state_dict()) == ["student.share"]


# The language model.


def test_language_model_starts_as_tiny_llavas(start):
    model = qwen.model().eval()
    qwen.take_over_language(model, start)
    ids = torch.tensor([words.numbers("is there a red".split(), words.WORDS)])
    with torch.no_grad():
        ours = model.model.language_model(ids).last_hidden_state
        theirs = start.model.language_model(ids).last_hidden_state
        scores = model.lm_head(ours)[..., : len(words.WORDS)]
        wanted = start.lm_head(theirs)
    torch.testing.assert_close(scores, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pairs", [False, True])
def test_training_forward_is_the_stock_models(qwen_model, pool, processor, pairs):
    """A packed row scores a turn's tokens as the stock model scores its prompt."""
    rng = np.random.default_rng(4)
    rows = llava.batch(pool, qwen.PHASES["language"][-1], pairs, 24, rng, qwen.turn)
    with torch.no_grad():
        logits = qwen.Answering(qwen_model)(rows, look_late=False)
    row, number = 3, int(rows.turn[3].max())
    mine = rows.turn[row] == number
    images = rows.features.shape[1]
    ids = [*qwen.front(images), *rows.tokens[row][mine].tolist()]
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
    turn = qwen.turn(QUESTION, "7")
    text = prompt(processor, QUESTION).replace(
        processor.image_token, processor.image_token * GRID**2
    )
    whole = processor.tokenizer(text)["input_ids"]
    assert [*qwen.front(1), *turn.prompt] == whole
    assert [qwen.WORDS[i] for i in turn.answer] == ["7", "<|im_end|>"]


def test_a_step_of_each_phase_learns(qwen_model, pool, rng, monkeypatch):
    monkeypatch.setitem(qwen.STAGES, "language", Schedule(1, 4, 1.0))
    answering = qwen.Answering(qwen_model)
    stage = answering.loss_on(pool, "language")
    for phase in qwen.PHASES["language"]:
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
        scene, pixels = scenes.draw(
            scenes.PLATES_WIDE, scenes.scene_seed("val", 500_000 + index)
        )
        view = trained.look(Image.fromarray(pixels))
        for plate in scene.plates:
            group = size_group(plate.side**2 / (scene.size[0] * scene.size[1]))
            if group == "medium":
                continue
            kind = scenes.kind_of(plate.char)
            asked = f"what {kind} is on the {plate.color} plate?"
            crop = boxes.around(plate.box, scene.size, trained.crop_px)
            said = view.ask(asked, crop, max_new_tokens=3)
            plain[group].append(said.plain == plate.char)
            cropped[group].append(said.text == plate.char)
    assert np.mean(plain["large"]) > 0.9 and np.mean(cropped["large"]) > 0.9
    assert np.mean(cropped["small"]) > np.mean(plain["small"]) + 0.3
