"""LLaVA-1.5: image tokens through an MLP, before the question."""

from collections.abc import Sequence

from torch import Tensor
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from vicrop.adapters.facts import SquareFacts, tokenize
from vicrop.prompts import Grid, Words

ASSISTANT = "ASSISTANT:"


def prompt_text(question: str, images: int = 1) -> str:
    """LLaVA-1.5's prompt, as the authors' code has it (paper, appendix C)."""
    return (
        f"{'<image>' * images}\nUSER: {question} Answer the question using a single "
        f"word or phrase.\n{ASSISTANT}"
    )


class Llava(SquareFacts):
    """LLaVA-1.5: 336 pixels in patches of 14, a map of 24×24 for 7B and 13B."""

    family = "llava"
    architecture = LlavaForConditionalGeneration
    processor_class = LlavaProcessor

    @property
    def fit(self) -> str:
        """CLIP's processor fits the short side and cuts the long one."""
        cut = getattr(self.processor.image_processor, "do_center_crop", False)
        return "centre-crop" if cut else "squash"

    def see(self, pixels: Tensor, grids: Sequence[Grid]) -> Sequence[Tensor]:
        """CLIP's patches through the projector."""
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    def words(self, question: str, counts: Sequence[int]) -> Words:
        """As the processor writes them: one placeholder a patch."""
        text = self.processor.image_token * sum(counts) + prompt_text(question, 0)
        return Words(tokenize(self.processor.tokenizer, text, question))
