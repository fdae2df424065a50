"""Qwen2.5-VL: an image at its own ratio, its tokens placed by row and column."""

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor, nn

from vicrop.adapters.base import Adapter, register
from vicrop.prompts import Seen, Words

INSTRUCTION = "Answer the question using a single word or phrase."


class Qwen2_5_VLProcessor(transformers.Qwen2_5_VLProcessor):
    """The stock processor without its part for videos, which needs torchvision.

    Its name is the stock one's, which is written into what it saves.
    """

    @classmethod
    def get_attributes(cls) -> list[str]:
        """Of its parts, those for images and text."""
        return ["image_processor", "tokenizer"]


@register
class Qwen25VL(Adapter):
    """Qwen2.5-VL behind the ``Adapter`` verbs."""

    family = "qwen2.5-vl"
    architecture = "Qwen2_5_VLForConditionalGeneration"
    processor_class = "Qwen2_5_VLProcessor"
    default_layer = 22  # of 36: the authors' code
    options = ("min_pixels", "max_pixels", "crop_px")
    refused = {
        "Qwen2VLForConditionalGeneration": "whose layer for the map is not known"
    }

    def __init__(
        self,
        model: nn.Module,
        processor: Any = None,
        layer: int | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        crop_px: int = 224,
    ):
        """Pixels bound an image's area as the model sees it; None: the processor's."""
        super().__init__(model, processor, layer)
        self._crop_px = crop_px
        bounds = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
        self._bounds = {key: value for key, value in bounds.items() if value}

    @classmethod
    def load_processor(cls, source: str, **where: Any) -> Qwen2_5_VLProcessor:
        """From a folder or the hub, for images and text."""
        return Qwen2_5_VLProcessor.from_pretrained(
            source, backend="pil", trust_remote_code=False, **where
        )

    @property
    def crop_px(self) -> int:
        """224, as in the authors' code; the model itself takes any size."""
        return self._crop_px

    @property
    def patch_px(self) -> int:
        """Of a map's cell, merged patches: 28 for the 3B and 7B models."""
        vision = self.model.config.vision_config
        return vision.patch_size * vision.spatial_merge_size

    @property
    def fit(self) -> str:
        """Qwen keeps an image's ratio, up to whole patches."""
        return "native"

    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, tuple[int, int]]:
        """(images · patches, channels · frames · patch²), as the processor orders them.

        Raises:
            ValueError: for images that do not come out in the same shape.
        """
        process = self.processor.image_processor
        size = {**dict(process.size), **self._bounds}
        made = process(images=[*pictures], size=size, return_tensors="pt")
        shapes = {tuple(shape) for shape in made["image_grid_thw"].tolist()}
        if len(shapes) > 1:
            raise ValueError(f"images of several shapes cannot be one batch: {shapes}")
        grid = self._grid(made["image_grid_thw"])
        return made["pixel_values"].to(self.device, self.dtype), grid

    def see(self, pixels: Tensor, grid: tuple[int, int]) -> Seen:
        """Merged patches of images of one shape."""
        patches = grid[0] * grid[1] * self._merge**2
        shapes = self._shapes([grid] * (len(pixels) // patches)).to(self.device)
        output = self.model.model.get_image_features(pixels, image_grid_thw=shapes)
        return Seen(pixels, torch.stack(list(output.pooler_output)), grid)

    def see_apart(
        self, pixels: Sequence[Tensor], grids: Sequence[tuple[int, int]]
    ) -> list[Seen]:
        """Each image's patches look at their own image alone, whatever its shape."""
        shapes = self._shapes(grids).to(self.device)
        patches = torch.cat(list(pixels))
        output = self.model.model.get_image_features(patches, image_grid_thw=shapes)
        return [
            Seen(own, part[None].clone(), grid)
            for own, part, grid in zip(pixels, output.pooler_output, grids, strict=True)
        ]

    def words(self, question: str, seen: Sequence[Seen]) -> Words:
        """The processor's chat template, its image placeholders expanded."""
        token = self.processor.image_token
        self.check_placeholder(question, token)
        asked = {"type": "text", "text": f"{question} {INSTRUCTION}"}
        turn = {"role": "user", "content": [*[{"type": "image"}] * len(seen), asked]}
        text = self.processor.apply_chat_template(
            [turn], add_generation_prompt=True, tokenize=False
        )
        parts = text.split(token)
        counts = [token * self.token_count(image) for image in seen]
        text = "".join(a + b for a, b in zip(parts, [*counts, ""], strict=True))
        return Words(self.tokenize(text))

    def positions(self, ids: Tensor, seen: Sequence[Seen]) -> Tensor:
        """(3, images, tokens): time, row and column (multimodal rotary positions)."""
        places, _ = self.model.model.get_rope_index(
            ids,
            mm_token_type_ids=(ids == self.image_token_id).int(),
            image_grid_thw=self._shapes([image.grid for image in seen]),
        )
        return places.expand(-1, len(seen[0].features), -1).to(self.device)

    def picture(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patches put back in their places; the frames of a still as channels."""
        (rows, cols), merge = grid, self._merge
        vision = self.model.config.vision_config
        side = vision.patch_size
        planes = vision.in_channels * vision.temporal_patch_size
        parts = pixels.reshape(-1, rows, cols, merge, merge, planes, side, side)
        parts = parts.permute(0, 5, 1, 3, 6, 2, 4, 7)
        return parts.reshape(-1, planes, rows * merge * side, cols * merge * side)

    def unpack(self, inputs: Any) -> tuple[Words, Tensor, tuple[int, int]]:
        """The processor gives the grid of patches too."""
        pixels = inputs["pixel_values"].to(self.device, self.dtype)
        words = Words(inputs["input_ids"].cpu())
        return words, pixels, self._grid(inputs["image_grid_thw"])

    @property
    def _merge(self) -> int:
        return self.model.config.vision_config.spatial_merge_size

    def _grid(self, shapes: Tensor) -> tuple[int, int]:
        """Rows and columns of merged patches; ``shapes`` is image_grid_thw."""
        _, rows, cols = shapes[0].tolist()
        return rows // self._merge, cols // self._merge

    def _shapes(self, grids: Sequence[tuple[int, int]]) -> Tensor:
        """image_grid_thw of stills."""
        rows = [(1, rows * self._merge, cols * self._merge) for rows, cols in grids]
        return torch.tensor(rows)
