"""The path that real models take, without their weights.

Their published configurations are built on the meta device, where tensors have shapes
and no numbers; their tiny random twins (``twins.py``) run everything end to end.
"""

import numpy as np
import pytest
import torch
import twins
from PIL import Image
from transformers import DynamicCache
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vicrop import adapters, attribution, capture, methods, pipeline
from vicrop.adapters import FAMILIES, MODELS
from vicrop.prompts import Seen, Words

HUB = [key for key, spec in MODELS.items() if spec.folder is None]
QUESTION = "what digit is on the red plate?"

CUT = ("word-att", "prefix-att", "grad-cam", "kv-similarity", "occlusion")
"""Maps that cut what is negative."""

# The authors' code and the checkpoints: side of a crop and of a map's cell, pixels;
# tokens of an image in the prompt; placeholder's id; hidden size, heads.
FACTS = {
    "llava-1.5-7b": (336, 14, 576, 32000, 4096, 32),
    "llava-1.5-13b": (336, 14, 576, 32000, 5120, 40),
    "instructblip-vicuna-7b": (224, 14, 32, 32001, 4096, 32),
    "qwen2.5-vl-3b": (224, 28, 256, 151655, 2048, 16),
    "qwen2.5-vl-7b": (224, 28, 256, 151655, 3584, 28),
}
# As the hub counts them in the safetensors of these revisions.
PARAMETERS = {
    "llava-1.5-7b": 7_063_427_072,
    "instructblip-vicuna-7b": 7_913_726_720,
    "qwen2.5-vl-3b": 3_754_622_976,
    "qwen2.5-vl-7b": 8_292_166_656,
}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Makes a real model without weights, behind its adapter; kept."""
    made = {}

    def make(key):
        if key not in made:
            spec = MODELS[key]
            config = twins.real_config(key, tmp_path_factory.mktemp("config"))
            with torch.device("meta"):
                model = FAMILIES[spec.family].facts.architecture(config)
            made[key] = adapters.wrap(
                model, None, spec.family, spec.layer, **spec.options
            )
        return made[key]

    return make


def test_every_model_of_the_hub_is_built():
    assert set(HUB) == set(twins.REAL) == set(FACTS)


@pytest.mark.parametrize("key", HUB)
def test_registry_says_what_the_real_configuration_is(key, real):
    vlm, spec = real(key), MODELS[key]
    count = sum(weight.numel() for weight in vlm.model.parameters())
    assert count == PARAMETERS.get(key, count)
    assert spec.parameters == pytest.approx(count, rel=2e-3)
    assert spec.size_gb == pytest.approx(2 * count / 1e9, rel=0.01)  # 16 bits each
    assert len(vlm.attention) == twins.depth(key)
    assert vlm.layer == spec.layer < len(vlm.attention)


@pytest.mark.parametrize("key", HUB)
def test_real_configuration_has_the_authors_sizes(key, real):
    vlm = real(key)
    crop, patch, count, token, width, heads = FACTS[key]
    assert (vlm.crop_px, vlm.facts.patch_px) == (crop, patch)
    assert vlm.image_token_id == token
    assert vlm.head.in_features == vlm.text_model.embed_tokens.embedding_dim == width
    assert vlm.head.out_features > token
    seen = Seen(torch.empty(0), torch.empty(0), MODELS[key].grid)
    assert vlm.token_count(seen) == count
    ids = torch.tensor([[1, *[token] * count, 7, *[token] * count, 9]])
    assert vlm.begin(Words(ids), seen).span == slice(1, 1 + count)
    with pytest.raises(ValueError, match=f"holds 1 image tokens, expected {count} an"):
        vlm.begin(Words(ids[:, :2]), seen)


@pytest.mark.parametrize("key", HUB)
def test_real_attention_gives_a_row_of_every_head(key, real):
    """The map's layer is reached, read and the last that is run."""
    vlm = real(key)
    _, _, count, _, width, heads = FACTS[key]
    prompt = torch.empty(1, count + 9, width, device="meta")
    cache = DynamicCache(config=vlm.text_model.config)
    with capture.read_rows([vlm.attention[vlm.layer]]) as rows:
        vlm.hidden(prompt, cache, positions(vlm, count + 9))
    assert rows[0].shape == (1, heads, count + 9)
    assert cache.get_seq_length(vlm.layer) == count + 9
    if vlm.layer + 1 < len(cache.layers):
        assert cache.get_seq_length(vlm.layer + 1) == 0


def positions(vlm, count):
    """Rows and columns only where the language model has them."""
    section = vlm.text_model.config.rope_parameters.get("mrope_section")
    if section is None:
        return None
    assert section == [16, 24, 24]
    return torch.arange(count, device="meta").expand(3, 1, -1)


@pytest.mark.parametrize("key", [key for key in HUB if "qwen" not in key])
def test_real_vision_tower_gives_one_feature_a_patch(key, real):
    vlm = real(key)
    pixels = torch.empty(2, 3, vlm.crop_px, vlm.crop_px, device="meta")
    seen = vlm.see(pixels, vlm.facts.grid, 2)
    rows, cols = seen.grid
    assert seen.grid == MODELS[key].grid
    # InstructBLIP's keeps its class token: the Q-Former looks at it too.
    classes = seen.features.shape[1] - rows * cols
    assert (len(seen.features), classes) == (2, int("instructblip" in key))


