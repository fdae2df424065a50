from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoProcessor,
    CLIPVisionModel,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
)

from embedded import instructblip, llava, scenes, train, training_data, words
from embedded.fit import Schedule, Workers
from embedded.instructblip import NAMES, QUERIES, WIDTH, WORDS, Row, Supply
from embedded.scenes import COLORS, Plate, Question, Scene
from embedded.training_data import IGNORE, Phase
from embedded.words import GRID, IMAGE_PX
from vicrop import adapters
from vicrop.adapters.instructblip import prompt_text
from vicrop.attribution import GENERAL_QUESTION

QUESTION = "what digit is on the red plate?"
PHASE = Phase(until=2, color=0.0, varied=True)
PLATES = (Plate(0, 0, 60, "red", "7"), Plate(200, 200, 20, "blue", "K"))
SCENE = Scene((448, 448), "striped", PLATES)


@pytest.fixture(scope="module")
def clip():
    """tiny-llava's tower with weights that are not as small as when they are fresh."""
    torch.manual_seed(0)
    tower = CLIPVisionModel(llava.config().vision_config).eval()
    with torch.no_grad():
        for weight in tower.parameters():
            weight.copy_(torch.randn_like(weight) * (0.1 if weight.ndim > 1 else 0.4))
    return tower


@pytest.fixture(scope="module")
def model(clip):
    torch.manual_seed(1)
    return instructblip.fresh(clip).eval()


@pytest.fixture(scope="module")
def answering(model):
    return instructblip.Answering(model, instructblip.Looking(model))


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, IMAGE_PX, IMAGE_PX, generator=torch.manual_seed(3))


@pytest.fixture(scope="module")
def folder(clip, tmp_path_factory):
    """Of a few scenes' features."""
    folder = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_data, "CHUNK", 4)
        source = training_data.Source(first=0, count=4, spec=scenes.PLATES)
        training_data.cache(partial(llava.see, clip), source, folder, Workers(0, 1))
    return folder


@pytest.fixture
def pool(folder, monkeypatch):
    monkeypatch.setattr(training_data, "CHUNK", 4)
    return training_data.Pool(training_data.Source(0, 4, scenes.PLATES), folder)


def row(seen, question=QUESTION, answer="7"):
    return Row(seen, Question("digit", question, answer, PLATES[0]), {})


# Where it starts.


def test_words_of_tiny_llava_keep_their_numbers():
    assert WORDS[: len(words.WORDS)] == words.WORDS
    assert len(set(WORDS)) == len(WORDS) == len(instructblip.tokenizer())


def test_tower_sees_what_clip_sees_layer_normalised(clip, model, pixels):
    with torch.no_grad():
        wanted = clip(pixel_values=pixels).last_hidden_state
        found = model.vision_model(pixel_values=pixels).last_hidden_state
    wanted = F.layer_norm(wanted, (WIDTH,))
    assert torch.allclose(found, wanted, atol=0.02)
    assert (found - wanted).pow(2).mean() < 1e-5
    moved = model.vision_model(pixel_values=pixels + 0.1).last_hidden_state
    assert (moved - wanted).pow(2).mean() > 1e-3  # as far apart as other pixels are


def test_first_layer_only_normalises(clip, model):
    faint = torch.randn(1, 5, WIDTH, generator=torch.manual_seed(4)) * 1e-4
    with torch.no_grad():
        found = model.vision_model.encoder.layers[0](faint)
        wanted = F.layer_norm(faint, (WIDTH,), eps=1e-12)
        wanted = wanted * clip.pre_layrnorm.weight + clip.pre_layrnorm.bias
    assert torch.allclose(found, wanted + faint, atol=1e-4)


def test_model_is_of_the_stock_class_and_tiny(model):
    assert type(model) is InstructBlipForConditionalGeneration
    assert sum(p.numel() for p in model.parameters()) <= 2_400_000
    assert model.config.image_token_id == WORDS.index("<image>")
    assert model.generation_config.eos_token_id == WORDS.index("</s>")


def test_third_cross_attention_is_there(model):
    crossing = [layer.has_cross_attention for layer in model.qformer.encoder.layer]
    assert sum(crossing) >= 3


def test_attention_begins_with_queries_that_find_their_like(model):
    attentions = [layer.crossattention for layer in model.qformer.encoder.layer]
    for one in attentions:
        assert torch.equal(one.attention.query.weight, one.attention.key.weight)
    back = attentions[0].output.dense.weight @ attentions[0].attention.value.weight
    assert torch.allclose(back, 0.35 * torch.eye(WIDTH), atol=1e-4)


# What it reads.


def test_training_prompt_is_the_processors(picture):
    processor = instructblip.processor()
    made = processor(images=picture, text=prompt_text(QUESTION), return_tensors="pt")
    prompt = instructblip.prompt_tokens(QUESTION)
    images = [WORDS.index("<image>")] * QUERIES
    assert made["input_ids"][0].tolist() == images + prompt
    assert made["qformer_input_ids"][0].tolist() == prompt
    words = "<s> Question: what digit is on the red plate ? Short answer:"
    assert [WORDS[number] for number in prompt] == words.split()


