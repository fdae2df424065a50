"""Where a run's records come from: hashes, versions, machine, and what it took."""

import hashlib
import importlib.metadata
import inspect
import platform
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicrop import adapters
from vicrop.run import datasets
from vicrop.run.records import RunConfig

if TYPE_CHECKING:
    import torch

    from vicrop.adapters.adapter import Adapter

PACKAGES = ("vicrop", "torch", "transformers", "numpy", "pillow")


def load(config: RunConfig) -> "Adapter":
    """The model of a run."""
    options: dict[str, Any] = config.options  # as keywords: checked in ``load``
    for name in options.keys() & inspect.signature(adapters.load).parameters.keys():
        raise ValueError(f"{name} is no option of a model's family; say --{name}")
    return adapters.load(
        config.model,
        family=config.family,
        layer=config.layer,
        device=config.device,
        dtype=config.dtype,
        **options,
    )


def weights_hash(vlm: "Adapter") -> str:
    """SHA-256 over the model's parameters, names and values."""
    digest = hashlib.sha256()
    for name, value in sorted(vlm.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(config: RunConfig, weights: str | None = None) -> dict[str, Any]:
    """What the records depend on: parameters, and hashes of data and weights.

    Args:
        config: of the run.
        weights: the model's hash; None before it is loaded.
    """
    data = file_hash(datasets.folder(config.dataset) / "data.json")
    known = config.identity() | {"data": data}
    return known if weights is None else known | {"weights": weights}


def versions() -> dict[str, str]:
    """Of the packages that answers depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def meta(config: RunConfig, vlm: "Adapter") -> dict:
    """What made a run's records, and where."""
    return {
        "config": config.model_dump(mode="json"),
        "layer": vlm.layer,
        "versions": versions(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "host": platform.node(),
        "peak_memory_mb": peak_memory_mb(vlm.device),
    }


def peak_memory_mb(device: "torch.device") -> int:
    """Most memory used so far: the GPU's, or this process's on a CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) // 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
