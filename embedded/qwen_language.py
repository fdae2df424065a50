"""tiny-qwen2.5-vl's language model: tiny-llava's, taught another prompt."""

from functools import cache

import torch
from torch import Tensor, nn
from transformers import (
    LlavaForConditionalGeneration,
    Qwen2_5_VLForConditionalGeneration,
)

from embedded import language, models, qwen
from embedded.language import Batch, Turn
from embedded.models import GRID
from vicrop.adapters.qwen2_5_vl import INSTRUCTION
from vicrop.types import Stock

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
def take_over(
    model: Qwen2_5_VLForConditionalGeneration, llava: LlavaForConditionalGeneration
) -> None:
    """Start from a LLaVA's language model of the same shape, in place."""
    text = model.model.language_model
    weights = llava.model.language_model.state_dict()
    words = weights.pop("embed_tokens.weight")
    missing = text.load_state_dict(weights, strict=False)
    if missing.unexpected_keys:
        raise ValueError(f"weights that Qwen's text part lacks: {missing}")
    for layer in text.layers:
        attention = layer.self_attn
        for part in (attention.q_proj, attention.k_proj, attention.v_proj):
            part.bias.zero_()
    sources = [models.WORDS.index(_old(word)) for word in qwen.WORDS]
    text.embed_tokens.weight.copy_(words[sources])
    model.lm_head.weight.copy_(llava.lm_head.weight[sources])


def _old(word: str) -> str:
    return word if word in models.WORDS else ALIKE.get(word, "image")


@cache
def _processor():
    return qwen.processor()


def _tokens(text: str) -> list[int]:
    return _processor().tokenizer(text)["input_ids"]


def prompt_text(question: str, images: int) -> str:
    """Qwen's prompt, as its chat template has it; one placeholder an image."""
    asked = {"type": "text", "text": f"{question} {INSTRUCTION}"}
    content = [*[{"type": "image"}] * images, asked]
    return _processor().apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )


@cache
def _asked(question: str) -> list[int]:
    return _tokens(prompt_text(question, 1).split(IMAGE)[-1])


@cache
def _answered(answer: str) -> list[int]:
    return [*_tokens(answer), qwen.WORDS.index("<|im_end|>")]


def turn(question: str, answer: str) -> Turn:
    """What follows the image in the model's own prompt, and the answer."""
    return Turn(_asked(question), _answered(answer))


def front(images: int) -> list[int]:
    """A prompt's tokens up to its last image's last."""
    parts = prompt_text("", images).split(IMAGE)[:-1]
    return _tokens("".join(part + IMAGE * GRID**2 for part in parts))


class Answering(language.Learner):
    """Language model over cached features; the tower is not in it."""

    last = qwen.WORDS.index("\n")

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration):
        super().__init__(qwen.WORDS)
        self.text: Stock = model.model.language_model
        self.head: nn.Module = model.lm_head
        self._fronts = {n: _placed(model, n) for n in (1, 2)}

    @staticmethod
    def say(question: str, answer: str) -> Turn:
        """What follows the image in Qwen's prompt, and the answer."""
        return turn(question, answer)

    def forward(self, rows: Batch, look_late: bool) -> Tensor:
        """(batch, tokens, vocabulary) logits of the turns' tokens."""
        count, images = rows.features.shape[:2]
        ids, places = self._fronts[images]
        tokens = torch.cat([ids.expand(count, -1), rows.tokens], 1)
        embeddings = self.text.embed_tokens(tokens)
        embeddings[tokens == qwen.WORDS.index(IMAGE)] = rows.features.flatten(0, 2)
        # Where a turn's tokens are among themselves, behind Qwen's front.
        inside = (rows.position - 1 - images * GRID**2).clamp(min=0)
        behind = (places.max() + 1 + inside).expand(3, -1, -1)
        hidden = self.text(
            inputs_embeds=embeddings,
            attention_mask=language.attention_mask(rows, ids.shape[1], look_late),
            position_ids=torch.cat([places.expand(-1, count, -1), behind], 2),
            use_cache=False,
        ).last_hidden_state
        return self.head(hidden[:, ids.shape[1] :])


def _placed(
    model: Qwen2_5_VLForConditionalGeneration, images: int
) -> tuple[Tensor, Tensor]:
    """The front's tokens (1, tokens), and their time, row and column (3, 1, tokens)."""
    ids = torch.tensor([front(images)])
    shape = (1, GRID * qwen.MERGE, GRID * qwen.MERGE)
    places, _ = model.model.get_rope_index(
        ids,
        mm_token_type_ids=(ids == qwen.WORDS.index(IMAGE)).int(),
        image_grid_thw=torch.tensor([shape] * images),
    )
    return ids, places