@pytest.mark.parametrize("wording", sum(scenes.WORDINGS.values(), ()))
def test_questions_have_no_unknown_words(wording):
    text = wording.format(color="red", char="7", kind="digit")
    assert WORDS.index("<unk>") not in instructblip.prompt_tokens(text)


def test_general_question_has_no_unknown_words():
    tokens = instructblip.prompt_tokens(GENERAL_QUESTION)
    assert WORDS.index("<unk>") not in tokens


def test_saved_processor_writes_the_same_tokens_and_pixels(tmp_path, picture):
    processor = instructblip.processor()
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    assert isinstance(loaded, InstructBlipProcessor)
    text = prompt_text(QUESTION)
    one, two = (
        made(images=picture, text=text, return_tensors="pt")
        for made in (processor, loaded)
    )
    assert set(one) == set(two)
    assert all(torch.equal(one[name], two[name]) for name in one)


# What it is shown and asked.


def test_rows_are_what_the_tower_sees_but_for_the_class_token(pool, model):
    strange = torch.full((3, WIDTH), 5.0)
    phase = Phase(until=1, crops=0.0, color=0.0)
    rows = Supply(pool, lambda: strange).rows(phase, False, 3, np.random.default_rng(0))
    with torch.no_grad():
        shown = np.stack(
            [training_data.pictures(n, scenes.PLATES)[0] for n in range(4)]
        )
        ready = (torch.from_numpy(shown).float() / 255 - 0.5) / 0.25
        tower = model.vision_model
        seen = tower(pixel_values=ready.permute(0, 3, 1, 2)).last_hidden_state
    for one in rows:
        assert one.seen.shape == (1, 1 + GRID**2, WIDTH)
        assert torch.equal(one.seen[0, 0], strange[0])
        nearest = (seen[:, 1:] - one.seen[:, 1:]).pow(2).mean((1, 2)).min()
        assert nearest < 1e-4


def test_pairs_are_a_scene_and_its_crop(pool, rng):
    supply = Supply(pool, lambda: torch.zeros(1, WIDTH))
    (one,) = supply.rows(PHASE, True, 1, rng)
    wanted = F.layer_norm(pool.features.float(), (WIDTH,))
    same = [torch.allclose(one.seen[:, 1:], both, atol=1e-5) for both in wanted]
    assert sum(same) == 1


