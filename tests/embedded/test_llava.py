from functools import partial

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from embedded import llava, scenes, training_data
from embedded.fit import Schedule, Workers
from embedded.llava import Batch, Turn
from embedded.scenes import CHARS, COLORS, TEXTURES, Plate, Scene
from embedded.training_data import Phase
from embedded.words import GRID, IMAGE_PX, WORDS
from vicrop.adapters.llava import prompt_text
from vicrop.attribution import GENERAL_QUESTION


@pytest.fixture(scope="module")
def tokenizer():
    return llava.tokenizer()


def words(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def test_words_are_all_different():
    assert len(set(WORDS)) == len(WORDS)
    assert len(llava.tokenizer()) == len(WORDS)


def test_prompt_becomes_one_token_a_word(tokenizer):
    prompt = prompt_text("What digit is on the red plate?")
    wanted = (
        "<s> <image> USER: what digit is on the red plate ? Answer the question using"
        " a single word or phrase . ASSISTANT:"
    )
    assert words(tokenizer, prompt) == wanted.split()


@pytest.mark.parametrize("word", ["What", "Which", "Is", "Does"])
def test_capital_of_a_question_word_is_forgiven(tokenizer, word):
    assert words(tokenizer, word) == ["<s>", word.lower()]


def test_letters_on_plates_keep_their_capital(tokenizer):
    assert words(tokenizer, "letter A ? K") == ["<s>", "letter", "A", "?", "K"]
    assert words(tokenizer, "a") == ["<s>", "a"]


def test_other_words_are_unknown(tokenizer):
    assert words(tokenizer, "giraffe") == ["<s>", "<unk>"]


def test_answer_comes_back_as_text(tokenizer):
    ids = tokenizer("blue K", add_special_tokens=False)["input_ids"]
    end = WORDS.index("</s>")
    assert tokenizer.decode([*ids, end], skip_special_tokens=True) == "blue K"


def test_batches_are_padded_on_the_left(tokenizer):
    ids = tokenizer(["red", "red plate"], padding=True)["input_ids"]
    assert ids[0][0] == WORDS.index("<pad>")


def test_saved_processor_writes_the_same_tokens_and_pixels(tmp_path, picture):
    processor = llava.processor()
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    assert isinstance(loaded, LlavaProcessor)
    text = prompt_text("what digit is on the red plate?")
    one, two = (
        made(images=picture, text=text, return_tensors="pt")
        for made in (processor, loaded)
    )
    assert torch.equal(one["input_ids"], two["input_ids"])
    assert torch.equal(one["pixel_values"], two["pixel_values"])
    assert (one["input_ids"] == WORDS.index("<image>")).sum() == GRID**2


def test_model_is_of_the_stock_class_and_tiny():
    model = llava.model()
    assert type(model) is LlavaForConditionalGeneration
    assert sum(p.numel() for p in model.parameters()) < 3_000_000
    assert model.config.image_token_id == WORDS.index("<image>")
    assert model.generation_config.eos_token_id == WORDS.index("</s>")


def test_same_seed_makes_the_same_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(llava.model().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_image_tokens_are_as_many_as_the_tower_gives():
    model = llava.model()
    with torch.no_grad():
        pixels = torch.zeros(1, 3, IMAGE_PX, IMAGE_PX)
        features = model.get_image_features(pixel_values=pixels).pooler_output
    assert features[0].shape == (GRID**2, model.config.text_config.hidden_size)


@pytest.fixture(scope="module")
def seeing():
    torch.manual_seed(0)
    return llava.Dense(llava.model().model.vision_tower)


def test_every_step_has_a_view_of_its_phase():
    for step in range(llava.STAGES["vision"].steps):
        view = llava.drawing_at(step)
        phase = next(p for p in llava.SIZES if step < p[0])
        enlarged = (view.side, view.plates) == llava.ENLARGED
        assert enlarged or (view.side, view.plates) == phase[1:]
        assert enlarged <= (phase is llava.SIZES[2])
        assert (view.scale <= 1) if enlarged else view.scale in (1, 2)
        assert 96 * view.scale == round(96 * view.scale)


def test_logits_are_a_patch_and_a_head(seeing):
    logits = seeing(torch.zeros(2, 3, 96, 96))
    shapes = {name: tuple(value.shape) for name, value in logits.items()}
    assert shapes == {
        "color": (2, GRID**2, training_data.NO_PLATE + 1),
        "char": (2, GRID**2, len(CHARS)),
        "texture": (2, GRID**2, len(TEXTURES)),
    }


def test_loss_reaches_every_trained_weight(seeing, monkeypatch):
    monkeypatch.setitem(llava.STAGES, "vision", Schedule(1, 2, 1e-3))
    loss, metrics = seeing.loss(3, np.random.default_rng(0))
    loss.backward()
    assert loss.isfinite()
    assert {"color", "texture"} <= set(metrics)
    without = [name for name, p in seeing.named_parameters() if p.grad is None]
    # CLIP's last norm is of the class token, which LLaVA drops.
    assert all("post_layernorm" in name for name in without)
    seeing.zero_grad()


def test_loss_of_a_step_is_the_same_every_time(seeing, monkeypatch):
    monkeypatch.setitem(llava.STAGES, "vision", Schedule(1, 2, 1e-3))
    with torch.no_grad():
        losses = {seeing.loss(4, np.random.default_rng(9))[0].item() for _ in range(2)}
    assert len(losses) == 1


def test_loss_where_nothing_is_labelled_is_zero():
    logits = torch.randn(1, 4, 3, requires_grad=True)
    loss = llava._entropy(logits, torch.full((1, 4), training_data.IGNORE))
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_accuracies_count_labelled_patches_only():
    wanted = torch.tensor([[0, 1, training_data.NO_PLATE, training_data.IGNORE]])
    labels = {
        "color": wanted,
        "char": torch.tensor([[5, 6, training_data.IGNORE, training_data.IGNORE]]),
        "texture": torch.tensor([[training_data.IGNORE, training_data.IGNORE, 2, 3]]),
        "side": torch.tensor([[7.0, 12.0, 0.0, 8.0]]),
    }

    def says(*classes):
        return torch.nn.functional.one_hot(torch.tensor([classes]), 20).float()

    logits = {
        "color": says(0, 0, 3, 1),
        "char": says(5, 7, 5, 5),
        "texture": says(0, 0, 2, 2),
    }
    found = llava.accuracies(logits, labels)
    assert found["color"] == (1, 2)
    assert found["texture"] == (1, 2)
    assert found["char 6-9 px"] == (1, 1)
    assert found["char 11-14 px"] == (0, 1)
    assert found["char 20-30 px"] == (0, 0)


def test_positions_start_as_a_different_sine_for_every_patch():
    tower = llava.model().model.vision_tower
    before = tower.embeddings.position_embedding.weight[0].clone()
    llava.sine_positions(tower)
    table = tower.embeddings.position_embedding.weight.detach()
    assert torch.equal(table[0], before)
    assert torch.cdist(table[1:], table[1:]).fill_diagonal_(9).min() > 0.01
    # Neighbours are alike: the same row shares half of its numbers.
    half = table.shape[1] // 2
    assert torch.equal(table[1, :half], table[2, :half])
    assert torch.equal(table[1, half:], table[1 + GRID, half:])


# Its projector and its language model.

END = WORDS.index("</s>")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = llava.model().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4 if weight.ndim > 1 else 1)
    return model


@pytest.fixture(scope="module")
def pool(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_data, "CHUNK", 4)
        source = training_data.Source(first=0, count=4, spec=scenes.PLATES)
        see = partial(llava.see, model.model.vision_tower)
        training_data.cache(see, source, folder, Workers(0, 1))
        return training_data.Pool(source, folder)


@pytest.fixture
def few(monkeypatch):
    """Batches of three scenes."""
    for stage in llava.STAGES:
        monkeypatch.setitem(llava.STAGES, stage, Schedule(4, 3, 1e-3))


def rows_of(turns_by_row, images=1):
    """A batch as ``llava.batch`` lays it out, features left empty."""
    rows = [llava._row(turns, images) for turns in turns_by_row]
    length = max(len(row[0]) for row in rows)
    columns = [
        torch.tensor([row[n] + [blank] * (length - len(row[n])) for row in rows])
        for n, blank in enumerate((0, training_data.IGNORE, 0, 1, 0))
    ]
    return Batch(torch.zeros(len(rows), images, GRID**2, 4), *columns)


def slow_mask(rows, front, look_late):
    """Who may attend to whom, token by token."""
    count, length = rows.tokens.shape
    mask = torch.zeros(count, front + length, front + length, dtype=torch.bool)
    for row in range(count):
        for query in range(front + length):
            for key in range(query + 1):
                allowed = True
                if query >= front and key >= front:
                    turns = rows.turn[row]
                    allowed = turns[query - front] == turns[key - front]
                elif query >= front and 1 <= key and look_late:
                    allowed = bool(rows.answering[row, query - front])
                mask[row, query, key] = allowed
    return mask[:, None]


@pytest.mark.parametrize("look_late", [False, True])
@pytest.mark.parametrize("images", [1, 2])
def test_mask_equals_that_made_token_by_token(images, look_late):
    rows = rows_of(
        [
            [Turn([5, 6, 7], [8, END]), Turn([5, 6], [9, 10, END])],
            [Turn([5, 6, 7, 8], [END])],
        ],
        images,
    )
    front = 1 + 6 * images  # six patches an image are enough to count
    made = llava.attention_mask(rows, front, look_late)
    assert torch.equal(made, slow_mask(rows, front, look_late))
    assert made.any(-1).all()  # no token is without anything to attend to


def test_row_holds_prompts_and_answers_and_learns_the_next_token():
    tokens, labels, turn, position, answering = llava._row(
        [Turn([5, 6], [7, 8, END]), Turn([9], [END])], images=1
    )
    ignored = training_data.IGNORE
    start = 1 + GRID**2
    assert tokens == [5, 6, 7, 8, 9]
    assert labels == [ignored, 7, 8, END, END]
    assert turn == [1, 1, 1, 1, 2]
    assert position == [start, start + 1, start + 2, start + 3, start]
    assert answering == [0, 1, 1, 1, 1]


def test_positions_begin_after_all_images():
    *_, position, _ = llava._row([Turn([5], [END])], images=2)
    assert position == [1 + 2 * GRID**2]


@pytest.mark.parametrize("question", ["what digit is on the red plate?", "a , b ?"])
def test_training_prompt_is_the_one_that_is_used(processor, picture, question):
    made = llava.turn(question, "4")
    text = prompt_text(question)
    used = processor(images=picture, text=text, return_tensors="pt")["input_ids"][0]
    image = [WORDS.index("<image>")] * GRID**2
    assert used.tolist() == [WORDS.index("<s>"), *image, *made.prompt]
    assert made.answer == [WORDS.index("4"), END]


@pytest.mark.parametrize("pairs", [False, True])
def test_logits_of_a_batch_equal_those_of_each_prompt_alone(model, pool, few, pairs):
    """Turns in one row, behind one image, do not disturb each other."""
    phase = Phase(until=9, describe=1.0)
    rows = llava.batch(pool, phase, pairs, 3, np.random.default_rng(1))
    answering = llava.Answering(model)
    with torch.no_grad():
        logits = answering(rows, look_late=False)
    checked = 0
    for row in range(rows.tokens.shape[0]):
        seen = model.model.multi_modal_projector(rows.features[row])
        for number in range(1, int(rows.turn[row].max()) + 1):
            mine = rows.turn[row] == number
            with torch.no_grad():
                alone = plain_logits(model, seen, rows.tokens[row, mine])
            torch.testing.assert_close(logits[row, mine], alone, atol=1e-3, rtol=1e-3)
            checked += 1
    assert checked >= 6


def plain_logits(model, seen, tokens):
    """Logits of a turn's tokens behind start and images, the model run plainly."""
    words = model.get_input_embeddings()
    start = words(torch.tensor([WORDS.index("<s>")]))
    parts = [start, seen.flatten(0, 1), words(tokens)]
    output = model.model.language_model(inputs_embeds=torch.cat(parts)[None])
    return model.lm_head(output.last_hidden_state)[0, -len(tokens) :]


def test_looking_late_hides_the_image_from_the_questions_words(model, pool, few):
    rows = llava.batch(pool, Phase(until=9), False, 3, np.random.default_rng(1))
    other = Batch(**{**vars(rows), "features": rows.features.flip(2)})
    answering = llava.Answering(model)
    with torch.no_grad():
        one, two = (answering(given, look_late=True) for given in (rows, other))
    words = (rows.answering == 0) & (rows.turn > 0)
    answers = rows.answering == 1
    assert torch.equal(one[words], two[words])
    assert not torch.allclose(one[answers], two[answers])


SHOWN = [
    Plate(0, 0, 30, "red", "4"),
    Plate(60, 0, 80, "blue", "K"),
    Plate(200, 0, 50, "teal", "7"),
    Plate(300, 0, 40, "pink", "A"),
    Plate(0, 200, 60, "black", "2"),
]


def asked_about(turns):
    """Colours that the questions name or answer."""
    said = [{WORDS[token] for token in turn.prompt + turn.answer} for turn in turns]
    return [next(iter(words & set(COLORS)), None) for words in said]


def only_ask(monkeypatch, **kinds):
    """Ask these kinds of questions, in these shares."""
    monkeypatch.setattr(Phase, "kinds", kinds)


def make_turns(phase, plates, seed):
    scene = Scene((448, 448), "dotted", tuple(plates))
    rng = np.random.default_rng(seed)
    return llava.turns(phase, ("dotted", plates), scene, rng)


def test_small_first_asks_about_the_four_smallest_plates(monkeypatch):
    only_ask(monkeypatch, read=0.5, color=0.5)
    phase = Phase(until=9, small_first=True, describe=0)
    for seed in range(10):
        made = asked_about(make_turns(phase, SHOWN, seed))
        assert made == ["red", "pink", "teal", "black"]


def test_plates_below_the_phases_smallest_are_not_asked_about(monkeypatch):
    only_ask(monkeypatch, read=1)
    phase = Phase(until=9, smallest=44, describe=0)
    for seed in range(10):
        assert set(asked_about(make_turns(phase, SHOWN, seed))) == {
            "blue",
            "teal",
            "black",
        }


def test_nothing_in_view_is_described():
    phase = Phase(until=9, describe=0)
    (only,) = make_turns(phase, [], seed=0)
    assert only == llava.turn(GENERAL_QUESTION, "dotted wall")


def test_description_names_legible_plates_only():
    made = make_turns(Phase(until=9, describe=1), SHOWN, seed=0)
    assert made[-1] == llava.turn(
        GENERAL_QUESTION, "dotted wall . blue K . black 2 . teal 7"
    )


def test_existence_is_asked_about_present_and_absent_colours(monkeypatch):
    only_ask(monkeypatch, exists=1)
    answers = set()
    for seed in range(10):
        for turn in make_turns(Phase(until=9, describe=0), SHOWN, seed):
            color = asked_about([turn])[0]
            answer = WORDS[turn.answer[0]]
            assert answer == ("yes" if color in {p.color for p in SHOWN} else "no")
            answers.add(answer)
    assert answers == {"yes", "no"}


def test_every_step_has_a_phase():
    for stage, phases in llava.PHASES.items():
        schedule = llava.STAGES[stage]
        untils = [phase.until for phase in phases]
        assert untils == sorted(untils) and untils[-1] >= schedule.steps


def test_kinds_of_questions_are_shares():
    for phases in llava.PHASES.values():
        for phase in phases:
            assert sum(phase.kinds.values()) == pytest.approx(1)
            assert phase.kinds["color"] == phase.color


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("language", 0),
        ("language", 600),
        ("language", 1000),
        ("refine", 0),
        ("describe", 0),
    ],
)
def test_loss_is_finite_reaches_the_weights_and_repeats(model, pool, few, stage, step):
    answering = llava.Answering(model)
    loss_of = answering.loss_on(pool, stage)
    losses = []
    for _ in range(2):
        loss, metrics = loss_of(step, np.random.default_rng(5))
        losses.append(loss.item())
    loss.backward()
    assert losses[0] == losses[1] and loss.isfinite()
    assert all(parameter.grad is not None for parameter in answering.parameters())
    ((right, asked),) = metrics.values()
    assert 0 <= right <= asked
    answering.zero_grad()


