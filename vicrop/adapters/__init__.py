"""Models behind one small interface: ``load`` by key, ``wrap`` what is in memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import is_offline_mode
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as CLASS_OF_TYPE,
)
from transformers.utils import logging

from vicrop.adapters import (  # noqa: F401 (register)
    idefics3,
    instructblip,
    llava,
    qwen2_5_vl,
)
from vicrop.adapters.base import DTYPES, FAMILIES, GENERAL_QUESTION, Adapter
from vicrop.adapters.conformance import check
from vicrop.adapters.registry import ALIASES, MODELS, ModelSpec

__all__ = [
    "FAMILIES",
    "GENERAL_QUESTION",
    "MODELS",
    "Adapter",
    "check",
    "load",
    "wrap",
]


def load(
    name: str,
    family: str | None = None,
    layer: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    revision: str | None = None,
    **options: int,
) -> Adapter:
    """A model that can look.

    Args:
        name: key of ``MODELS``; or a local folder or hub id, with ``family``.
        family: key of ``FAMILIES``, for a model that is not in the registry.
        layer: of the map, counted from 0; None for the model's own.
        device: where to put it: ``cpu``, ``cuda``, ``cuda:1``, …
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        revision: of a hub repository.
        options: the family's own, such as Qwen2.5-VL's ``max_pixels``.

    Raises:
        ValueError: for an unknown key, family, dtype or option, a device that is not
            here, weights that are torn, or a model of another family.
        FileNotFoundError: if the weights are not here and cannot be fetched.
    """
    spec = _spec(name, family, layer, revision)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    place = _device(device)
    cls = FAMILIES[spec.family]
    options = {**spec.options, **_options(cls, options)}
    layer = spec.layer if layer is None else layer
    model, processor = _fetch(name, spec, dtype, layer, options)
    return cls(model.to(place), processor, layer, **options)


def _fetch(
    name: str, spec: ModelSpec, dtype: str, layer: int | None, options: dict[str, int]
) -> tuple[nn.Module, Any]:
    """Model and processor from the disk or the hub."""
    source = str(spec.folder or spec.source)
    cls = FAMILIES[spec.family]
    # A pinned commit that is here can have no newer files: the hub is not asked.
    here = is_offline_mode() or bool(spec.revision and spec.is_here())
    where: dict[str, Any] = {"revision": spec.revision, "local_files_only": here}
    logging.disable_progress_bar()  # a widget that stays in notebooks otherwise
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **where)
        _check_config(cls, config)
        processor = cls.load_processor(source, **where)
        _rehearse(cls, config, processor, layer, options)
        model = cls.model_class().from_pretrained(
            source,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            attn_implementation="sdpa",
            **where,
        )
    except OSError as error:
        raise FileNotFoundError(_missing(name, spec, error)) from error
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {source} are torn ({error}); fetch or make them again"
        ) from error
    return model, processor


def _check_config(cls: type[Adapter], config: Any) -> None:
    """Refuse a checkpoint of another family, by its type and by its class's name."""
    known = cls.model_class().config_class
    assert known is not None
    if config.model_type != known.model_type:
        cls.check_class(CLASS_OF_TYPE.get(config.model_type, config.model_type))
    for architecture in config.architectures or []:
        cls.check_class(architecture)
    if getattr(config, "quantization_config", None):
        raise ValueError(
            "the checkpoint is quantised, which changes what attention and gradients "
            "are; use one whose weights are float32, float16 or bfloat16"
        )


def _rehearse(
    cls: type[Adapter],
    config: Any,
    processor: Any,
    layer: int | None,
    options: dict[str, int],
) -> None:
    """Wrap a model without weights, so that what is wrong is said before they load."""
    with torch.device("meta"):
        cls(cls.model_class()(config), processor, layer, **options)


def _options(cls: type[Adapter], given: dict[str, int]) -> dict[str, int]:
    """Options, if the family has them all."""
    unknown = set(given) - set(cls.options)
    if unknown:
        raise ValueError(
            f"family {cls.family!r} has no option {', '.join(sorted(unknown))}; it "
            f"has {', '.join(cls.options) or 'none'}"
        )
    return given


def wrap(
    model: nn.Module,
    processor: Any = None,
    family: str = "llava",
    layer: int | None = None,
    **options: int,
) -> Adapter:
    """Any transformers model in memory, as a model that can look.

    Args:
        model: of the family's architecture.
        processor: its processor; without one, only ready-made inputs can be used.
        family: key of ``FAMILIES``.
        layer: of the map, counted from 0; None for the family's default.
        options: the family's own, such as InstructBLIP's ``qformer_layer``.

    Raises:
        ValueError: for an unknown family or option, a model or processor of another,
            or no such layer.
    """
    cls = _family(family)
    return cls(model, processor, layer, **_options(cls, options))


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
        f"({reason}); on a machine with a network run `{spec.command()}`"
    )
