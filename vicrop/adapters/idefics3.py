"""Idefics3 and SmolVLM: patches shuffled into fewer image tokens, after a chat turn."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from vicrop.adapters.facts import SquareFacts, chat_words
from vicrop.prompts import Grid, Words

WHOLE = {"rows": [[0]], "cols": [[0]]}  # what the processor says of an unsplit image


class Idefics3(SquareFacts):
    """Idefics3, its own tiling left off: 512 pixels, 8×8 cells for SmolVLM-500M."""

    family = "idefics3"
    architecture = Idefics3ForConditionalGeneration
    processor_class = Idefics3Processor
    fit = "squash"

    @property
    def patch_px(self) -> int:
        """Of a map's cell, shuffled patches: 64 for SmolVLM-500M."""
        config = self.model.config
        return config.vision_config.patch_size * config.scale_factor

    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, Grid]:
        """(images, 1, 3, side, side), normalised: a prompt each, of one image."""
        made = self.processor.image_processor(
            [[one] for one in pictures], do_image_splitting=False, return_tensors="pt"
        )
        return made["pixel_values"], self.grid

    def see(self, pixels: Tensor, grids: Sequence[Grid]) -> Sequence[Tensor]:
        """SigLIP's patches through the pixel shuffle and the projection."""
        return self.model.model.get_image_features(pixels).pooler_output

    def words(self, question: str, counts: Sequence[int]) -> Words:
        """The processor's chat template, its image placeholders expanded."""
        expanded = self.processor.replace_image_token(WHOLE, 0)
        return chat_words(self.processor, question, [expanded] * len(counts))

    def picture(self, pixels: Tensor, grid: Grid) -> Tensor:
        """Of the one tile that an unsplit image is."""
        return super().picture(pixels[:, 0], grid)
