"""InstructBLIP: a Q-Former reads the question, then the image; its queries answer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import InstructBlipForConditionalGeneration, InstructBlipProcessor

from vicrop.adapters.facts import Connector, SquareFacts, tokenize
from vicrop.prompts import Grid, Words
from vicrop.types import Stock


def prompt_text(question: str) -> str:
    """InstructBLIP's prompt, as the authors' code has it (paper, appendix C)."""
    return f"Question: {question} Short answer:"


class InstructBlip(SquareFacts):
    """InstructBLIP with a Llama (Vicuna) language model.

    224 pixels in patches of 14, a map of 16×16 for the 7B model.

    Two images on stock transformers: each image's query outputs, one after the other,
    for the language model. The Q-Former sees the question with every image.
    """

    family = "instructblip"
    architecture = InstructBlipForConditionalGeneration
    processor_class = InstructBlipProcessor
    fit = "squash"  # BLIP's processor stretches both sides to the square

    def __init__(self, model: Stock, processor: Any = None, qformer_layer: int = 2):
        """``qformer_layer`` counts those with cross-attention (paper, section 6)."""
        super().__init__(model, processor)
        language = type(model.language_model).__name__
        if language != "LlamaForCausalLM":
            raise ValueError(
                f"InstructBLIP with a {language} is not supported: its maps are known "
                "for Llama and Vicuna only; use a vicuna checkpoint such as "
                "instructblip-vicuna-7b"
            )
        crossing = [
            layer.crossattention.attention
            for layer in model.qformer.encoder.layer
            if layer.has_cross_attention
        ]
        if not 0 <= qformer_layer < len(crossing):
            raise ValueError(
                f"qformer_layer {qformer_layer} is not one of the Q-Former's "
                f"cross-attentions, counted from 0 to {len(crossing) - 1}"
            )
        count = model.query_tokens.shape[1]  # 32 for the 7B model
        most = model.config.qformer_config.max_position_embeddings
        self.connector = Connector(count, most, crossing, qformer_layer, self._queries)

    def see(self, pixels: Tensor, grids: Sequence[Grid]) -> Sequence[Tensor]:
        """The ViT's class token and patches; the Q-Former waits for the question."""
        output = self.model.vision_model(pixel_values=pixels)
        return output.last_hidden_state.unbind()

    def words(self, question: str, counts: Sequence[int]) -> Words:
        """As the processor writes them: query placeholders before everything."""
        text = prompt_text(question)
        places = torch.full((1, sum(counts)), self.model.config.image_token_id)
        ids = tokenize(self.processor.tokenizer, text, question)
        asked = tokenize(self.processor.qformer_tokenizer, text, question)
        return Words(torch.cat([places, ids], 1), asked)

    def _queries(self, features: Tensor, asked: Tensor, mask: Tensor) -> Tensor:
        """The queries, once they have read the question and the patches."""
        query = self.model.query_tokens
        count = query.shape[1]
        output = self.model.qformer(
            input_ids=asked,
            attention_mask=functional.pad(mask, (count, 0), value=1),
            query_embeds=query.expand(len(features), -1, -1),
            encoder_hidden_states=features,
        )
        project = self.model.language_projection
        return project(output.last_hidden_state[:, :count].to(project.weight.dtype))
