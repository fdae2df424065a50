import pytest
import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from embedded import models
from embedded.models import GRID, WORDS
from vicrop.adapters.llava import prompt_text


@pytest.fixture(scope="module")
def tokenizer():
    return models.tokenizer()


def words(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def test_words_are_all_different():
    assert len(set(WORDS)) == len(WORDS)
    assert len(models.tokenizer()) == len(WORDS)


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
    processor = models.llava_processor()
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
    model = models.llava()
    assert type(model) is LlavaForConditionalGeneration
    assert sum(p.numel() for p in model.parameters()) < 3_000_000
    assert model.config.image_token_id == WORDS.index("<image>")
    assert model.generation_config.eos_token_id == WORDS.index("</s>")


def test_same_seed_makes_the_same_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(models.llava().state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_image_tokens_are_as_many_as_the_tower_gives():
    model = models.llava()
    with torch.no_grad():
        pixels = torch.zeros(1, 3, models.IMAGE_PX, models.IMAGE_PX)
        features = model.get_image_features(pixel_values=pixels).pooler_output
    assert features[0].shape == (GRID**2, model.config.text_config.hidden_size)
