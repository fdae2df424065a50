import copy
import json
import re

import huggingface_hub
import pytest
import torch
from PIL import Image
from twins import prompt_of, tokens_of

from embedded import scenes
from embedded.words import WORDS
from vicrop import adapters, images, paths
from vicrop.adapters import FAMILIES, MODELS, loading, registry
from vicrop.adapters.llava import prompt_text
from vicrop.prompts import Words

QUESTIONS = [
    "what digit is on the red plate?",
    "is there a blue plate in the image?",
    "What color is the plate with the letter K?",
]


@pytest.fixture(scope="module")
def pictures():
    drawn = [scenes.draw(scenes.PLATES, seed)[1] for seed in (5, 6, 7)]
    return [Image.fromarray(pixels) for pixels in drawn]


def stock_inputs(processor, question, pictures):
    """What LLaVA's own processor writes for one image, or for an image and a crop."""
    text = prompt_text(question, len(pictures))
    return processor(images=pictures, text=text, return_tensors="pt")


def stock_answer(vlm, inputs, max_new_tokens):
    """Greedy tokens by transformers' ``generate``, the end token included."""
    grown = vlm.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
    return grown[0, inputs["input_ids"].shape[1] :].tolist()


def test_answers_equal_stock_generate_token_by_token(
    vlm, processor, pictures, monkeypatch
):
    """From one image and from two; answers vary, so that equality says something."""
    ends = [WORDS.index(word) for word in ("</s>", "K", "digit")]
    monkeypatch.setattr(vlm.model.generation_config, "eos_token_id", ends)
    said = set()
    for picture in pictures:
        view = vlm.look(picture)
        for question in QUESTIONS:
            for crop in (None, (40, 60, 180, 200)):
                shown = [picture] if crop is None else [picture, picture.crop(crop)]
                inputs = stock_inputs(processor, question, shown)
                stock = stock_answer(vlm, inputs, max_new_tokens=8)
                wanted = stock[:-1] if stock[-1] in ends else stock
                assert tokens_of(vlm, prompt_of(view, question, crop), 8) == wanted
                said.add(tuple(stock))
    assert len(said) > 6
    assert {len(answer) for answer in said} > {8}  # some were ended, some cut
    assert len({answer[-1] for answer in said} & set(ends)) > 1
    assert any(len(set(answer)) > 2 for answer in said)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("question", [*QUESTIONS, "wörds , . ?"])
def test_token_ids_are_the_processors(vlm, processor, pictures, count, question):
    shown = pictures[:count]
    seen = [vlm.look_at([picture]) for picture in shown]
    inputs = stock_inputs(processor, question, shown)
    assert torch.equal(vlm.words(question, seen).ids, inputs["input_ids"])


def test_pixels_are_the_processors(vlm, processor, pictures):
    inputs = stock_inputs(processor, QUESTIONS[0], pictures[:2])
    pixels, grid = vlm.facts.pixels(pictures[:2])
    assert torch.equal(pixels, inputs["pixel_values"])
    assert grid == (12, 12)


def test_image_features_are_the_models(vlm, pictures):
    pixels, _ = vlm.facts.pixels(pictures)
    with torch.no_grad():
        wanted = vlm.model.get_image_features(pixel_values=pixels).pooler_output
    together = vlm.look_at(pictures)
    for number, picture in enumerate(pictures):
        alone = vlm.look_at([picture])
        assert alone.grid == together.grid == (12, 12)
        torch.testing.assert_close(alone.features[0], wanted[number])
        torch.testing.assert_close(together.features[number], wanted[number])


def test_scores_behind_a_prefix_equal_the_whole_prompts(vlm, processor, pictures):
    inputs = stock_inputs(processor, QUESTIONS[0], pictures[:1])
    with torch.no_grad():
        wanted = vlm.model(**inputs).logits[0, -1]
    (first,) = vlm.run([prompt_of(vlm.look(pictures[0]), QUESTIONS[0])])
    logits = first.scores[0]
    assert (logits - wanted).abs().max() < 1e-4 * (wanted.max() - wanted.min())


