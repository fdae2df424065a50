"""The models that are measured: tiny ones, random ones of middling size, real shapes.

The real ones have their published configuration, but no weights: they live on the meta
device, and their processors are made here. Words are tokens, as for the tiny models.
"""

import copy
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig

import vicrop
from embedded import instructblip, llava, qwen
from vicrop import adapters
from vicrop.adapters import FAMILIES, MODELS
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.qwen2_5_vl import Qwen25VL
from vicrop.prompts import Grid

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
TEXT = {
    "hidden_size": 384,
    "intermediate_size": 1032,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "num_hidden_layers": 8,
}
SIGHT = {"hidden_size": 384, "intermediate_size": 1536}
QFORMER = {**SIGHT, "intermediate_size": 768, "encoder_hidden_size": 384}
SIX_HEADS = {"num_attention_heads": 6}
MID = {
    "llava": {
        "text_config": TEXT,
        "vision_config": {**SIGHT, **SIX_HEADS, "num_hidden_layers": 6},
    },
    "instructblip": {
        "text_config": TEXT,
        "vision_config": {**SIGHT, **SIX_HEADS, "num_hidden_layers": 8},
        "qformer_config": {**QFORMER, **SIX_HEADS, "num_hidden_layers": 6},
    },
    "qwen2.5-vl": {
        **TEXT,
        "num_key_value_heads": 2,
        "rope_scaling": {"mrope_section": [8, 12, 12], "type": "mrope"},
        "vision_config": {
            **SIGHT,
            "depth": 8,
            "fullatt_block_indexes": [3, 7],
            "num_heads": 6,
            "out_hidden_size": 384,
        },
    },
}
"""What a model of middling size has otherwise than the real one."""


class NoNumbers(Adapter):
    """On the meta device no token can be read."""

    end_ids = frozenset({-1})

    def choose(self, scores: Tensor) -> list[int]:
        """Some word that is no end."""
        return [5] * len(scores)


class NoNumbersQwen(Qwen25VL):
    """Its tower reads the grid's numbers, which stay on the CPU."""

    def see(self, pixels: Tensor, grids: Sequence[Grid]) -> Sequence[Tensor]:
        """Merged patches of each image."""
        places = torch.empty(len(pixels), 2, dtype=torch.long, device="meta")
        output = self.model.model.get_image_features(
            pixels, image_grid_thw=self._shapes(grids), position_ids=places
        )
        return output.pooler_output


def real(family: str) -> Adapter:
    """A model of real shape, in 16 bits, without weights; images of any size."""
    spec = MODELS[KEYS[family]]
    config, processor = _configured(REAL[KEYS[family]], family)
    with torch.device("meta"):
        model = FAMILIES[family].facts.architecture(config).to(torch.bfloat16)
    if family == "qwen2.5-vl":
        facts = NoNumbersQwen(model, processor)
    else:
        facts = FAMILIES[family].facts(model, processor)
    return NoNumbers(facts, spec.layer)


def on_gpu(family: str) -> Adapter:
    """A model of real size, in 16 bits, random weights, on the GPU."""
    spec = MODELS[KEYS[family]]
    config, processor = _configured(REAL[KEYS[family]], family)
    kind = FAMILIES[family].facts.architecture
    with torch.device("cuda"):
        made = kind._from_config(config, dtype=torch.bfloat16)
    return adapters.wrap(made.eval(), processor, family, spec.layer, **spec.options)


def mid(family: str) -> Adapter:
    """A random model of middling size, the map's layer as deep as the real one's."""
    config = copy.deepcopy(REAL[KEYS[family]])
    deep = config.get("text_config", config).get("num_hidden_layers", 32)
    for part, change in MID[family].items():
        whole = isinstance(change, dict)
        config[part] = {**config[part], **change} if whole else change
    made, processor = _configured(config, family)
    torch.manual_seed(0)
    model = FAMILIES[family].facts.architecture(made).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3 if weight.ndim > 1 else 1)  # so that it looks somewhere
    layer = int((MODELS[KEYS[family]].layer + 0.5) / deep * TEXT["num_hidden_layers"])
    options = {"max_pixels": 256 * 28 * 28} if family == "qwen2.5-vl" else {}
    return adapters.wrap(model, processor, family, layer, **options)


def tiny(family: str) -> Adapter:
    """The embedded model, trained."""
    return vicrop.load(TINY[family])


def _configured(config: dict, family: str) -> tuple:
    """A configuration whose placeholder is the processor's, and that processor."""
    processor, config = PROCESSORS[family](), copy.deepcopy(config)
    name, word = "image_token_index", "<image>"
    if family == "qwen2.5-vl":
        name, word = "image_token_id", "<|image_pad|>"
    token = processor.tokenizer.convert_tokens_to_ids(word)
    return AutoConfig.for_model(**{**config, name: token}), processor


PROCESSORS = {
    "llava": partial(llava.processor, 336, 14),
    "instructblip": partial(instructblip.processor, 224, 32),
    "qwen2.5-vl": partial(
        qwen.processor,
        min_pixels=56 * 56,
        max_pixels=16384 * 28 * 28,
        patch_size=14,
        merge_size=2,
    ),
}
