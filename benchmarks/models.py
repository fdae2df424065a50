"""The models that are measured: tiny ones, random ones of middling size, real shapes.

The real ones have their published configuration, but no weights: they live on the meta
device, and their processors are made here. Words are tokens, as for the tiny models.
"""

import copy
import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, InstructBlipProcessor, LlavaProcessor
from transformers.models.blip import BlipImageProcessorPil
from transformers.models.clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
)

import vicrop
from embedded import instructblip, models, qwen
from vicrop import adapters
from vicrop.adapters import FAMILIES, MODELS
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.qwen2_5_vl import Qwen2_5_VLProcessor, Qwen25VL
from vicrop.prompts import Seen

REAL = json.loads(
    (Path(__file__).parents[1] / "tests/real_configs.json").read_text("utf-8")
)
KEYS = {
    "llava": "llava-1.5-7b",
    "instructblip": "instructblip-vicuna-7b",
    "qwen2.5-vl": "qwen2.5-vl-3b",
}
TINY = {
    "llava": "tiny-llava",
    "instructblip": "tiny-instructblip",
    "qwen2.5-vl": "tiny-qwen2.5-vl",
}
LAYERS = 8
MID = {
    "llava": {"text_config": {}, "vision_config": {"num_hidden_layers": 6}},
    "instructblip": {
        "text_config": {},
        "vision_config": {"num_hidden_layers": 8},
        "qformer_config": {"num_hidden_layers": 6, "num_attention_heads": 6},
    },
    "qwen2.5-vl": {"vision_config": {"depth": 8, "fullatt_block_indexes": [3, 7]}},
}
"""What a model of middling size has otherwise than the real one, beside its width."""
WIDTH, HEADS = 384, 6


class NoNumbers:
    """What an adapter cannot do on the meta device: read a token, move a picture."""

    end_ids = frozenset({-1})

    def choose(self, scores: Tensor) -> list[int]:
        """Some word that is no end."""
        return [5] * len(scores)


class NoNumbersQwen(NoNumbers, Qwen25VL):
    """Its tower reads the grid's numbers, which stay on the CPU."""

    def see(self, pixels: Tensor, grid: tuple[int, int]) -> Seen:
        """Merged patches of images of one shape."""
        patches = grid[0] * grid[1] * self._merge**2
        shapes = self._shapes([grid] * (len(pixels) // patches))
        places = torch.empty(len(pixels), 2, dtype=torch.long, device="meta")
        output = self.model.model.get_image_features(
            pixels, image_grid_thw=shapes, position_ids=places
        )
        return Seen(pixels, torch.stack(list(output.pooler_output)), grid)


def real(family: str, attention: str = "sdpa", **options) -> Adapter:
    """A model of real shape, in 16 bits, without weights."""
    spec = MODELS[KEYS[family]]
    config, processor = _configured(REAL[KEYS[family]], family)
    with torch.device("meta"):
        model = FAMILIES[family].facts.architecture(config).to(torch.bfloat16)
    model.set_attn_implementation(attention)
    plain = FAMILIES[family]
    kind = (
        NoNumbersQwen if plain is Qwen25VL else type("Shapes", (NoNumbers, plain), {})
    )
    return kind(model, processor, spec.layer, **{**spec.options, **options})


def on_gpu(family: str) -> Adapter:
    """A model of real size, in 16 bits, random weights, on the GPU."""
    spec = MODELS[KEYS[family]]
    config, processor = _configured(REAL[KEYS[family]], family)
    kind = FAMILIES[family].facts.architecture
    with torch.device("cuda"):
        model = kind._from_config(config, dtype=torch.bfloat16).eval()
    return adapters.wrap(model, processor, family, spec.layer, **spec.options)


def mid(family: str) -> Adapter:
    """A random model of middling size, the map's layer as deep as the real one's."""
    config = copy.deepcopy(REAL[KEYS[family]])
    deep = config.get("text_config", config).get("num_hidden_layers", 32)
    for part, changes in MID[family].items():
        config[part] = {**config[part], **_narrow(part), **changes}
    text = config.get("text_config", config)
    text |= _narrow("text_config") | {"num_hidden_layers": LAYERS}
    _qwen_only(config)
    made, processor = _configured(config, family)
    torch.manual_seed(0)
    model = FAMILIES[family].facts.architecture(made).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3 if weight.ndim > 1 else 1)  # so that it looks somewhere
    layer = int((MODELS[KEYS[family]].map_layer + 0.5) / deep * LAYERS)
    options = {"max_pixels": 256 * 28 * 28} if family == "qwen2.5-vl" else {}
    return adapters.wrap(model, processor, family, layer, **options)


def tiny(family: str) -> Adapter:
    """The embedded model, trained."""
    return vicrop.load(TINY[family])


def _narrow(part: str) -> dict:
    width = {"hidden_size": WIDTH}
    if part == "vision_config":
        return {**width, "intermediate_size": 4 * WIDTH}
    if part == "qformer_config":
        return {**width, "intermediate_size": 2 * WIDTH, "encoder_hidden_size": WIDTH}
    heads = {"num_attention_heads": HEADS, "num_key_value_heads": HEADS}
    return {**width, **heads, "intermediate_size": 1032}


def _qwen_only(config: dict) -> None:
    if config["model_type"] == "qwen2_5_vl":
        config["num_key_value_heads"] = 2
        config["vision_config"] |= {"num_heads": HEADS, "out_hidden_size": WIDTH}
        config["rope_scaling"] = {"mrope_section": [8, 12, 12], "type": "mrope"}
    elif "vision_config" in config:
        config["vision_config"]["num_attention_heads"] = HEADS


def _configured(config: dict, family: str) -> tuple:
    """A configuration whose placeholder is the processor's, and that processor."""
    processor, config = PROCESSORS[family](), copy.deepcopy(config)
    token = processor.tokenizer.convert_tokens_to_ids(
        "<|image_pad|>" if family == "qwen2.5-vl" else "<image>"
    )
    name = "image_token_id" if family == "qwen2.5-vl" else "image_token_index"
    return AutoConfig.for_model(**{**config, name: token}), processor


def _llava() -> LlavaProcessor:
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=models.tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def _instructblip() -> InstructBlipProcessor:
    images = BlipImageProcessorPil(size={"height": 224, "width": 224})
    words = instructblip.tokenizer()
    return InstructBlipProcessor(images, words, words, num_query_tokens=32)


def _qwen() -> Qwen2_5_VLProcessor:
    images = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=16384 * 28 * 28)
    return Qwen2_5_VLProcessor(
        image_processor=images,
        tokenizer=qwen.tokenizer(),
        chat_template=qwen.CHAT_TEMPLATE,
    )


PROCESSORS = {"llava": _llava, "instructblip": _instructblip, "qwen2.5-vl": _qwen}
