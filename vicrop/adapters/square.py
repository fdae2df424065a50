"""What families share whose vision tower takes one square of fixed size."""

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from vicrop.adapters.base import Adapter
from vicrop.prompts import Words


class SquareTower(Adapter):
    """An adapter whose map has as many cells as the square has patches."""

    @property
    def crop_px(self) -> int:
        """The tower's input side."""
        return self.model.config.vision_config.image_size

    @property
    def patch_px(self) -> int:
        """Side of the tower's patches, where each is a cell of the map."""
        return self.model.config.vision_config.patch_size

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of the map, whatever the image."""
        side = self.crop_px // self.patch_px
        return side, side

    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, tuple[int, int]]:
        """(images, 3, side, side), normalised."""
        made = self.processor.image_processor(images=[*pictures], return_tensors="pt")
        return made["pixel_values"].to(self.device, self.dtype), self.grid

    def unpack(self, inputs: Any) -> tuple[Words, Tensor, tuple[int, int]]:
        """Tokens and vision input; the grid is always the same."""
        pixels = inputs["pixel_values"].to(self.device, self.dtype)
        return Words(inputs["input_ids"].cpu()), pixels, self.grid
