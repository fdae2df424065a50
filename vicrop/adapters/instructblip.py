"""InstructBLIP: a Q-Former reads the question, then the image; its queries answer."""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from vicrop import capture
from vicrop.adapters.base import Adapter, register
from vicrop.adapters.square import SquareTower
from vicrop.prompts import Prefix, Prompt, Seen, Start, Words, not_none
from vicrop.tail import last_token_only
from vicrop.types import Stock


def prompt_text(question: str) -> str:
    """InstructBLIP's prompt, as the authors' code has it (paper, appendix C)."""
    return f"Question: {question} Short answer:"


@register
class InstructBlip(SquareTower):
    """InstructBLIP with a Llama (Vicuna) language model.

    224 pixels in patches of 14, a map of 16×16 for the 7B model.

    Two images on stock transformers: each image's query outputs, one after the other,
    for the language model. The Q-Former sees the question with every image.
    """

    family = "instructblip"
    architecture = "InstructBlipForConditionalGeneration"
    processor_class = "InstructBlipProcessor"
    default_layer = 15  # of 32: paper, section 6
    options = ("qformer_layer",)
    trace_is_whole = True
    refused = {
        "Blip2ForConditionalGeneration": "whose Q-Former does not read the question"
    }

    def __init__(
        self,
        model: nn.Module,
        processor: Any = None,
        layer: int | None = None,
        qformer_layer: int = 2,
    ):
        """``qformer_layer`` counts those with cross-attention (paper, section 6)."""
        self.check_class(type(model).__name__)
        language = type(model.language_model).__name__
        if language != "LlamaForCausalLM":
            raise ValueError(
                f"InstructBLIP with a {language} is not supported: its maps are known "
                "for Llama and Vicuna only; use a vicuna checkpoint such as "
                "instructblip-vicuna-7b"
            )
        super().__init__(model, processor, layer)
        crossing = [
            layer.crossattention.attention
            for layer in self.model.qformer.encoder.layer
            if layer.has_cross_attention
        ]
        if not 0 <= qformer_layer < len(crossing):
            raise ValueError(
                f"qformer_layer {qformer_layer} is not one of the Q-Former's "
                f"cross-attentions, counted from 0 to {len(crossing) - 1}"
            )
        self.cross_attention = crossing[qformer_layer]
        self.connector_layer, self._crossings = qformer_layer, len(crossing)

    @property
    def text_model(self) -> Stock:
        """The Llama without its head."""
        return self.model.language_model.model

    @property
    def head(self) -> nn.Module:
        """The Llama's."""
        return self.model.language_model.lm_head

    @property
    def fit(self) -> str:
        """BLIP's processor stretches both sides to the square."""
        return "squash"

    def by_connector(self) -> list[Adapter]:
        """The same weights, read at each of the Q-Former's cross-attentions."""
        given = self.model, self._processor, self.layer
        return [InstructBlip(*given, number) for number in range(self._crossings)]

    def see(self, pixels: Tensor, grid: tuple[int, int]) -> Seen:
        """The ViT's class token and patches; the Q-Former waits for the question."""
        output = self.model.vision_model(pixel_values=pixels)
        return Seen(pixels, output.last_hidden_state, grid)

    def words(self, question: str, seen: Sequence[Seen]) -> Words:
        """As the processor writes them: query placeholders before everything."""
        self.check_placeholder(question, self.tokenizer.decode([self.image_token_id]))
        text = prompt_text(question)
        queries = len(seen) * self.token_count(seen[0])
        places = torch.full((1, queries), self.image_token_id)
        asked = self.processor.qformer_tokenizer(text, return_tensors="pt")
        return Words(torch.cat([places, self.tokenize(text)], 1), asked["input_ids"])

    def token_count(self, seen: Seen) -> int:
        """The Q-Former's queries: 32 for the 7B model."""
        return self.model.query_tokens.shape[1]

    def image_tokens(self, seen: Seen, words: Words) -> Tensor:
        """The queries, once they have read the question and the patches."""
        asked = not_none(words.asked).expand(len(seen.features), -1)
        return self._queries(seen.features, asked, torch.ones_like(asked))

    def connect(
        self, seen: Sequence[Seen], words: Sequence[Words]
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Each image's queries read its own question; the shorter ones are padded."""
        counts = [len(image.features) for image in seen]
        rows = [
            not_none(one.asked)[0]
            for one, n in zip(words, counts, strict=True)
            for _ in range(n)
        ]
        asked = pad_sequence(rows, batch_first=True)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        with capture.trace_all(self.cross_attention) as cross:
            features = torch.cat([image.features for image in seen])
            tokens = self._queries(features, asked, mask)
        steps = [step.clone() for step in cross[0].split(counts)]
        return list(zip(tokens.split(counts), steps, strict=True))

    def _queries(self, features: Tensor, asked: Tensor, mask: Tensor) -> Tensor:
        """(images, queries, hidden) from (images, tokens) of questions and a mask."""
        query = self.model.query_tokens
        count = query.shape[1]
        output = self.model.qformer(
            input_ids=asked.to(self.device),
            attention_mask=functional.pad(mask, (count, 0), value=1).to(self.device),
            query_embeds=query.expand(len(features), -1, -1),
            encoder_hidden_states=features,
        )
        project = self.model.language_projection
        return project(output.last_hidden_state[:, :count].to(project.weight.dtype))

    def prefix_key(self, words: Words) -> Hashable:
        """The question: it changes what the queries bring."""
        return tuple(not_none(words.asked)[0].tolist())

    def fill(self, prefix: Prefix, words: Words, seen: Seen) -> None:
        """The queries through the Llama; A_ti is the Q-Former's cross-attention."""
        with capture.trace_all(self.cross_attention) as cross:
            super().fill(prefix, words, seen)
        prefix.connector = cross[0]

    def trace(self, prompt: Prompt) -> tuple[Tensor, list[Tensor]]:
        """From the Q-Former's cross-attention on with gradients; the ViT without."""
        with torch.enable_grad():
            prefix = self.prefix(prompt.words, prompt.seen[0])
            traced = self.follow(prompt.words, prompt.seen, prefix)
            module = self.attention[self.layer]
            with capture.trace_row(module) as rows, last_token_only(self.end):
                hidden, cache = self.run(traced)
            scores = self.logits(hidden[:, -1])
        # The pass is the plain answer's too: nothing of it is run again.
        prompt.prefix.take(prefix)
        self.begun(prompt, Start(scores, cache, None, rows[0].detach()))
        return scores, [rows[0], not_none(prefix.connector)]

    def unpack(self, inputs: Any) -> tuple[Words, Tensor, tuple[int, int]]:
        """The processor gives the question's tokens for the Q-Former too."""
        words, pixels, grid = super().unpack(inputs)
        words.asked = inputs["qformer_input_ids"].cpu()
        return words, pixels, grid
