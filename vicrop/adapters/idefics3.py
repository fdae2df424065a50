"""Idefics3 and SmolVLM: patches shuffled into fewer image tokens, after a chat turn."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from vicrop.adapters.base import register
from vicrop.adapters.square import SquareTower
from vicrop.prompts import Seen, Words
from vicrop.types import Stock

INSTRUCTION = "Answer the question using a single word or phrase."
WHOLE = {"rows": [[0]], "cols": [[0]]}  # what the processor says of an unsplit image


@register
class Idefics3(SquareTower):
    """Idefics3, its own tiling left off: 512 pixels, 8×8 cells for SmolVLM-500M."""

    family = "idefics3"
    architecture = "Idefics3ForConditionalGeneration"
    processor_class = "Idefics3Processor"
    default_layer = 16  # of 32: ours, not tuned: about half of the depth
    fit = "squash"

    @property
    def text_model(self) -> Stock:
        """A Llama without its head."""
        return self.model.model.text_model

    @property
    def patch_px(self) -> int:
        """Of a map's cell, shuffled patches: 64 for SmolVLM-500M."""
        config = self.model.config
        return config.vision_config.patch_size * config.scale_factor

    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, tuple[int, int]]:
        """(images, 1, 3, side, side), normalised: a prompt each, of one image."""
        made = self.processor.image_processor(
            [[one] for one in pictures], do_image_splitting=False, return_tensors="pt"
        )
        return made["pixel_values"].to(self.device, self.dtype), self.grid

    def see(self, pixels: Tensor, grid: tuple[int, int]) -> Seen:
        """SigLIP's patches through the pixel shuffle and the projection."""
        output = self.model.model.get_image_features(pixels)
        return Seen(pixels, torch.stack(list(output.pooler_output)), grid)

    def words(self, question: str, seen: Sequence[Seen]) -> Words:
        """The processor's chat template, its image placeholders expanded."""
        token = self.processor.image_token
        self.check_placeholder(question, token)
        asked = {"type": "text", "text": f"{question} {INSTRUCTION}"}
        turn = {"role": "user", "content": [*[{"type": "image"}] * len(seen), asked]}
        text = self.processor.apply_chat_template([turn], add_generation_prompt=True)
        expanded = self.processor.replace_image_token(WHOLE, 0)
        return Words(self.tokenize(text.replace(token, expanded)))

    def picture(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Of the one tile that an unsplit image is."""
        return super().picture(pixels[:, 0], grid)
