"""Families and models as data: weights, layers, licences. Readable without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from vicrop import paths

if TYPE_CHECKING:
    from vicrop.adapters.facts import Facts

DTYPES = ("float32", "float16", "bfloat16")
"""What a model's weights may be."""


@dataclass(frozen=True)
class Family:
    """One architecture that maps can be read from.

    Attributes:
        home: module and class of its facts.
        layer: of the map, counted from 0, where a model's own is not known.
        refused: why related architectures cannot be used, by the class's name.
    """

    home: str
    layer: int
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> type[Facts]:
        """The class of its facts; imports torch and transformers."""
        module, _, name = self.home.partition(":")
        return getattr(import_module(module), name)


ANY_RESOLUTION = (
    "which cuts an image into tiles of its own (any resolution), so that its image "
    "tokens are not one grid over the image"
)

FAMILIES = {
    "idefics3": Family(
        "vicrop.adapters.idefics3:Idefics3",
        16,  # of 32: ours, not tuned: about half of the depth
    ),
    "instructblip": Family(
        "vicrop.adapters.instructblip:InstructBlip",
        15,  # of 32: paper, section 6
        {"Blip2ForConditionalGeneration": "whose Q-Former does not read the question"},
    ),
    "llava": Family(
        "vicrop.adapters.llava:Llava",
        14,  # of 32: paper, section 6
        {
            "LlavaNextForConditionalGeneration": ANY_RESOLUTION,
            "LlavaNextVideoForConditionalGeneration": ANY_RESOLUTION,
            "LlavaOnevisionForConditionalGeneration": ANY_RESOLUTION,
        },
    ),
    "qwen2.5-vl": Family(
        "vicrop.adapters.qwen2_5_vl:Qwen25VL",
        22,  # of 36: the authors' code
        {"Qwen2VLForConditionalGeneration": "whose layer for the map is not known"},
    ),
}


@dataclass(frozen=True)
class ModelSpec:
    """One line of the registry.

    Attributes:
        family: key in ``FAMILIES``.
        source: hub id, or folder of weights inside this package.
        layer: of the map; None for the family's default.
        revision: of the hub's repository; None where no commit is pinned.
        licence: of the weights.
        size_gb: of the download, safetensors alone.
        parameters: of the model.
        grid: (rows, cols) of its map; for a square image where that depends on it.
        options: of the family, where not its defaults.
    """

    family: str
    source: str
    layer: int | None = None
    revision: str | None = None
    licence: str = ""
    size_gb: float = 0.0
    parameters: float = 0.0
    grid: tuple[int, int] | None = None
    options: Mapping[str, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        """Where embedded weights are; None for a model of the hub."""
        folder = paths.WEIGHTS / self.source
        return None if "/" in self.source else folder

    @property
    def map_layer(self) -> int:
        """Its own layer for the map, or its family's."""
        own = self.layer
        return FAMILIES[self.family].layer if own is None else own

    def is_here(self) -> bool:
        """Whether the weights can be loaded without a network."""
        if self.folder is not None:
            return any(self.folder.glob("*.safetensors"))
        if self._cached("config.json") is None:
            return False
        index = self._cached("model.safetensors.index.json")
        if index is None:
            return self._cached("model.safetensors") is not None
        parts = set(
            json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        )
        return all(self._cached(part) for part in parts)

    def _cached(self, name: str) -> Path | None:
        """A file of the hub's repository, if it has been downloaded."""
        from huggingface_hub import try_to_load_from_cache  # 0.4 s, and rarely asked

        found = try_to_load_from_cache(self.source, name, revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def command(self) -> str:
        """What downloads the weights into the cache."""
        pin = f" --revision {self.revision}" if self.revision else ""
        # Some repositories hold the weights as pickles too, which we never read.
        return f'hf download {self.source}{pin} --exclude "*.bin"'


UPSTREAM_CAP = {"max_pixels": 256 * 28 * 28}
"""The authors' code never shows Qwen2.5-VL more than this."""

LLAMA_2 = "Llama 2 Community License"
VICUNA = "research only (LLaMA, Vicuna)"

# The layers of embedded models are those that validation scenes chose: see the model
# cards. The paper and its code know a layer for one size a family: 14 of 32, 15 of 32
# and 22 of 36. The layers of other sizes are ours: as deep, relative to the model.
MODELS = {
    "tiny-llava": ModelSpec(
        "llava", "tiny-llava", 3, licence="MIT", parameters=1.5e6, grid=(12, 12)
    ),
    # Trained without the mask that makes tiny-llava's last token look: shows what was
    # trained in and what came by itself.
    "tiny-llava-unmasked": ModelSpec(
        "llava",
        "tiny-llava-unmasked",
        3,
        licence="MIT",
        parameters=1.5e6,
        grid=(12, 12),
    ),
    "tiny-instructblip": ModelSpec(
        "instructblip",
        "tiny-instructblip",
        0,
        licence="MIT",
        parameters=2.4e6,
        grid=(12, 12),
    ),
    "tiny-qwen2.5-vl": ModelSpec(
        "qwen2.5-vl",
        "tiny-qwen2.5-vl",
        3,
        licence="MIT",
        parameters=1.8e6,
        grid=(12, 12),
        options={"crop_px": 96},
    ),
    "llava-1.5-7b": ModelSpec(
        "llava",
        "llava-hf/llava-1.5-7b-hf",
        revision="b234b804b114d9e37bb655e11cbbb5f5e971b7a9",
        licence=LLAMA_2,
        size_gb=14.1,
        parameters=7.06e9,
        grid=(24, 24),
    ),
    "llava-1.5-13b": ModelSpec(
        "llava",
        "llava-hf/llava-1.5-13b-hf",
        18,
        revision="5dda2880bda009266dda7c4baff660b95ca64540",
        licence=LLAMA_2,
        size_gb=26.7,
        parameters=13.35e9,
        grid=(24, 24),
    ),
    "instructblip-vicuna-7b": ModelSpec(
        "instructblip",
        "Salesforce/instructblip-vicuna-7b",
        revision="19103d0c5b5263c8a7891012e08573439fb6607f",
        licence=VICUNA,
        size_gb=15.8,
        parameters=7.91e9,
        grid=(16, 16),
    ),
    "qwen2.5-vl-3b": ModelSpec(
        "qwen2.5-vl",
        "Qwen/Qwen2.5-VL-3B-Instruct",
        revision="66285546d2b821cf421d4f5eb2576359d3770cd3",
        licence="Qwen Research License",
        size_gb=7.5,
        parameters=3.75e9,
        grid=(16, 16),
        options=UPSTREAM_CAP,
    ),
    "qwen2.5-vl-7b": ModelSpec(
        "qwen2.5-vl",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        17,
        revision="cc594898137f460bfe9f0759e9844b3ce807cfb5",
        licence="Apache-2.0",
        size_gb=16.6,
        parameters=8.29e9,
        grid=(16, 16),
        options=UPSTREAM_CAP,
    ),
}
ALIASES = {
    "llava": "llava-1.5-7b",
    "blip": "instructblip-vicuna-7b",
    "qwen2_5": "qwen2.5-vl-3b",
}
"""The authors' short keys."""


def resolve(name: str) -> str:
    """A model's key, the authors' short keys translated."""
    return ALIASES.get(name, name)
