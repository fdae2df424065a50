"""tiny-qwen2.5-vl: how it is made, and how it goes on from tiny-llava.

Its tower is tiny-llava's, rewritten and taught the difference; its language model is
tiny-llava's, taught another prompt.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn
from transformers import (
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
)

from embedded import llava, training_data, words
from embedded.fit import Schedule
from embedded.llava import Batch, Turn
from embedded.training_data import See
from embedded.words import GRID, IMAGE_PX, PATCH_PX
from vicrop.adapters.facts import INSTRUCTION
from vicrop.adapters.qwen2_5_vl import Qwen2_5_VLProcessor
from vicrop.types import Stock

STAGES = {
    "distil": Schedule(steps=500, batch=16, rate=1e-3, warmup=30, hold=0.35),
    "language": Schedule(steps=700, batch=24, rate=8e-4, warmup=30, hold=0.3),
}
# tiny-llava's last stages, half as long.
PHASES = {
    "language": (
        replace(llava.PHASES["refine"][0], until=350),
        replace(llava.PHASES["describe"][0], until=700, pairs=0.4),
    ),
}


# How it is made.

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
WORDS = (*words.WORDS, *SPECIAL, *ROLE_WORDS)
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
    tokens = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
        "im_start_token": "<|im_start|>",
    }
    return words.lined(WORDS, eos_token="<|im_end|>", extra_special_tokens=tokens)


def processor(**sizes: Any) -> Qwen2_5_VLProcessor:
    """Qwen's own preprocessing: native ratio, area bounded; at 96² or ``sizes``."""
    area: dict[str, Any] = {"min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS}
    cells = {"patch_size": PATCH_PX, "merge_size": MERGE, "temporal_patch_size": FRAMES}
    sizes = {**area, **cells, **sizes}
    images = Qwen2VLImageProcessorPil(
        **sizes, image_mean=[0.5] * 3, image_std=[0.25] * 3
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


# Its tower. A CLIP block can be written as a Qwen block but for three things, which the
# tower then learns by distillation: CLIP's position table (Qwen turns queries and keys
# instead), its norm right behind the patches, and its class token.

SHAPES = ((9, 16), (16, 9), (8, 18), (18, 8))
"""Rows and columns, 144 tokens each, of pictures that are not square."""
FROM = 1200  # step of ``llava.drawing_at`` to begin with: plates of all sizes
SWISH = 1.702  # GELU(x) is nearly x · sigmoid(1.702 x)


def seen_by(teacher: LlavaForConditionalGeneration) -> See:
    """What a LLaVA's language model sees of a picture."""

    def see(pixels: Tensor) -> Tensor:
        seen = llava.see(teacher.model.vision_tower, pixels)
        return teacher.model.multi_modal_projector(seen)

    return see


# Rewriting. A layer norm is an RMS norm of what has no mean: whatever writes to the
# stream loses its mean, and the norms' offsets go into the layers that read them.


def take_over_tower(visual: Stock, teacher: LlavaForConditionalGeneration) -> None:
    """Write a CLIP tower and its projector as a Qwen tower, in place."""
    tower = teacher.model.vision_tower
    projector = teacher.model.multi_modal_projector
    with torch.no_grad():
        middle = statistics(tower)
        _take_patches(visual.patch_embed.proj, tower, middle)
        for block, layer in zip(visual.blocks, tower.encoder.layers, strict=True):
            _take_attention(block, layer)
            _take_mlp(block, layer)
        visual.blocks[0].attn.proj.bias += middle.start
        _take_projector(visual.merger, projector, middle)


@dataclass(frozen=True)
class Middle:
    """What Qwen's tower has no place for, as its mean over pictures.

    Attributes:
        spread: standard deviation of a patch's embedding, which CLIP divides by.
        start: (width,) what the position table and CLIP's first norm add.
        mean: of the tower's output, which Qwen's last norm takes away.
        size: root mean square of the output, which Qwen's last norm divides by.
    """

    spread: Tensor
    start: Tensor
    mean: Tensor
    size: Tensor


def statistics(tower: Stock, count: int = 64) -> Middle:
    """Means of a CLIP tower over drawn pictures."""
    rng = np.random.default_rng(0)
    pixels, _ = training_data.labelled_pictures(count, llava.drawing_at(FROM), rng)
    places = tower.embeddings.position_embedding.weight[1:]
    patches = tower.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    embedded = patches + places
    spread = embedded.std(-1).mean()
    scale = tower.pre_layrnorm.weight / spread
    ours = scale * (patches - patches.mean(-1, keepdim=True))
    start = (tower.pre_layrnorm(embedded) - ours).mean((0, 1))
    seen = llava.see(tower, pixels)
    mean = seen.mean(-1, keepdim=True)
    size = (seen - mean).pow(2).mean().sqrt()
    return Middle(spread, start - start.mean(), mean.mean(), size)


def _centred(weight: Tensor) -> Tensor:
    """Without its mean over the outputs."""
    return weight - weight.mean(0, keepdim=True)


def _take_patches(proj: Stock, tower: Stock, middle: Middle) -> None:
    weight = _centred(tower.embeddings.patch_embedding.weight)
    scale = tower.pre_layrnorm.weight / middle.spread
    frame = _centred(scale[:, None, None, None] * weight) / FRAMES
    proj.weight.copy_(frame[:, :, None].expand_as(proj.weight))


def _take_attention(block: Stock, layer: Stock) -> None:
    source = layer.self_attn
    parts = (source.q_proj, source.k_proj, source.v_proj)
    weight = torch.cat([part.weight for part in parts])
    bias = torch.cat([part.bias for part in parts])
    block.norm1.weight.copy_(layer.layer_norm1.weight)
    block.attn.qkv.weight.copy_(weight)
    block.attn.qkv.bias.copy_(bias + weight @ layer.layer_norm1.bias)
    block.attn.proj.weight.copy_(_centred(source.out_proj.weight))
    block.attn.proj.bias.copy_(_centred(source.out_proj.bias))


def _take_mlp(block: Stock, layer: Stock) -> None:
    """GELU as a gate of itself, times a constant."""
    first, last = layer.mlp.fc1, layer.mlp.fc2
    bias = first.bias + first.weight @ layer.layer_norm2.bias
    block.norm2.weight.copy_(layer.layer_norm2.weight)
    block.mlp.gate_proj.weight.copy_(SWISH * first.weight)
    block.mlp.gate_proj.bias.copy_(SWISH * bias)
    # Not zero: the gate's partner is to learn too.
    nn.init.normal_(block.mlp.up_proj.weight, std=0.01)
    block.mlp.up_proj.bias.fill_(1 / SWISH)
    block.mlp.down_proj.weight.copy_(_centred(last.weight))
    block.mlp.down_proj.bias.copy_(_centred(last.bias))


def _take_projector(merger: Stock, projector: Stock, middle: Middle) -> None:
    first, last = projector.linear_1, projector.linear_2
    merger.ln_q.weight.fill_(middle.size)
    merger.mlp[0].weight.copy_(first.weight)
    merger.mlp[0].bias.copy_(first.bias + first.weight.sum(1) * middle.mean)
    merger.mlp[2].weight.copy_(last.weight)
    merger.mlp[2].bias.copy_(last.bias)


class Tower(nn.Module):
    """Qwen's vision tower over pictures of one shape, not over the processor's rows."""

    def __init__(self, visual: Stock):
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, patches, width)."""
        batch, _, height, width = pixels.shape
        shape = (1, height // PATCH_PX, width // PATCH_PX)
        shapes = torch.tensor([shape] * batch)
        seen = self.visual(patches(pixels), grid_thw=shapes).pooler_output
        return seen.unflatten(0, (batch, -1))


def patches(pixels: Tensor) -> Tensor:
    """(batch, 3, height, width) -> (batch · patches, numbers), as the processor."""
    cut = F.unfold(pixels, PATCH_PX, stride=PATCH_PX).transpose(1, 2)
    cut = cut.unflatten(2, (3, 1, PATCH_PX**2)).expand(-1, -1, -1, FRAMES, -1)
    return cut.reshape(-1, 3 * FRAMES * PATCH_PX**2)


class Distilled(nn.Module):
    """A tower that learns to see as a trained one does, patch by patch.

    A tower of another family cannot take the trained tower's weights; its features it
    can learn, far faster than it would learn from labels. The teacher sees squares
    only. A wide or tall picture is put together from parts of two squares, and so is
    what the teacher sees in it.

    Args:
        student: normalised pixels (batch, 3, 96, 96) -> (batch, patches, width).
        teacher: the same, frozen; a function, so that it is no part of the checkpoint.
    """

    def __init__(self, student: nn.Module, teacher: See):
        super().__init__()
        self.student = student
        self.teacher = teacher

    def show(self, step: int, rng: Generator) -> tuple[Tensor, Tensor]:
        """Pixels of a step and what the teacher sees in them."""
        count, how = STAGES["distil"].batch, llava.drawing_at(FROM + step)
        pixels, _ = training_data.labelled_pictures(count, how, rng)
        with torch.no_grad():
            target = self.teacher(pixels)
        if step % 4 != 3:
            return pixels, target
        rows, cols = SHAPES[step // 4 % len(SHAPES)]
        cells = target.unflatten(1, (GRID, GRID)).movedim(-1, 1)
        return (
            joined(pixels, rows * PATCH_PX, cols * PATCH_PX),
            joined(cells, rows, cols).flatten(2).transpose(1, 2),
        )

    def loss(self, step: int, rng: Generator):
        """Share of the teacher's variance that the student misses, of one batch.

        The metric is the share explained, as (sum, count).
        """
        pixels, target = self.show(step, rng)
        spread = (target - target.mean((0, 1))).pow(2).mean()
        missed = F.mse_loss(self.student(pixels), target) / spread
        return missed, {"explained": (1 - missed.item(), 1)}


def joined(squares: Tensor, rows: int, cols: int) -> Tensor:
    """(batch, channels, n, n) -> (batch / 2, channels, rows, cols), two squares each.

    The first half of the batch gives the left (or upper) part, its last columns (or
    rows); the second half gives the rest, its first.
    """
    if rows > cols:
        return joined(squares.mT, cols, rows).mT
    one, other = squares[:, :, :rows].chunk(2)
    half = cols // 2
    return torch.cat([one[..., -half:], other[..., :half]], -1)


# Its language model.

IMAGE = "<|image_pad|>"
ALIKE = {
    "<|im_start|>": "<s>",
    "<|im_end|>": "</s>",
    "user": "USER:",
    "assistant": "ASSISTANT:",
    "\n": "ASSISTANT:",  # the prompt's last token, which looks
}
"""Words of tiny-llava that new words start as; the others start as "image"."""


@torch.no_grad()
def take_over_language(
    model: Qwen2_5_VLForConditionalGeneration, start: LlavaForConditionalGeneration
) -> None:
    """Start from a LLaVA's language model of the same shape, in place."""
    text = model.model.language_model
    weights = start.model.language_model.state_dict()
    table = weights.pop("embed_tokens.weight")
    missing = text.load_state_dict(weights, strict=False)
    if missing.unexpected_keys:
        raise ValueError(f"weights that Qwen's text part lacks: {missing}")
    for layer in text.layers:
        attention = layer.self_attn
        for part in (attention.q_proj, attention.k_proj, attention.v_proj):
            part.bias.zero_()
    sources = words.numbers(map(_old, WORDS), words.WORDS)
    text.embed_tokens.weight.copy_(table[sources])
    model.lm_head.weight.copy_(start.lm_head.weight[sources])


def _old(word: str) -> str:
    return word if word in words.WORDS else ALIKE.get(word, "image")


_processor = cache(processor)


@cache
def _tokens(text: str) -> list[int]:
    return _processor().tokenizer(text)["input_ids"]


def prompt_text(question: str, images: int) -> str:
    """Qwen's prompt, as its chat template has it; one placeholder an image."""
    asked = {"type": "text", "text": f"{question} {INSTRUCTION}"}
    said: Any = [{"role": "user", "content": [*[{"type": "image"}] * images, asked]}]
    return _processor().apply_chat_template(said, add_generation_prompt=True)


@cache
def _asked(question: str) -> list[int]:
    return _tokens(prompt_text(question, 1).split(IMAGE)[-1])


def turn(question: str, answer: str) -> Turn:
    """What follows the image in the model's own prompt, and the answer."""
    return Turn(_asked(question), [*_tokens(answer), WORDS.index("<|im_end|>")])


def front(images: int) -> list[int]:
    """A prompt's tokens up to its last image's last."""
    parts = prompt_text("", images).split(IMAGE)[:-1]
    return _tokens("".join(part + IMAGE * GRID**2 for part in parts))


class Answering(llava.Learner):
    """Language model over cached features; the tower is not in it."""

    stages, phases = STAGES, PHASES
    last = WORDS.index("\n")

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration):
        super().__init__(WORDS, turn)
        self.text: Stock = model.model.language_model
        self.head: nn.Module = model.lm_head
        self._fronts = {n: _placed(model, n) for n in (1, 2)}

    def forward(self, rows: Batch, look_late: bool) -> Tensor:
        """(batch, tokens, vocabulary) logits of the turns' tokens."""
        count, images = rows.features.shape[:2]
        ids, places = self._fronts[images]
        tokens = torch.cat([ids.expand(count, -1), rows.tokens], 1)
        embeddings = self.text.embed_tokens(tokens)
        embeddings[tokens == WORDS.index(IMAGE)] = rows.features.flatten(0, 2)
        # Where a turn's tokens are among themselves, behind Qwen's front.
        inside = (rows.position - 1 - images * GRID**2).clamp(min=0)
        behind = (places.max() + 1 + inside).expand(3, -1, -1)
        hidden = self.text(
            inputs_embeds=embeddings,
            attention_mask=llava.attention_mask(rows, ids.shape[1], look_late),
            position_ids=torch.cat([places.expand(-1, count, -1), behind], 2),
            use_cache=False,
        ).last_hidden_state
        return self.head(hidden[:, ids.shape[1] :])


def _placed(
    model: Qwen2_5_VLForConditionalGeneration, images: int
) -> tuple[Tensor, Tensor]:
    """The front's tokens (1, tokens), and their time, row and column (3, 1, tokens)."""
    ids = torch.tensor([front(images)])
    shape = (1, GRID * MERGE, GRID * MERGE)
    places, _ = model.model.get_rope_index(
        ids,
        mm_token_type_ids=(ids == WORDS.index(IMAGE)).int(),
        image_grid_thw=torch.tensor([shape] * images),
    )
    return ids, places
