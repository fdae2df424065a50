"""What a model family says about itself: all that a new family has to write.

A family is a class of facts in a file of its own and a line in ``registry.FAMILIES``.
How prompts are run is the decoder's business, the same for all families.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, ProcessorMixin

from vicrop.prompts import Grid, Words
from vicrop.types import Stock

INSTRUCTION = "Answer the question using a single word or phrase."
"""What follows a question, as in LLaVA-1.5's prompt."""


@dataclass(frozen=True)
class Connector:
    """A connector that has read the question when it makes the image tokens.

    Attributes:
        tokens: that it makes of an image.
        most: tokens of a question that it can read.
        attention: its modules that look at the patches, lowest first.
        layer: which of them the map reads, counted from 0.
        read: (features, (images, tokens) of the questions, their mask) -> (images,
            tokens, hidden) for the language model.
    """

    tokens: int
    most: int
    attention: Sequence[nn.Module]
    layer: int
    read: Callable[[Tensor, Tensor, Tensor], Tensor]


class Facts(ABC):
    """A model and its processor, and what only its family knows of them.

    Keyword arguments of a subclass's constructor are its options.

    Attributes:
        family: key in ``registry.FAMILIES``.
        architecture: class of the model.
        processor_class: class of its processor.
        model: of that architecture.
        connector: where image tokens depend on the question; None where they do not,
            so that each stands for a cell of the map.
    """

    family: ClassVar[str]
    architecture: ClassVar[type[PreTrainedModel]]
    processor_class: ClassVar[type[ProcessorMixin]]
    connector: Connector | None = None

    def __init__(self, model: Stock, processor: Any = None):
        self.model, self._processor = model, processor

    @property
    def processor(self) -> Any:
        """The model's processor.

        Raises:
            RuntimeError: if the model was wrapped without one.
        """
        if self._processor is None:
            raise RuntimeError(
                "this model was wrapped without a processor, so it can only take "
                "ready-made inputs; pass processor= to vicrop.adapters.wrap"
            )
        return self._processor

    # What every family says.

    @property
    @abstractmethod
    def crop_px(self) -> int:
        """Side of the smallest crop, pixels; the vision input's (paper, section 5)."""

    @property
    @abstractmethod
    def patch_px(self) -> int:
        """Side of a map's cell in the vision input, pixels."""

    @property
    @abstractmethod
    def fit(self) -> str:
        """How the processor fits an image (see ``geometry.region``)."""

    @abstractmethod
    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, Grid]:
        """The vision tower's input for RGB images of one size, and the map's grid."""

    @abstractmethod
    def see(self, pixels: Tensor, grids: Sequence[Grid]) -> Sequence[Tensor]:
        """Run the vision tower: (tokens, hidden) features of each image.

        Gradients flow where they are enabled. Inputs of several images follow each
        other along the first axis; ``grids`` are their maps'.
        """

    @abstractmethod
    def words(self, question: str, counts: Sequence[int]) -> Words:
        """The whole prompt's tokens, as the family's processor writes them.

        Args:
            question: the question.
            counts: image tokens of each image that the prompt shows.
        """

    @abstractmethod
    def unpack(self, inputs: Any) -> tuple[Words, Tensor, Grid]:
        """Tokens, vision input and grid of what the processor returns."""

    # What most families say alike.

    def enlarged(
        self, pictures: Sequence[Image.Image], tokens: int
    ) -> tuple[Tensor, Grid]:
        """``pixels`` of pictures that are each worth about so many image tokens.

        Raises:
            ValueError: for a family that takes one size only.
        """
        raise ValueError(
            f"family {self.family!r} takes pictures of one size, so none can be worth "
            f"{tokens} tokens; same-tokens is for models of free resolution, and "
            "full-twice is its kin"
        )

    def positions(self, ids: Tensor, grids: Sequence[Grid]) -> Tensor | None:
        """(axes, 1, tokens) of a prompt's tokens; None if the model just counts."""
        return None

    def picture(self, pixels: Tensor, grid: Grid) -> Tensor:
        """Something in the vision input's layout as (images, channels, height, width).

        ``height`` and ``width`` are multiples of the grid's rows and columns: what a
        vision tower drops at the edges is left out.
        """
        height, width = (
            length // cells * cells
            for length, cells in zip(pixels.shape[-2:], grid, strict=True)
        )
        return pixels[..., :height, :width]


class SquareFacts(Facts):
    """Facts of families whose vision tower takes one square of fixed size."""

    @property
    def crop_px(self) -> int:
        """The tower's input side."""
        return self.model.config.vision_config.image_size

    @property
    def patch_px(self) -> int:
        """Side of the tower's patches, where each is a cell of the map."""
        return self.model.config.vision_config.patch_size

    @property
    def grid(self) -> Grid:
        """(rows, cols) of the map, whatever the image."""
        side = self.crop_px // self.patch_px
        return side, side

    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, Grid]:
        """(images, 3, side, side), normalised."""
        made = self.processor.image_processor(images=[*pictures], return_tensors="pt")
        return made["pixel_values"], self.grid

    def unpack(self, inputs: Any) -> tuple[Words, Tensor, Grid]:
        """Tokens and vision input; the grid is always the same."""
        asked = inputs.get("qformer_input_ids")
        words = Words(inputs["input_ids"].cpu(), None if asked is None else asked.cpu())
        return words, inputs["pixel_values"], self.grid


# What facts are put together with.


def tokenize(tokenizer: Any, text: str, asked: str) -> Tensor:
    """(1, tokens) of a prompt's text, with the tokenizer's own special tokens.

    Those spelled in ``asked``, the part that is not ours, are text: a question ends no
    turn and stands for no image.
    """
    before, asked, after = text.rpartition(asked)
    special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    inside = (f"(?<={re.escape(one[0])})(?={re.escape(one[1:])})" for one in special)
    parts = re.split("|".join(inside), asked) if special else [asked]
    if len(parts) == 1:
        return tokenizer(text, return_tensors="pt", verbose=False)["input_ids"]
    # Cut behind their first letter, where no tokenizer can see that they are special.
    cut = [before + parts[0], *parts[1:-1], parts[-1] + after]
    made = [tokenizer(part, add_special_tokens=False, verbose=False)[0] for part in cut]
    whole = tokenizer.backend_tokenizer.post_process(type(made[0]).merge(made))
    return torch.tensor([whole.ids])


def chat_words(processor: Any, question: str, images: Sequence[str]) -> Words:
    """A user's turn that shows images, then asks, by the processor's own template.

    Args:
        processor: of a model that chats.
        question: the question.
        images: what the placeholder of each image is expanded to.
    """
    asked = {"type": "text", "text": f"{question} {INSTRUCTION}"}
    turn = {"role": "user", "content": [*[{"type": "image"}] * len(images), asked]}
    text = processor.apply_chat_template(
        [turn], add_generation_prompt=True, tokenize=False
    )
    # Images come first: what reads like their token further on is the question's.
    cut = text.split(processor.image_token, len(images))
    text = "".join(p + image for p, image in zip(cut, [*images, ""], strict=True))
    return Words(tokenize(processor.tokenizer, text, asked["text"].lstrip()))