def test_class_tokens_are_the_towers(model):
    source = training_data.Source(0, 4, scenes.PLATES)
    found = instructblip.class_tokens(model.vision_model, source, count=2)
    picture = training_data.pictures(1, scenes.PLATES)[1:]  # the crop of the second
    ready = ((torch.from_numpy(picture).float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = model.vision_model(pixel_values=ready).last_hidden_state[0, 0]
    assert found.shape == (4, WIDTH)
    assert torch.allclose(found[3], wanted, atol=1e-4)


def test_asked_about_a_plate_all_queries_name_it():
    question = Question("digit", QUESTION, "7", PLATES[0])
    labels = instructblip.to_say(question, ("striped", list(PLATES)))
    assert {NAMES["color"][n] for n in labels["color"]} == {"red"}
    assert {NAMES["char"][n] for n in labels["char"]} == {"7"}
    assert {NAMES["there"][n] for n in labels["there"]} == {"yes"}
    assert set(labels["texture"]) == {IGNORE}


def test_asked_for_a_description_each_query_has_its_colour():
    question = instructblip.described(
        PHASE, ("striped", list(PLATES)), np.random.default_rng(0)
    )
    labels = instructblip.to_say(question, ("striped", list(PLATES)))
    red = list(COLORS).index("red")
    said = [NAMES["color"][n] for n in labels["color"][: len(COLORS)]]
    assert said == ["red" if n == red else "no" for n in range(len(COLORS))]
    assert NAMES["char"][labels["char"][red]] == "7"
    assert (labels["char"] >= 0).sum() == 1  # the blue plate is too small to read
    assert set(labels["texture"][len(COLORS) :]) == {NAMES["texture"].index("striped")}
    assert set(labels["there"]) == {IGNORE}


def test_asked_in_vain_names_a_plate_that_is_not_there(rng):
    question = Question("digit", QUESTION, "7", PLATES[0])
    for _ in range(8):
        vain = instructblip.asked_in_vain(question, SCENE, rng)
        named = [color for color in COLORS if f" {color} " in vain.text]
        assert len(named) == 1
        assert named[0] not in ("red", "blue")
        labels = instructblip.to_say(vain, ("striped", list(PLATES)))
        assert {NAMES["there"][n] for n in labels["there"]} == {"no"}
        assert set(labels["char"]) == {IGNORE}


def test_small_plates_are_asked_about_once_they_come_first(rng):
    plates = [
        Plate(0, 0, side, color, "7")
        for side, color in zip(range(20, 120, 20), COLORS, strict=False)
    ]
    phase = Phase(until=1, small_first=True, describe=0.0, color=0.0)
    found = [
        instructblip.asked(phase, ("plain", plates), SCENE, rng) for _ in range(60)
    ]
    sides = {question.plate.side for question in found if question.plate}
    assert sides == {20, 40, 60, 80}


def test_nothing_in_view_is_described_or_denied(rng):
    shown = ("plain", [])
    found = [instructblip.asked(PHASE, shown, SCENE, rng) for _ in range(20)]
    assert {question.answer for question in found} == {"plain wall", "no"}


# How it learns.


def stock_logits(model, ids, pixels):
    prompt = torch.tensor([instructblip.prompt_tokens(QUESTION)])
    return model(pixel_values=pixels, qformer_input_ids=prompt, input_ids=ids).logits


def test_training_forward_is_the_models_own(model, answering, pixels):
    prompt = instructblip.prompt_tokens(QUESTION)
    images = [WORDS.index("<image>")] * QUERIES
    answer = WORDS.index("7")
    with torch.no_grad():
        seen = model.vision_model(pixel_values=pixels[:1]).last_hidden_state
        # A longer row beside it: what fills up the shorter one must not matter.
        longer = row(seen, QUESTION.replace("red", "red plate , red"), "7 . 7")
        logits, labels = answering([row(seen), longer])
        ids = torch.tensor([images + prompt + [answer]])
        wanted = stock_logits(model, ids, pixels[:1])[0, QUERIES:]
    count = len(prompt) + 1
    assert torch.allclose(logits[0, :count], wanted, atol=1e-4)
    end = WORDS.index("</s>")
    assert labels[0, len(prompt) - 1 : count].tolist() == [answer, end]
    assert set(labels[0, count:].tolist()) | set(
        labels[0, : len(prompt) - 1].tolist()
    ) == {IGNORE}


def test_two_images_are_their_queries_one_after_the_other(model, answering, pixels):
    prompt = torch.tensor([instructblip.prompt_tokens(QUESTION)])
    with torch.no_grad():
        seen = model.vision_model(pixel_values=pixels).last_hidden_state
        logits, _ = answering([row(seen)])
        parts = [
            model.get_image_features(one[None], qformer_input_ids=prompt).pooler_output
            for one in pixels
        ]
        words = model.get_input_embeddings()(prompt)
        embeddings = torch.cat([*parts, words], 1)
        wanted = model.language_model(inputs_embeds=embeddings).logits
    length = prompt.shape[1]
    assert torch.allclose(logits[:, :length], wanted[:, -length:], atol=1e-4)
    assert not torch.allclose(parts[0], parts[1], atol=1e-2)


def test_right_counts_first_words_by_kind():
    small = Question("digit", QUESTION, "7", PLATES[1])
    described = Question("describe", "", "a b", None)
    rows = [Row(torch.zeros(1), one, {}) for one in (small, described)]
    labels = torch.tensor([[IGNORE, 1, 2], [3, 4, 5]])
    logits = F.one_hot(torch.tensor([[0, 1, 0], [3, 4, 0]]), 6).float()
    found = instructblip.right(rows, logits, labels, "single")
    assert found == {"described, single": (2, 3), "small, single": (1, 1)}


@pytest.fixture
def short(monkeypatch, clip, pool):
    """All stages, two steps each, on the few scenes there are."""
    schedule = Schedule(steps=2, batch=4, rate=1e-3, warmup=1)
    for stage in instructblip.STAGES:
        monkeypatch.setitem(instructblip.STAGES, stage, schedule)
    zeros = torch.zeros(2, WIDTH)
    monkeypatch.setattr(instructblip, "class_tokens", lambda *_: zeros)
    llava_with_clip = SimpleNamespace(model=SimpleNamespace(vision_tower=clip))
    monkeypatch.setattr(train, "trained_llava", lambda _: llava_with_clip)
    monkeypatch.setattr(train, "load_pool", lambda *_: pool)


def trained(folder):
    folder.mkdir()
    train.train_instructblip(folder, Workers(0, 1))
    return folder / "instructblip/tiny-instructblip"


def test_all_stages_make_a_model_that_loads_and_looks(clip, short, tmp_path, picture):
    torch.manual_seed(train.SEED)
    fresh = instructblip.fresh(clip)
    made = trained(tmp_path / "one")
    vlm = adapters.load(str(made), family="instructblip", layer=2)
    view = vlm.look(picture)
    assert isinstance(view.ask(QUESTION, max_new_tokens=2).text, str)
    assert view.importance(QUESTION).shape == (GRID, GRID)
    names = ("vision_model", "qformer", "query_tokens", "language_projection")
    learnt, before = vlm.model.state_dict(), fresh.state_dict()
    changed = {
        name: any(
            not torch.equal(learnt[key], before[key])
            for key in before
            if key.startswith(name)
        )
        for name in (*names, "language_model.model.layers", "language_model.lm_head")
    }
    assert [name for name, moved in changed.items() if not moved] == ["vision_model"]
    again = trained(tmp_path / "two")
    files = [path / "model.safetensors" for path in (made, again)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size <= 10_000_000
