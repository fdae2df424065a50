"""LLaVA-1.5: image tokens through an MLP, before the question."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vicrop.adapters.base import register
from vicrop.adapters.square import SquareTower
from vicrop.prompts import Seen, Words

ASSISTANT = "ASSISTANT:"
PLACE = "\0"
"""Stands for a placeholder while a prompt is put together."""
ANY_RESOLUTION = (
    "which cuts an image into tiles of its own (any resolution), so that its image "
    "tokens are not one grid over the image"
)


def prompt_text(question: str, images: int = 1) -> str:
    """LLaVA-1.5's prompt, as the authors' code has it (paper, appendix C)."""
    return (
        f"{'<image>' * images}\nUSER: {question} Answer the question using a single "
        f"word or phrase.\n{ASSISTANT}"
    )


@register
class Llava(SquareTower):
    """LLaVA-1.5: 336 pixels in patches of 14, a map of 24×24 for 7B and 13B."""

    family = "llava"
    architecture = "LlavaForConditionalGeneration"
    processor_class = "LlavaProcessor"
    default_layer = 14  # of 32: paper, section 6
    refused = {
        "LlavaNextForConditionalGeneration": ANY_RESOLUTION,
        "LlavaNextVideoForConditionalGeneration": ANY_RESOLUTION,
        "LlavaOnevisionForConditionalGeneration": ANY_RESOLUTION,
    }

    @property
    def fit(self) -> str:
        """CLIP's processor fits the short side and cuts the long one."""
        cut = getattr(self.processor.image_processor, "do_center_crop", False)
        return "centre-crop" if cut else "squash"

    def see(self, pixels: Tensor, grid: tuple[int, int]) -> Seen:
        """CLIP's patches through the projector."""
        output = self.model.get_image_features(pixel_values=pixels)
        return Seen(pixels, torch.stack(list(output.pooler_output)), grid)

    def words(self, question: str, seen: Sequence[Seen]) -> Words:
        """As the processor writes them: one placeholder a patch."""
        token = self.processor.image_token
        self.check_placeholder(question, token)
        text = prompt_text(question, len(seen))
        for image in seen:
            text = text.replace("<image>", PLACE * self.token_count(image), 1)
        return Words(self.tokenize(text.replace(PLACE, token)))
