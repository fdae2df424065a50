"""Models from the disk, the hub or memory: checked first, so that errors are clear."""

import inspect
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

from vicrop.adapters.adapter import Adapter
from vicrop.adapters.registry import DTYPES, FAMILIES, MODELS, ModelSpec, resolve


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
    spec = _spec(name, family, layer, revision, options)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    place = _device(device)
    model, processor = _fetch(name, spec, dtype)
    return _adapter(spec, model.to(place), processor)


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
    spec = ModelSpec(family, "", layer, options=_options(family, options))
    return _adapter(spec, model, processor)


def _adapter(spec: ModelSpec, model: nn.Module, processor: Any) -> Adapter:
    """Model and processor behind their family's facts, if they are of that family."""
    kind = FAMILIES[spec.family].facts
    _check_class(spec.family, type(model).__name__)
    found, wanted = type(processor).__name__, kind.processor_class.__name__
    if processor is not None and found != wanted:
        raise ValueError(
            f"family {spec.family!r} wants a {wanted}, but the processor is a {found}; "
            "load it from the model's own folder"
        )
    return Adapter(kind(model, processor, **spec.options), spec.layer)


def _check_class(family: str, found: str) -> None:
    """Refuse a model of another class, saying why if it is a known relative."""
    wanted = FAMILIES[family].facts.architecture.__name__
    if found != wanted:
        reason = FAMILIES[family].refused.get(found)
        raise ValueError(
            f"family {family!r} is {wanted}, but the model is a {found}"
            + (f", {reason}" if reason else "")
            + f"; pass the family that fits it (known: {', '.join(FAMILIES)})"
        )


def _options(family: str, given: dict[str, int]) -> dict[str, int]:
    """Options, if there is such a family and it has them all."""
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    _, _, *known = inspect.signature(FAMILIES[family].facts).parameters
    unknown = set(given) - set(known)
    if unknown:
        raise ValueError(
            f"family {family!r} has no option {', '.join(sorted(unknown))}; it "
            f"has {', '.join(known) or 'none'}"
        )
    return given


def _spec(
    name: str,
    family: str | None,
    layer: int | None,
    revision: str | None,
    options: dict[str, int],
) -> ModelSpec:
    """A model of the registry or one described, with what is asked otherwise."""
    spec = MODELS.get(resolve(name))
    if spec is None and family is None:
        raise ValueError(
            f"unknown model {name!r}; known: {', '.join(MODELS)}; for a local folder "
            f"or hub id say its family ({', '.join(FAMILIES)})"
        )
    if spec is None:
        spec = ModelSpec(str(family), name if "/" in name else f"./{name}")
    return replace(
        spec,
        layer=spec.layer if layer is None else layer,
        revision=revision or spec.revision,
        options={**spec.options, **_options(spec.family, options)},
    )


def _device(name: str) -> torch.device:
    """A device that can be used here."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used here ({reason})") from error


def _fetch(name: str, spec: ModelSpec, dtype: str) -> tuple[nn.Module, Any]:
    """Model and processor from the disk or the hub."""
    source, kind = str(spec.folder or spec.source), FAMILIES[spec.family].facts
    # A pinned commit that is here can have no newer files: the hub is not asked.
    here = is_offline_mode() or bool(spec.revision and spec.is_here())
    where: dict[str, Any] = {"revision": spec.revision, "local_files_only": here}
    logging.disable_progress_bar()  # a widget that stays in notebooks otherwise
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **where)
        _check_config(spec.family, config)
        processor = kind.processor_class.from_pretrained(
            source, backend="pil", trust_remote_code=False, **where
        )
        # Without weights first, so that what is wrong is said before they load.
        with torch.device("meta"):
            empty = kind.architecture(config)
        _adapter(spec, empty, processor)
        model = kind.architecture.from_pretrained(
            source,
            dtype=getattr(torch, dtype),
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


def _check_config(family: str, config: Any) -> None:
    """Refuse a checkpoint of another family, by its type and by its class's name."""
    known = FAMILIES[family].facts.architecture.config_class
    assert known is not None
    if config.model_type != known.model_type:
        _check_class(family, CLASS_OF_TYPE.get(config.model_type, config.model_type))
    for architecture in config.architectures or []:
        _check_class(family, architecture)
    if getattr(config, "quantization_config", None):
        raise ValueError(
            "the checkpoint is quantised, which changes what attention and gradients "
            "are; use one whose weights are float32, float16 or bfloat16"
        )


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
