"""tiny-qwen2.5-vl: its configuration, words and processor, all of stock classes."""

from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
)

from embedded import models
from embedded.models import IMAGE_PX, PATCH_PX
from vicrop.adapters.qwen2_5_vl import Qwen2_5_VLProcessor

MERGE = 1
"""Patches a token is merged of, a side. Qwen's are 2: its tokens of 28 pixels are four
patches of 14. Ours of 8 pixels are one: so tiny-llava's tower can be taken over."""
FRAMES = 2  # a still counts as two equal frames, as in every Qwen2.5-VL

# Room for rounding: a square of exactly 96² pixels may come out a cell short.
MIN_PIXELS, MAX_PIXELS = (IMAGE_PX - 1) ** 2, (IMAGE_PX + 1) ** 2

SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ROLE_WORDS = ("system", "user", "assistant", "You", "are", "helpful", "\n")
WORDS = (*models.WORDS, *SPECIAL, *ROLE_WORDS)
"""tiny-llava's words and numbers first, so that its language model can go on here."""

# Qwen2.5-VL's own, for turns of images and texts.
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of ``WORDS``; a line's end is a word, as Qwen's is."""
    core = models.lined(WORDS)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
            "im_start_token": "<|im_start|>",
        },
    )


def processor() -> Qwen2_5_VLProcessor:
    """Qwen's own preprocessing (native ratio, area bounded), at 96² pixels."""
    images = Qwen2VLImageProcessorPil(
        min_pixels=MIN_PIXELS,
        max_pixels=MAX_PIXELS,
        patch_size=PATCH_PX,
        merge_size=MERGE,
        temporal_patch_size=FRAMES,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return Qwen2_5_VLProcessor(
        image_processor=images, tokenizer=tokenizer(), chat_template=CHAT_TEMPLATE
    )


def config(width: int = 128, layers: int = 4) -> Qwen2_5_VLConfig:
    """A Qwen2.5-VL of the same parts as the 7B one, its text part as tiny-llava's."""
    number = {word: n for n, word in enumerate(WORDS)}
    sight = {
        "depth": layers,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_heads": 4,
        "patch_size": PATCH_PX,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": FRAMES,
        "window_size": IMAGE_PX // 2,
        "fullatt_block_indexes": [1, 3],
        "out_hidden_size": width,
    }
    text = {
        "vocab_size": len(WORDS),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [4, 6, 6],
        },
        "pad_token_id": number["<pad>"],
        "bos_token_id": None,
        "eos_token_id": number["<|im_end|>"],
    }
    return Qwen2_5_VLConfig(
        vision_config=sight,
        text_config=text,
        image_token_id=number["<|image_pad|>"],
        video_token_id=number["<|video_pad|>"],
        vision_start_token_id=number["<|vision_start|>"],
        vision_end_token_id=number["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def model() -> Qwen2_5_VLForConditionalGeneration:
    """A fresh tiny-qwen2.5-vl with random weights (torch's global generator)."""
    made = Qwen2_5_VLForConditionalGeneration(config())
    made.generation_config.eos_token_id = WORDS.index("<|im_end|>")
    made.generation_config.pad_token_id = WORDS.index("<pad>")
    return made