def test_prefix_is_never_grown(vlm, pictures):
    view = vlm.look(pictures[0])
    view.ask(QUESTIONS[0], max_new_tokens=3)
    cache = prompt_of(view, QUESTIONS[0]).prefix.cache
    keys = cache.layers[1].keys.clone()
    view.ask(QUESTIONS[0], crop=(0, 0, 99, 99), max_new_tokens=3)
    for method in ("rel-att", "grad-att", "pure-grad"):
        view.importance(QUESTIONS[1], method)
    assert prompt_of(view, QUESTIONS[1]).prefix.cache is cache
    assert cache.get_seq_length() == 145
    assert torch.equal(cache.layers[1].keys, keys)


def test_answer_has_at_most_the_tokens_asked_for(vlm, view):
    for question in QUESTIONS:
        prompt = prompt_of(view, question)
        whole = tokens_of(vlm, prompt, 8)
        assert tokens_of(vlm, prompt, 1) == whole[:1]
        assert tokens_of(vlm, prompt, 3) == whole[:3]


@pytest.mark.parametrize(("end", "ids"), [(7, {7}), ([7, 9], {7, 9}), (None, {2})])
def test_end_tokens_may_be_one_or_several(vlm, monkeypatch, end, ids):
    monkeypatch.setattr(vlm.model.generation_config, "eos_token_id", end)
    monkeypatch.setattr(vlm.model.config.text_config, "eos_token_id", 2)
    assert vlm.end_ids == ids


def test_prompt_that_does_not_begin_with_the_prefix_is_refused(vlm, view):
    prompt = prompt_of(view, QUESTIONS[0])
    ids = prompt.words.ids.clone()
    ids[0, 3] = 9
    with pytest.raises(RuntimeError, match="does not begin with the kept image"):
        vlm.follow([(Words(ids), [view.whole.seen], prompt.prefix)])


@pytest.mark.parametrize("count", [0, 12, 143])
def test_prompt_with_too_few_image_tokens_is_refused(vlm, view, count):
    ids = [1, *[vlm.model.config.image_token_id] * count, 9]
    with pytest.raises(
        ValueError, match=f"holds {count} image tokens, expected 144 an"
    ):
        vlm.begin(Words(torch.tensor([ids])), view.whole.seen)


def test_span_is_the_first_images(vlm, view):
    for seen in ([view.whole.seen], [view.whole.seen, view.whole.seen]):
        words = vlm.words(QUESTIONS[0], seen)
        assert vlm.begin(words, view.whole.seen).span == slice(1, 145)


def test_image_placeholder_in_a_question_is_text(vlm, view):
    ids = vlm.words("what is on <image> ?", [view.whole.seen]).ids
    assert (ids == vlm.image_token_id).sum() == vlm.token_count(view.whole.seen)
    assert isinstance(view.ask("what is on <image> ?").text, str)


@pytest.mark.parametrize("question", ["", "  \n"])
def test_empty_question_is_refused(view, question):
    with pytest.raises(ValueError, match="the question is empty"):
        view.ask(question)
    with pytest.raises(ValueError, match="the question is empty"):
        view.importance(question)


def test_unknown_model_is_named_with_those_known():
    with pytest.raises(ValueError, match="unknown model 'lava'; known: tiny-llava, ti"):
        adapters.load("lava")


def test_unknown_family_is_named(vlm):
    for make in (
        lambda: adapters.load("./somewhere", family="blip"),
        lambda: adapters.wrap(vlm.model, family="blip"),
    ):
        with pytest.raises(ValueError, match="unknown family 'blip'; known: ") as error:
            make()
        assert all(family in str(error.value) for family in FAMILIES)


def test_unknown_dtype_is_named():
    with pytest.raises(ValueError, match="unknown dtype 'int8'; known: float32, fl"):
        adapters.load("tiny-llava", dtype="int8")


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_device_that_is_not_here_is_named(random_weights, device):
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used here"):
        adapters.load("tiny-llava", device=device)


