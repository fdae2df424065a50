"""Tiny random twins of the real models, with real processors.

A twin has its model's published configuration made small: the same parts, the same
ratio of query to key heads, the map's layer as deep in six layers as the real one is
in all of them. Its processor is of the real class, with the real kind of tokenizer
built here from a few words. Nothing is downloaded.
"""

import json
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    BertTokenizer,
    InstructBlipProcessor,
    LlamaTokenizer,
    LlavaProcessor,
    PreTrainedConfig,
    Qwen2Tokenizer,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip import CLIPImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
)

from vicrop import adapters
from vicrop.adapters import FAMILIES, MODELS
from vicrop.adapters.qwen2_5_vl import Qwen2_5_VLProcessor
from vicrop.types import Shown
from vicrop.view import _prompts

REAL = json.loads((Path(__file__).parent / "real_configs.json").read_text())
"""The hub models' ``config.json`` as published, less what repeats transformers'
defaults. LLaVA-1.5 7B's is quoted whole in public code; InstructBLIP's in audits of the
hub's snapshots; that all are right is seen by their parameters, counted to the last."""

SIDE, LAYERS = 56, 6
WORDS = (
    "what digit letter color is on the red blue plate with a there in image answer "
    "question using single word or phrase write general description of short you are "
    "helpful assistant user system"
).split()

# Qwen2.5-VL's, as published.
CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0)"
    " %}{% for message in messages %}{% if loop.first and message['role'] != 'system' "
    "%}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in "
    "message['content'] %}{% if content['type'] == 'image' or 'image' in content or "
    "'image_url' in content %}{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == 'video' or "
    "'video' in content %}{% set video_count.value = video_count.value + 1 %}"
    "{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}<|vision_start|>"
    "<|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}"
    "{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def real_config(key: str, folder: Path) -> PreTrainedConfig:
    """A model's published configuration, read as a checkpoint's is."""
    (folder / "config.json").write_text(json.dumps(REAL[key]))
    return AutoConfig.from_pretrained(folder)


def wrap(key: str, **options):
    """A twin of a registered model, behind its adapter.

    Args:
        key: of a model of the hub.
        options: of the family; the registry's where not given.
    """
    model, processor = make(key)
    spec = MODELS[key]
    layer = spec.layer * LAYERS // depth(key)
    options = {**spec.options, **options}
    return with_heads(adapters.wrap(model, processor, spec.family, layer, **options))


def with_heads(vlm):
    """A random model, any of whose heads are as good as chosen ones for gaze-heads."""
    vlm.heads = ((1, 0), (2, 1))
    return vlm


def make(key: str):
    """A twin's model, of random weights, and its processor."""
    family = MODELS[key].family
    processor = PROCESSORS[family]()
    torch.manual_seed(0)
    model = FAMILIES[family].facts.architecture(narrow(key, processor)).eval()
    enlarge(model)
    return model.requires_grad_(False), processor


def prompt_of(view, question, crop=None):
    """A question about a view's image, or about it and a crop of it; not run yet."""
    (prompt,) = _prompts([(view, question, Shown.of(crop))])
    return prompt


def tokens_of(vlm, prompt, max_new_tokens):
    """A prompt's greedy answer, without the end token."""
    (tokens,) = vlm.decode(vlm.run([prompt]), max_new_tokens)
    return tokens


def depth(key: str) -> int:
    """Layers of the real language model."""
    real = REAL[key]
    return real.get("text_config", real).get("num_hidden_layers", 32)


@torch.no_grad()
def enlarge(model) -> None:
    """Make random weights large enough that answers vary."""
    for weight in model.parameters():
        if weight.ndim > 1 and not weight.any():
            weight.normal_(std=0.2)  # InstructBLIP's queries start as zeros
        weight.mul_(6 if weight.ndim > 1 else 1)


def narrow(key: str, processor) -> PreTrainedConfig:
    """A real configuration with few numbers a layer and the processor's words."""
    config = json.loads(json.dumps(REAL[key]))
    NARROW[MODELS[key].family](config, processor)
    text = config.get("text_config", config)
    text["num_hidden_layers"] = LAYERS
    text["vocab_size"] = len(processor.tokenizer)
    text["eos_token_id"] = processor.tokenizer.eos_token_id
    text["bos_token_id"] = processor.tokenizer.bos_token_id
    text["pad_token_id"] = processor.tokenizer.pad_token_id
    return AutoConfig.for_model(**config)


