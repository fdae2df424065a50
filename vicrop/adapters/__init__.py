"""Models behind one small interface: ``load`` by key, ``wrap`` what is in memory."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from torch import nn
from transformers import AutoProcessor
from transformers.utils import logging

from vicrop import paths
from vicrop.adapters import llava  # noqa: F401 (registers its family)
from vicrop.adapters.base import FAMILIES, GENERAL_QUESTION, Adapter

__all__ = ["FAMILIES", "GENERAL_QUESTION", "MODELS", "Adapter", "load", "wrap"]


@dataclass(frozen=True)
class ModelSpec:
    """One line of the registry.

    Attributes:
        family: key in ``FAMILIES``.
        source: hub id, or folder of weights inside this package.
        layer: of the map; None for the family's default.
        revision: of the hub's repository.
        licence: of the weights.
        size_gb: of the download.
    """

    family: str
    source: str
    layer: int | None = None
    revision: str | None = None
    licence: str = ""
    size_gb: float = 0.0

    @property
    def folder(self) -> Path | None:
        """Where embedded weights are; None for a model of the hub."""
        folder = paths.WEIGHTS / self.source
        return None if "/" in self.source else folder

    def is_here(self) -> bool:
        """Whether the weights can be loaded without a network."""
        if self.folder is not None:
            return any(self.folder.glob("*.safetensors"))
        found = try_to_load_from_cache(
            self.source, "config.json", revision=self.revision
        )
        return isinstance(found, str)


MODELS = {
    # The layer is the one that validation scenes chose: see the model card.
    "tiny-llava": ModelSpec("llava", "tiny-llava", layer=3, licence="MIT"),
    "llava-1.5-7b": ModelSpec(
        "llava",
        "llava-hf/llava-1.5-7b-hf",
        licence="Llama 2 Community License",
        size_gb=14.1,
    ),
}
ALIASES = {"llava": "llava-1.5-7b"}
"""The authors' short keys."""

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def load(
    name: str,
    family: str | None = None,
    layer: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    revision: str | None = None,
) -> Adapter:
    """A model that can look.

    Args:
        name: key of ``MODELS``; or a local folder or hub id, with ``family``.
        family: key of ``FAMILIES``, for a model that is not in the registry.
        layer: of the map, counted from 0; None for the model's own.
        device: where to put it: ``cpu``, ``cuda``, ``cuda:1``, …
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        revision: of a hub repository.

    Raises:
        ValueError: for an unknown key, family or dtype, or a device that is not here.
        ValueError: for weights that are torn.
        FileNotFoundError: if the weights are not here and cannot be fetched.
    """
    spec = _spec(name, family, layer, revision)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    place = _device(device)
    cls = FAMILIES[spec.family]
    source = str(spec.folder or spec.source)
    logging.disable_progress_bar()  # a widget that stays in notebooks otherwise
    try:
        processor = AutoProcessor.from_pretrained(
            source, revision=spec.revision, backend="pil"
        )
        model = cls.model_class().from_pretrained(
            source,
            revision=spec.revision,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            attn_implementation="sdpa",
        )
    except OSError as error:
        raise FileNotFoundError(_missing(name, spec, error)) from error
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {source} are torn ({error}); fetch or make them again"
        ) from error
    return cls(model.to(place), processor, spec.layer if layer is None else layer)


def wrap(
    model: nn.Module,
    processor: Any = None,
    family: str = "llava",
    layer: int | None = None,
) -> Adapter:
    """Any transformers model in memory, as a model that can look.

    Args:
        model: of the family's architecture.
        processor: its processor; without one, only ready-made inputs can be used.
        family: key of ``FAMILIES``.
        layer: of the map, counted from 0; None for the family's default.

    Raises:
        ValueError: for an unknown family, a model of another, or no such layer.
    """
    return _family(family)(model, processor, layer)


def resolve(name: str) -> str:
    """A model's key, the authors' short keys translated."""
    return ALIASES.get(name, name)


def _spec(
    name: str, family: str | None, layer: int | None, revision: str | None
) -> ModelSpec:
    known = MODELS.get(resolve(name))
    if known is not None:
        return replace(known, revision=revision or known.revision)
    if family is None:
        raise ValueError(
            f"unknown model {name!r}; known: {', '.join(MODELS)}; for a local folder "
            f"or hub id say its family ({', '.join(FAMILIES)})"
        )
    _family(family)
    return ModelSpec(family, name if "/" in name else f"./{name}", layer, revision)


def _family(family: str) -> type[Adapter]:
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[family]


def _device(name: str) -> torch.device:
    """A device that can be used here."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used here ({reason})") from error


def _missing(name: str, spec: ModelSpec, error: Exception) -> str:
    if spec.folder is not None:
        return f"{name} has no weights in {spec.folder}; make them with `make train`"
    reason = str(error).splitlines()[0]
    if Path(spec.source).is_dir() or spec.source.startswith(("/", ".")):
        return f"{spec.source} does not hold a model and its processor ({reason})"
    size = f", {spec.size_gb:g} GB" if spec.size_gb else ""
    licence = f", {spec.licence}" if spec.licence else ""
    return (
        f"{spec.source}{size}{licence} is not here and could not be fetched "
        f"({reason}); on a machine with a network run `hf download {spec.source}`"
    )