@pytest.mark.parametrize("layer", [-1, 4, 99])
def test_layer_that_does_not_exist_is_named(vlm, layer):
    with pytest.raises(ValueError, match=f"layer {layer} is not one .*0 to 3"):
        adapters.wrap(vlm.model, family="llava", layer=layer)


def test_model_of_another_architecture_is_refused(vlm):
    with pytest.raises(
        ValueError, match="the model is a LlamaModel, which is of no family"
    ):
        adapters.wrap(vlm.model.model.language_model, family="llava", layer=0)


def test_model_without_a_processor_says_what_is_missing(vlm, picture):
    bare = adapters.wrap(vlm.model, family="llava", layer=2)
    with pytest.raises(RuntimeError, match="wrapped without a processor"):
        bare.look(picture).ask("what?")
    with pytest.raises(RuntimeError, match="wrapped without a processor"):
        bare.visible((10, 10))


def test_missing_embedded_weights_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="tiny-llava has no weights .*`make tr"):
        adapters.load("tiny-llava")
    assert not MODELS["tiny-llava"].is_here()


def test_missing_hub_model_names_size_licence_and_command():
    with pytest.raises(FileNotFoundError) as caught:
        adapters.load("llava")  # the authors' short key
    message = str(caught.value)
    assert "14.1 GB" in message and "Llama 2 Community License" in message
    spec = MODELS["llava-1.5-7b"]
    assert f"`hf download {spec.source} --revision {spec.revision} --ex" in message
    assert not spec.is_here()


def test_every_missing_hub_model_says_what_to_download():
    for key, spec in MODELS.items():
        if spec.folder is None:
            with pytest.raises(FileNotFoundError, match="is not here") as caught:
                adapters.load(key)
            message = str(caught.value)
            assert f"{spec.size_gb:g} GB, {spec.licence}" in message
            assert f"hf download {spec.source}" in message
            assert (spec.revision or "--exclude") in message