def _llava(config: dict, processor) -> None:
    _llama(config["text_config"])
    config["vision_config"] |= dict(
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_hidden_layers=3,
        image_size=SIDE,
    )
    config["image_token_index"] = processor.image_token_id
    config["image_seq_length"] = (SIDE // 14) ** 2


def _instructblip(config: dict, processor) -> None:
    _llama(config["text_config"])
    size = dict(hidden_size=32, intermediate_size=48, num_attention_heads=4)
    config["vision_config"] |= dict(size, image_size=SIDE, num_hidden_layers=2)
    # The vision tower's own range is next to none, and all patches would be alike.
    config["vision_config"]["initializer_range"] = 0.02
    config["initializer_range"] = config["qformer_config"]["initializer_range"] = 0.04
    words = len(processor.qformer_tokenizer)
    config["qformer_config"] |= dict(size, encoder_hidden_size=32, vocab_size=words)
    config["qformer_config"]["num_hidden_layers"] = 6  # three look at the image
    token = str(processor.image_token)
    config["image_token_index"] = processor.tokenizer.convert_tokens_to_ids(token)


def _llama(text: dict) -> None:
    text |= dict(
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_key_value_heads=4,
    )


def _qwen(config: dict, processor) -> None:
    heads = config["num_attention_heads"] // config["num_key_value_heads"]
    config |= dict(
        hidden_size=16 * heads,
        intermediate_size=48,
        num_attention_heads=heads,
        num_key_value_heads=1,
        rope_scaling={"mrope_section": [2, 3, 3], "type": "mrope"},
    )
    config["vision_config"] |= dict(
        depth=4,
        fullatt_block_indexes=[1, 3],
        hidden_size=32,
        intermediate_size=48,
        num_heads=2,
        out_hidden_size=16 * heads,
    )
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    for name, token in names.items():
        config[name] = processor.tokenizer.convert_tokens_to_ids(token)


NARROW = {"llava": _llava, "instructblip": _instructblip, "qwen2.5-vl": _qwen}


def llava_processor() -> LlavaProcessor:
    """Short side resized, centre cut out."""
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=llama_tokenizer(extra_special_tokens={"image_token": "<image>"}),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def instructblip_processor() -> InstructBlipProcessor:
    """Both sides stretched; two tokenizers."""
    images = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return InstructBlipProcessor(
        images, llama_tokenizer(), bert_tokenizer(), num_query_tokens=32
    )


def qwen_processor() -> Qwen2_5_VLProcessor:
    """Native ratio, area bounded as published."""
    images = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=16384 * 28 * 28)
    return Qwen2_5_VLProcessor(
        image_processor=images, tokenizer=qwen_tokenizer(), chat_template=CHAT_TEMPLATE
    )


PROCESSORS = {
    "llava": llava_processor,
    "instructblip": instructblip_processor,
    "qwen2.5-vl": qwen_processor,
}


def llama_tokenizer(**extra) -> LlamaTokenizer:
    """Llama's kind: sentence pieces, unknown letters as bytes."""
    letters = ["▁", *map(chr, range(33, 127))]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *letters]
    words = [f"▁{word}" for word in WORDS]
    table, merges = _merged(tokens, words)
    return LlamaTokenizer(table, merges, pad_token="<pad>", **extra)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Qwen's kind: bytes, merged; turns between special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [chr(256 + n) for n in range(256 - len(printable))]
    table, merges = _merged([*map(chr, printable), *rest], [f"Ġ{w}" for w in WORDS])
    turns = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"]
    marks = ["<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
    made = Qwen2Tokenizer(table, merges, eos_token="<|im_end|>")
    made.add_special_tokens({"additional_special_tokens": [*turns, *marks]})
    return made


def bert_tokenizer() -> BertTokenizer:
    """The Q-Former's kind: whole words in lower case, else pieces of words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    letters = list(map(chr, range(33, 127)))
    pieces = [f"##{letter}" for letter in letters]
    tokens = dict.fromkeys([*special, *WORDS, *letters, *pieces])
    table = {token: number for number, token in enumerate(tokens)}
    return BertTokenizer(table, bos_token="[DEC]", truncation_side="left")


def _merged(tokens: list[str], words: list[str]) -> tuple[dict, list]:
    """A byte-pair vocabulary in which every word is grown letter by letter."""
    grown = {
        (word[:end], word[end]): word[: end + 1]
        for word in words
        for end in range(1, len(word))
    }
    table = dict.fromkeys([*tokens, *grown.values()])
    return {token: n for n, token in enumerate(table)}, list(grown)
