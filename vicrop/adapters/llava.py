"""LLaVA-1.5: image tokens through an MLP, before the question."""

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import DynamicCache

from vicrop.adapters.base import Adapter, Seen, register

ASSISTANT = "ASSISTANT:"


def prompt_text(question: str, images: int = 1) -> str:
    """LLaVA-1.5's prompt, as the authors' code has it (paper, appendix C)."""
    return (
        f"{'<image>' * images}\nUSER: {question} Answer the question using a single "
        f"word or phrase.\n{ASSISTANT}"
    )


@register
class Llava(Adapter):
    """LLaVA-1.5 behind the ``Adapter`` verbs."""

    family = "llava"
    architecture = "LlavaForConditionalGeneration"
    default_layer = 14  # of 32: paper, section 6

    @property
    def attention(self) -> list[nn.Module]:
        """The Llama layers' attention modules."""
        return [layer.self_attn for layer in self.model.model.language_model.layers]

    @property
    def crop_px(self) -> int:
        """The CLIP tower's input side: 336 for the 7B model."""
        return self.model.config.vision_config.image_size

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the CLIP tower's patches: 24×24 for the 7B model."""
        vision = self.model.config.vision_config
        side = vision.image_size // vision.patch_size
        return side, side

    @property
    def fit(self) -> str:
        """CLIP's processor fits the short side and cuts the long one."""
        cut = getattr(self.processor.image_processor, "do_center_crop", False)
        return "centre-crop" if cut else "squash"

    def pixels(self, image: Image.Image) -> Tensor:
        """(1, 3, side, side), normalised."""
        made = self.processor.image_processor(images=[image], return_tensors="pt")
        return made["pixel_values"].to(self.device, self.dtype)

    def see(self, pixels: Tensor) -> Seen:
        """CLIP's patches through the projector."""
        with torch.no_grad():
            output = self.model.get_image_features(pixel_values=pixels)
        return Seen(pixels, torch.cat(list(output.pooler_output))[None], self.grid)

    def token_ids(self, question: str, seen: list[Seen]) -> Tensor:
        """As the processor writes them: one placeholder a patch."""
        token = self.processor.image_token
        if token in question:
            raise ValueError(
                f"the question {question!r} holds {token}, which stands for an image; "
                "leave it out"
            )
        text = prompt_text(question, len(seen))
        text = text.replace("<image>", token * (self.grid[0] * self.grid[1]))
        return self.tokenizer(text, return_tensors="pt")["input_ids"].to(self.device)

    def image_span(self, ids: Tensor, seen: Seen) -> slice:
        """The first run of as many image tokens as there are patches."""
        rows, cols = seen.grid
        places = (ids[0] == self.model.config.image_token_id).nonzero().flatten()
        if len(places) < rows * cols:
            raise ValueError(
                f"the prompt holds {len(places)} image tokens, expected {rows}×{cols} "
                "an image; build it with this model's processor"
            )
        start = int(places[0])
        return slice(start, start + rows * cols)

    def embed(self, ids: Tensor, seen: list[Seen]) -> Tensor:
        """Word embeddings, image tokens replaced by the images' features in order."""
        embeddings = self.model.get_input_embeddings()(ids)
        if not seen:
            return embeddings
        features = torch.cat([image.features for image in seen], dim=1)
        places = (ids == self.model.config.image_token_id)[..., None]
        return embeddings.masked_scatter(places, features.to(embeddings.dtype))

    def hidden(self, embeddings: Tensor, cache: DynamicCache) -> Tensor:
        """Through the Llama layers."""
        output = self.model.model.language_model(
            inputs_embeds=embeddings, cache=cache, use_cache=True
        )
        return output.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Through the language model's head."""
        return self.model.lm_head(hidden)