def test_revisions_are_whole_commits():
    pins = {key: spec.revision for key, spec in MODELS.items() if "/" in spec.source}
    assert [key for key, pin in pins.items() if not pin] == []
    assert all(re.fullmatch("[0-9a-f]{40}", pin) for pin in pins.values() if pin)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Puts files of a repository into an empty cache of the hub."""
    spec = MODELS["qwen2.5-vl-3b"]
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / f"models--{spec.source.replace('/', '--')}"

    def put(name, text="{}"):
        file = folder / "snapshots" / spec.revision / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return spec

    return put


def test_hub_model_is_here_once_all_its_parts_are(hub):
    assert not hub("config.json").is_here()
    parts = {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}
    index = json.dumps({"weight_map": parts})
    assert not hub("model.safetensors.index.json", index).is_here()
    assert not hub("one.safetensors").is_here()
    assert hub("two.safetensors").is_here()


def test_hub_model_of_one_file_is_here_with_it(hub):
    assert not hub("config.json").is_here()
    assert hub("model.safetensors").is_here()


def test_pinned_model_that_is_here_is_not_asked_for_on_the_hub(hub, monkeypatch):
    """Without ``HF_HUB_OFFLINE``: a try would be an error (see ``no_network``)."""
    asked = []
    for name in ("config.json", "model.safetensors"):
        spec = hub(name, '{"model_type": "llava_next"}')

    def read(source, revision, local_files_only):
        asked.append((source, revision, local_files_only))
        raise OSError("stop here")

    monkeypatch.setattr(loading, "is_offline_mode", lambda: False)
    monkeypatch.setattr(loading.PreTrainedConfig, "get_config_dict", read)
    with pytest.raises(FileNotFoundError, match="stop here"):
        adapters.load("qwen2.5-vl-3b")
    with pytest.raises(FileNotFoundError, match="stop here"):
        adapters.load("qwen2.5-vl-7b")
    other = MODELS["qwen2.5-vl-7b"]
    assert asked == [
        (spec.source, spec.revision, True),
        (other.source, other.revision, False),
    ]


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all"])
def test_missing_local_folder_is_not_looked_for_on_the_hub(name):
    with pytest.raises(FileNotFoundError) as caught:
        adapters.load(name, family="llava")
    said = (
        f"{name.lstrip('.')} does not hold a model and its processor (no config.json)"
    )
    assert said in str(caught.value)
    assert "hf download" not in str(caught.value)


def test_local_folder_without_a_processor_is_named(golden_llava, tmp_path):
    with pytest.raises(FileNotFoundError, match="llava does not hold a model and its"):
        adapters.load(str(golden_llava), family="llava")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path.name} does not hold"):
        adapters.load(str(tmp_path), family="llava")


def test_torn_weights_are_named(saved_weights, tmp_path):
    for file in (saved_weights / "tiny-llava").iterdir():
        data = file.read_bytes()
        whole = file.suffix != ".safetensors"
        (tmp_path / file.name).write_bytes(data if whole else data[:5000])
    with pytest.raises(ValueError, match="weights in .* are torn"):
        adapters.load(str(tmp_path), family="llava", layer=1)


def test_saved_model_answers_as_it_did(random_weights, vlm, pictures):
    loaded = adapters.load("tiny-llava")
    assert MODELS["tiny-llava"].is_here()
    assert loaded.layer == MODELS["tiny-llava"].layer
    for question in QUESTIONS:
        wanted = vlm.look(pictures[0]).ask(question, max_new_tokens=5)
        assert loaded.look(pictures[0]).ask(question, max_new_tokens=5) == wanted


def test_local_folder_loads_with_its_family_and_layer(random_weights):
    folder = str(random_weights / "tiny-llava")
    assert adapters.load(folder, family="llava", layer=3).layer == 3


def test_half_precision_model_looks_and_answers(random_weights, picture):
    half = adapters.load("tiny-llava", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    answer = half.look(picture).ask(QUESTIONS[0], crop=(0, 0, 90, 90), max_new_tokens=3)
    assert isinstance(answer.text, str)
    assert half.look(picture).importance(QUESTIONS[0]).shape == (12, 12)


def test_every_registered_model_is_of_a_known_family():
    assert {spec.family for spec in MODELS.values()} <= set(FAMILIES)


def test_aliases_lead_to_registered_models():
    assert {adapters.resolve(key) for key in registry.ALIASES} <= set(MODELS)
    assert adapters.resolve("tiny-llava") == "tiny-llava"


@pytest.mark.parametrize("size", [(8, 8), (8, 60), (60, 8)])
def test_image_of_one_patch_is_looked_at(vlm, size):
    answer = vlm.look(Image.new("RGB", size, "red")).ask("what?", max_new_tokens=2)
    assert isinstance(answer.text, str)


def test_look_takes_paths_and_arrays(vlm, picture, tmp_path):
    picture.save(tmp_path / "a.png")
    views = [vlm.look(tmp_path / "a.png"), vlm.look(picture)]
    wanted = views[1].whole.seen.features
    assert torch.equal(views[0].whole.seen.features, wanted)
    assert views[0].image.size == images.load(picture).size


def test_squashing_processor_sees_the_whole_image(vlm, processor):
    squashing = copy.deepcopy(processor)
    squashing.image_processor.do_center_crop = False
    other = adapters.wrap(vlm.model, squashing, layer=2)
    assert (vlm.facts.fit, other.facts.fit) == ("centre-crop", "squash")
    assert other.visible((100, 50)) == (0, 0, 100, 50)
    assert vlm.visible((100, 50)) == (25, 0, 75, 50)


def test_prompt_is_the_authors():
    assert prompt_text("what?") == (
        "<image>\nUSER: what? Answer the question using a single word or phrase.\n"
        "ASSISTANT:"
    )
    assert prompt_text("what?", images=2).startswith("<image><image>\nUSER:")
