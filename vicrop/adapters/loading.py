"""Models from the disk, the hub or memory: checked first, so that errors are clear."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import is_offline_mode
from PIL import Image
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as CLASS_OF_TYPE,
)
from transformers.utils import logging

from vicrop.adapters import registry
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.registry import DTYPES, FAMILIES, ModelSpec, find
from vicrop.prompts import not_none
from vicrop.types import Stock, known, whole


def load(
    name: str | PathLike[str],
    family: str | None = None,
    layer: int | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "float32",
    revision: str | None = None,
    **options: int,
) -> Adapter:
    """A model that can look.

    Args:
        name: key of ``MODELS``, the path of a folder, or a hub id.
        family: key of ``FAMILIES``; None for the key's, or what config.json says.
        layer: of the map, counted from 0; None for the model's own, or where that is
            not known, the one that is as deep as its family's.
        device: where to put it: ``cpu``, ``cuda``, ``cuda:1``, …
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        revision: of a hub repository.
        options: the family's own, such as Qwen2.5-VL's ``max_pixels``.

    Raises:
        ValueError: for an unknown key, family, dtype or option, a device that is not
            here, weights that are torn or not all there, or a model of another family.
        FileNotFoundError: if the weights are not here and cannot be fetched.
    """
    spec = find(name, family)
    kind = known(str(dtype).removeprefix("torch."), DTYPES, "dtype")
    place = _device(device)
    spec = replace(
        spec,
        layer=spec.layer if layer is None else layer,
        revision=revision or spec.revision,
    )
    spec, model, processor = _fetch(spec, kind, options)
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
        layer: of the map, counted from 0; None for the one that is as deep as the
            family's.
        options: the family's own, such as InstructBLIP's ``qformer_layer``.

    Raises:
        ValueError: for an unknown family or option, a model or processor of another,
            weights that are quantised or in several places, or no such layer.
    """
    spec = ModelSpec(known(family, FAMILIES, "family"), "", layer)
    return _adapter(_with_options(spec, options), model, processor)


def _adapter(spec: ModelSpec, model: nn.Module, processor: Any) -> Adapter:
    """Model and processor behind their family's facts, if they are of that family."""
    kind = FAMILIES[spec.family].facts
    _family_of([type(model).__name__], spec.family)
    found, wanted = type(processor).__name__, kind.processor_class.__name__
    if processor is not None and found != wanted:
        raise ValueError(
            f"family {spec.family!r} wants a {wanted}, but the processor is a {found}; "
            "load it from the model's own folder"
        )
    _check_weights(model)
    made = Adapter(kind(model, processor, **spec.options), spec.layer)
    made.heads = tuple((layer, head) for layer, head in spec.heads)
    return made


def _family_of(classes: Sequence[str], said: str) -> str:
    """The family of a model's classes; if one was said, of that."""
    families = {family.architecture: key for key, family in FAMILIES.items()}
    for name in classes:
        found = families.get(name)
        if found is None:
            refused = registry.REFUSED.items()
            why = next(why for kind, why in refused if fnmatchcase(name, kind))
            raise ValueError(f"the model is a {name}, {why}")
        if found != (said or found):
            raise ValueError(f"the model is a {name}, which is of family {found!r}")
    return families[classes[0]]


def _check_weights(model: Stock) -> None:
    """Refuse weights that are not plain numbers on one device."""
    weights = list(model.parameters())
    kinds = {str(weight.dtype).removeprefix("torch.") for weight in weights}
    quantised = getattr(model.config, "quantization_config", None)
    if quantised or kinds - set(DTYPES):
        how = ", ".join(sorted(kinds))
        if quantised:
            how = f"quantised ({getattr(quantised, 'quant_method', quantised)})"
        raise ValueError(
            f"the model's weights are {how}, but maps and answers need "
            f"{', '.join(DTYPES)}; take the weights that they were made from, or call "
            "model.dequantize() first"
        )
    places = {str(weight.device) for weight in weights}
    mapped = set(map(str, getattr(model, "hf_device_map", {}).values()))
    if len(places) > 1 or len(mapped) > 1 or "disk" in mapped:
        where = ", ".join(sorted(mapped or places))
        raise ValueError(
            f"the model's weights are on several devices or none ({where}), and maps "
            "and answers need one: load it without device_map, or with {'': 0}, in "
            "bfloat16 if memory is short"
        )