@pytest.mark.parametrize("key", [key for key in HUB if "instructblip" in key])
def test_real_q_former_is_read_at_its_third_look_at_the_image(key, real):
    vlm = real(key)
    layers = vlm.model.qformer.encoder.layer
    crossing = [layer.crossattention.attention for layer in layers[::2]]
    assert vlm.facts.connector.attention == crossing
    assert vlm.connector_layer == vlm.facts.connector.layer == 2
    assert (len(layers), len(crossing)) == (12, 6)


@pytest.mark.parametrize("key", [key for key in HUB if "qwen" in key])
def test_authors_cap_gives_qwen_16_by_16_cells_of_a_square(key):
    cap = MODELS[key].options["max_pixels"]
    for side in (448, 1000, 4000):
        height, width = smart_resize(side, side, factor=28, max_pixels=cap)
        assert (height // 28, width // 28) == MODELS[key].grid


def test_layers_of_other_sizes_are_as_deep_as_the_known_ones():
    known = {"llava": (14, 32), "instructblip": (15, 32), "qwen2.5-vl": (22, 36)}
    for key in HUB:
        layer, of = known[MODELS[key].family]
        deep = (layer + 0.5) / of * twins.depth(key) - 0.5
        assert MODELS[key].layer == round(deep)


# Tiny twins, end to end.


@pytest.fixture(scope="module")
def wide():
    """A picture that is cut into two tiles."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 14, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((140, 60))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("key", HUB)
def test_twin_runs_every_method_end_to_end(key, dtype, wide):
    vlm = twins.wrap(key)
    vlm.model.to(dtype)
    view, crop = vlm.look(wide), pipeline.ViCrop(vlm)
    assert len(view.tiles.boxes) == 2
    for method in methods.METHODS:
        try:
            said = crop.answer(
                view, QUESTION, method, truth=[(70, 20, 76, 26)], max_new_tokens=1
            )
        except ValueError as error:  # of random weights nothing may be left
            assert attribution.split(method)[0] in CUT, error
            assert "zero everywhere" in str(error)
            continue
        assert (said.box is None) == (method == "no-crop")
        assert (said.amap is None) == (method in pipeline.CONTROLS)
        if said.amap is not None:
            check_map(said.amap, view, method)


def check_map(amap, view, method):
    """Finite and non-negative is Map's own rule; here: where its cells lie."""
    if attribution.split(method)[1]:
        tile = view.image.crop(view.tiles.boxes[0])
        rows, cols = view.vlm.look_at([tile]).grid
        assert amap.shape == (rows, 2 * cols)
        assert amap.region == (0, 0, *view.image.size)
    else:
        assert amap.shape == view.whole.seen.grid
        assert amap.region == view.vlm.visible(view.image.size)
    assert amap.values.std() > 0


@pytest.mark.parametrize("family", twins.PROCESSORS)
def test_saved_twin_is_loaded_as_a_checkpoint_is(family, tmp_path, wide):
    """Real classes of tokenizers and processors, written out and read back."""
    key = next(key for key in HUB if MODELS[key].family == family)
    model, processor = twins.make(key)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = adapters.load(str(tmp_path), family=family, layer=2)
    assert (
        type(loaded.processor).__name__
        == FAMILIES[family].facts.processor_class.__name__
    )
    assert not any(weight.requires_grad for weight in loaded.model.parameters())
    views = [
        vlm.look(wide) for vlm in (adapters.wrap(model, processor, family, 2), loaded)
    ]
    for crop in (None, (10, 0, 70, 60)):
        one, other = (view.ask(QUESTION, crop, max_new_tokens=3) for view in views)
        assert one == other


EMBEDDED = [key for key, spec in MODELS.items() if spec.folder is not None]
POINTS_NOWHERE = {
    ("tiny-llava-unmasked-3", dtype, "occlusion") for dtype in ("float32", "float16")
}
"""Whatever is greyed of this picture, the answer gets no unlikelier: so it says."""


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("key", EMBEDDED)
def test_embedded_model_runs_every_method_end_to_end(key, dtype, wide):
    spec = MODELS[key]
    if not spec.is_here():
        pytest.skip("its weights are not made yet: make train")
    vlm = adapters.load(key, dtype=dtype)
    count = sum(weight.numel() for weight in vlm.model.parameters())
    assert spec.parameters == pytest.approx(count, rel=0.05)
    view, crop = vlm.look(wide), pipeline.ViCrop(vlm)
    for method in methods.METHODS:
        if (key, dtype, method) in POINTS_NOWHERE:
            with pytest.raises(ValueError, match="zero everywhere, so it points"):
                view.importance(QUESTION, method)
            continue
        said = crop.answer(
            view, QUESTION, method, truth=[(70, 20, 76, 26)], max_new_tokens=1
        )
        assert (said.amap is None) == (method in pipeline.CONTROLS)
        if said.amap is not None:
            check_map(said.amap, view, method)
    square = vlm.look(wide.resize((96, 96)))
    assert square.whole.seen.grid == spec.grid
