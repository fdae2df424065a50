"""A random Idefics3 of SmolVLM-500M's parts and grid, some 1,000 times smaller.

It is not trained: it is there to be wrapped, on the page "Add a model" and in tests.
"""

import torch
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import (
    Idefics3ImageProcessorPil,
)

from embedded import words

IMAGE_PX, PATCH_PX, SHUFFLE = 128, 8, 2
TOKENS = (IMAGE_PX // PATCH_PX // SHUFFLE) ** 2

SPECIAL = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
    "im_start_token": "<|im_start|>",
}
PLAIN = [word for word in words.WORDS if word != "<image>"]
WORDS = (*PLAIN, *SPECIAL.values(), "User", "Assistant", ":", "\n")

# SmolVLM's own.
CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}"
    "{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}"
    "{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of ``WORDS``; a line's end is a word."""
    ends = {"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>"}
    return words.lined(WORDS, **ends, extra_special_tokens=SPECIAL)


def processor() -> Idefics3Processor:
    """Idefics3's own preprocessing, which cuts the image up unless told not to."""
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * IMAGE_PX},
        max_image_size={"longest_edge": IMAGE_PX},
    )
    return Idefics3Processor(
        images, tokenizer(), image_seq_len=TOKENS, chat_template=CHAT_TEMPLATE
    )


def config(width: int = 64, layers: int = 4) -> Idefics3Config:
    """Of the same parts as SmolVLM's: SigLIP, pixel shuffle, a Llama."""
    sight = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "image_size": IMAGE_PX,
        "patch_size": PATCH_PX,
    }
    text = {
        "model_type": "llama",
        "vocab_size": len(WORDS),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "pad_token_id": WORDS.index("<pad>"),
        "bos_token_id": WORDS.index("<|im_start|>"),
        "eos_token_id": WORDS.index("<end_of_utterance>"),
    }
    return Idefics3Config(
        vision_config=sight,
        text_config=text,
        scale_factor=SHUFFLE,
        image_token_id=WORDS.index("<image>"),
    )


def model(seed: int = 0, spread: float = 4.0) -> Idefics3ForConditionalGeneration:
    """Random weights, ``spread`` times as large as usual, so that answers vary."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Idefics3ForConditionalGeneration(config()).eval().requires_grad_(False)
    for weight in made.parameters():
        weight.mul_(spread if weight.ndim > 1 else 1)
    return made