def _with_options(spec: ModelSpec, given: dict[str, int]) -> ModelSpec:
    """A model with options of its family, if it has them all."""
    _, _, *names = inspect.signature(FAMILIES[spec.family].facts).parameters
    for name, value in given.items():
        known(name, names or ["none"], f"option of family {spec.family}")
        whole(value, name)
    return replace(spec, options={**spec.options, **given})


def _device(name: str | torch.device) -> torch.device:
    """A device that can be used here."""
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used here ({reason})") from error
    if device.type == "meta":
        raise ValueError("device 'meta' holds no numbers; take cpu or cuda")
    return device


def _fetch(
    spec: ModelSpec, dtype: str, options: dict[str, int]
) -> tuple[ModelSpec, nn.Module, Any]:
    """A model and its processor, with all that is then known of it first."""
    source = str(spec.folder or spec.source)
    # A pinned commit that is here can have no newer files: the hub is not asked.
    here = is_offline_mode() or bool(spec.revision and spec.is_here())
    where: dict[str, Any] = {"revision": spec.revision, "local_files_only": here}
    with _told(spec, source):
        _check_folder(Path(source), registry.NEEDED[:1])
        config, _ = PreTrainedConfig.get_config_dict(source, **where)
        family = _family_of(_classes(config), spec.family)
        _check_folder(Path(source), registry.NEEDED)
        spec = _with_options(replace(spec, family=family), options)
        kind = FAMILIES[family].facts
        processor = kind.processor_class.from_pretrained(
            source, backend="pil", trust_remote_code=False, **where
        )
        # Without weights first, so that what is wrong is said before they load.
        with torch.device("meta"):
            empty = kind.architecture(
                not_none(kind.architecture.config_class).from_dict(config)
            )
        _adapter(spec, empty, processor)
        processor.image_processor(images=Image.new("RGB", (224, 224)))  # does it work?
        loaded: Any = kind.architecture.from_pretrained(
            source,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            attn_implementation="sdpa",
            ignore_mismatched_sizes=True,  # told below too
            output_loading_info=True,
            **where,
        )
    model, found = loaded
    _check_whole(source, found)
    return spec, model, processor


@contextmanager
def _told(spec: ModelSpec, source: str) -> Iterator[None]:
    """Say, in a line of ours, why a checkpoint cannot be read and what to do."""
    logging.disable_progress_bar()  # a widget that stays in notebooks otherwise
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except OSError as error:
        raise FileNotFoundError(_missing(spec, error)) from error
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {source} are torn ({error}); fetch or make them again"
        ) from error
    except (ValueError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of files that are not as transformers wrote them
        raise ValueError(
            f"{source} cannot be read as a model and its processor "
            f"({type(error).__name__}: {error}); save it or fetch it again"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def _classes(config: Any) -> list[str]:
    """Names of a checkpoint's classes, by its config.json."""
    known = config if isinstance(config, dict) else {}
    kind = str(known.get("model_type"))
    return [*(known.get("architectures") or ()), CLASS_OF_TYPE.get(kind, kind)]


def _check_folder(folder: Path, needed: Sequence[str]) -> None:
    """An OSError for a folder that lacks something, saying what it holds instead."""
    lacking = [kind for kind in needed if not any(folder.glob(kind))]
    if not (lacking and folder.is_absolute()):
        return
    for pattern, reason in registry.INSTEAD.items():
        found = sorted(str(one.relative_to(folder)) for one in folder.glob(pattern))
        if found:
            raise OSError(f"{', '.join(found[:3])}: {reason}")
    raise OSError(f"no {lacking[0]}")


def _check_whole(source: str, found: dict[str, Any]) -> None:
    """Refuse a model of which a part would be left random."""
    lacking = {*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}
    if lacking:
        raise ValueError(
            f"{source} lacks {len(lacking)} of the model's weights in their shape, as "
            f"{min(lacking)}; save the whole model, with its adapters merged"
        )


def _missing(spec: ModelSpec, error: Exception) -> str:
    reason = str(error).splitlines()[0]
    if Path(spec.source).is_absolute():
        return f"{spec.source} does not hold a model and its processor ({reason})"
    if spec.folder is not None:
        where = spec.folder
        return f"{spec.source} has no weights in {where}; make them with `make train`"
    size = f", {spec.size_gb:g} GB" if spec.size_gb else ""
    licence = f", {spec.licence}" if spec.licence else ""
    return (
        f"{spec.source}{size}{licence} is not here and could not be fetched "
        f"({reason}); on a machine with a network run `{spec.command()}`"
    )