def test_answering_trains_everything_but_the_tower(model):
    trained = {id(p) for p in llava.Answering(model).parameters()}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in trained) == ("vision_tower" not in name)


def test_naming_loss_falls_when_patches_name_what_they_show(model, pool, few):
    torch.manual_seed(0)
    naming = llava.Naming(model.model.multi_modal_projector, 128)
    loss_of = naming.loss_on(pool)
    optimizer = torch.optim.AdamW([naming.words.weight], lr=0.05)
    losses = []
    for _ in range(6):
        loss, _ = loss_of(0, np.random.default_rng(5))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.zero_grad()


def test_patch_labels_name_the_plate_that_covers_them():
    scene = Scene((448, 448), "dotted", (SHOWN[0], SHOWN[1]))
    labels = training_data.patch_labels(scene)
    cell = 448 / GRID
    for row in range(GRID):
        for col in range(GRID):
            box = (col * cell, row * cell, (col + 1) * cell, (row + 1) * cell)
            number = row * GRID + col
            # 10 of a patch's 64 model pixels.
            shown = [
                plate
                for plate in scene.plates
                if plate.inside(box) * plate.side**2 >= 10 / 64 * cell**2
            ]
            color = (
                training_data.COLOR_IDS[shown[0].color]
                if shown
                else training_data.IGNORE
            )
            assert labels["color"][number] == color
            legible = shown and shown[0].side >= training_data.LEGIBLE_PX
            char = (
                training_data.CHAR_IDS[shown[0].char]
                if legible
                else training_data.IGNORE
            )
            assert labels["char"][number] == char
            texture = (
                training_data.IGNORE if shown else training_data.TEXTURE_IDS["dotted"]
            )
            assert labels["texture"][number] == texture


def test_language_model_starts_with_the_learnt_words_and_matching_attention():
    torch.manual_seed(0)
    model = llava.model()
    words = torch.randn(len(WORDS), 128)
    llava.start_language_model(model, words)
    assert torch.equal(model.get_input_embeddings().weight, words)
    assert torch.equal(model.lm_head.weight, words)
    for layer in model.model.language_model.layers:
        attention = layer.self_attn
        query, key = attention.q_proj.weight, attention.k_proj.weight
        assert torch.equal(query, key)
        torch.testing.assert_close(query.T @ query, 0.49 * torch.eye(128))
        moved = attention.o_proj.weight @ attention.v_proj.weight
        torch.testing.assert_close(moved, 0.21 * torch.eye(128))
