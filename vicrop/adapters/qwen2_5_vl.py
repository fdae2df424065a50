"""Qwen2.5-VL: an image at its own ratio, its tokens placed by row and column."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor

from vicrop.adapters.facts import Facts, chat_words
from vicrop.prompts import Grid, Words
from vicrop.types import Stock


class Qwen2_5_VLProcessor(transformers.Qwen2_5_VLProcessor):
    """The stock processor without its part for videos, which needs torchvision.

    Its name is the stock one's, which is written into what it saves.
    """

    @classmethod
    def get_attributes(cls) -> list[str]:
        """Of its parts, those for images and text."""
        return ["image_processor", "tokenizer"]


class Qwen25VL(Facts):
    """Qwen2.5-VL: a map of one cell a merged patch, in the image's own ratio."""

    family = "qwen2.5-vl"
    architecture = transformers.Qwen2_5_VLForConditionalGeneration
    processor_class = Qwen2_5_VLProcessor
    fit = "native"  # an image's ratio is kept, up to whole patches
    crop_px = 224  # as in the authors' code; the model itself takes any size

    def __init__(
        self,
        model: Stock,
        processor: Any = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        crop_px: int = 224,
    ):
        """Pixels bound an image's area as the model sees it; None: the processor's."""
        super().__init__(model, processor)
        self.crop_px = crop_px
        bounds = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
        self._bounds = {key: value for key, value in bounds.items() if value}
        self._vision = model.config.vision_config
        self._merge = self._vision.spatial_merge_size

    @property
    def patch_px(self) -> int:
        """Of a map's cell, merged patches: 28 for the 3B and 7B models."""
        return self._vision.patch_size * self._merge

    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, Grid]:
        """(images · patches, channels · frames · patch²), as the processor orders them.

        Raises:
            ValueError: for images that do not come out in the same shape.
        """
        return self._processed(pictures, self._bounds)

    def enlarged(
        self, pictures: Sequence[Image.Image], tokens: int
    ) -> tuple[Tensor, Grid]:
        """At most so many tokens, as many as rows of the pictures' ratio give."""
        width, height = pictures[0].size
        rows = min(max(1, round((tokens * height / width) ** 0.5)), tokens)
        cols, side = tokens // rows, self.patch_px
        larger = [one.resize((cols * side, rows * side)) for one in pictures]
        return self._processed(larger, {"longest_edge": tokens * side**2})

    def _processed(
        self, pictures: Sequence[Image.Image], bounds: Mapping[str, int]
    ) -> tuple[Tensor, Grid]:
        process = self.processor.image_processor
        size = {**dict(process.size), **bounds}
        made = process(images=[*pictures], size=size, return_tensors="pt")
        shapes = {tuple(shape) for shape in made["image_grid_thw"].tolist()}
        if len(shapes) > 1:
            raise ValueError(f"images of several shapes cannot be one batch: {shapes}")
        return made["pixel_values"], self._grid(made["image_grid_thw"])

    def see(self, pixels: Tensor, grids: Sequence[Grid]) -> Sequence[Tensor]:
        """Merged patches: each image's look at their own image alone."""
        shapes = self._shapes(grids).to(pixels.device)
        made = self.model.model.get_image_features(pixels, image_grid_thw=shapes)
        return made.pooler_output

    def words(self, question: str, counts: Sequence[int]) -> Words:
        """The processor's chat template, its image placeholders expanded."""
        images = [self.processor.image_token * count for count in counts]
        return chat_words(self.processor, question, images)

    def positions(self, ids: Tensor, grids: Sequence[Grid]) -> Tensor:
        """(3, 1, tokens): time, row and column (multimodal rotary positions)."""
        kinds = (ids == self.model.config.image_token_id).int()
        shapes = self._shapes(grids)
        places, _ = self.model.model.get_rope_index(
            ids, mm_token_type_ids=kinds, image_grid_thw=shapes
        )
        return places

    def picture(self, pixels: Tensor, grid: Grid) -> Tensor:
        """Patches put back in their places; the frames of a still as channels."""
        (rows, cols), merge, side = grid, self._merge, self._vision.patch_size
        planes = self._vision.in_channels * self._vision.temporal_patch_size
        parts = pixels.reshape(-1, rows, cols, merge, merge, planes, side, side)
        parts = parts.permute(0, 5, 1, 3, 6, 2, 4, 7)
        return parts.reshape(-1, planes, rows * merge * side, cols * merge * side)

    def unpack(self, inputs: Any) -> tuple[Words, Tensor, Grid]:
        """The processor gives the grid of patches too."""
        words = Words(inputs["input_ids"].cpu())
        return words, inputs["pixel_values"], self._grid(inputs["image_grid_thw"])

    def _grid(self, shapes: Tensor) -> Grid:
        """Rows and columns of merged patches; ``shapes`` is image_grid_thw."""
        _, rows, cols = shapes[0].tolist()
        return rows // self._merge, cols // self._merge

    def _shapes(self, grids: Sequence[Grid]) -> Tensor:
        """image_grid_thw of stills."""
        rows = [(1, rows * self._merge, cols * self._merge) for rows, cols in grids]
        return torch.tensor(rows)
