"""Families and models as ``models.toml`` has them; readable without torch.

And those that have no line there: what a name stands for is said here alone.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from vicrop import paths
from vicrop.types import known

if TYPE_CHECKING:
    from vicrop.adapters.facts import Facts

DTYPES = ("float32", "float16", "bfloat16")
"""What a model's weights may be."""

WEIGHTS = "model*.safetensors"
"""Files that a folder's weights are in."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
"""Owner and name of a repository of the hub."""


@dataclass(frozen=True)
class Family:
    """One architecture that maps can be read from.

    Attributes:
        home: module and class of its facts.
        architecture: name of its models' class.
        layer: of the map, counted from 0, where a model's own is not known.
        depth: layers of the models that this is known for.
    """

    home: str
    architecture: str
    layer: int
    depth: int

    @property
    def facts(self) -> type[Facts]:
        """The class of its facts; imports torch and transformers."""
        return resolve_name(self.home)

    def layer_in(self, depth: int) -> int:
        """The layer that is as deep in a model of so many layers."""
        return min(round(self.layer * depth / self.depth), depth - 1)


@dataclass(frozen=True)
class ModelSpec:
    """One line of the registry, or a model without one.

    Attributes:
        family: key in ``FAMILIES``; empty until a config.json has said it.
        source: hub id, absolute folder, or folder of weights inside this package.
        layer: of the map; None where it is not known.
        revision: of the hub's repository; None where no commit is pinned.
        licence: of the weights.
        size_gb: of the download, safetensors alone.
        parameters: of the model.
        grid: (rows, cols) of its map; for a square image where that depends on it.
        heads: (layer, head) of ``gaze-heads``, chosen on validation data.
        options: of the family, where not its defaults.
        reads: the only data sets that it has learnt to read, by how their keys begin.
    """

    family: str
    source: str
    layer: int | None = None
    revision: str | None = None
    licence: str = ""
    size_gb: float = 0.0
    parameters: float = 0.0
    grid: tuple[int, int] | None = None
    heads: tuple[tuple[int, int], ...] = ()
    options: Mapping[str, int] = field(default_factory=dict)
    reads: str = ""

    @property
    def folder(self) -> Path | None:
        """Where its weights are; None for a model of the hub."""
        if HUB_ID.fullmatch(self.source):
            return None
        return paths.WEIGHTS / self.source  # an absolute one as it is

    @property
    def files(self) -> list[Path]:
        """Of the weights in its folder."""
        return [] if self.folder is None else sorted(self.folder.glob(WEIGHTS))

    def is_here(self) -> bool:
        """Whether the weights can be loaded without a network."""
        folder = self.folder
        if folder is None:
            from huggingface_hub import try_to_load_from_cache  # 0.4 s, rarely asked

            made = try_to_load_from_cache(
                self.source, "config.json", revision=self.revision
            )
            if not isinstance(made, str):
                return False
            folder = Path(made).parent
        index, parts = folder / "model.safetensors.index.json", ["model.safetensors"]
        if index.exists():
            parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return all((folder / part).exists() for part in parts)

    def command(self) -> str:
        """What downloads the weights into the cache."""
        pin = f" --revision {self.revision}" if self.revision else ""
        # Some repositories hold the weights as pickles too, which we never read.
        return f'hf download {self.source}{pin} --exclude "*.bin"'


_TABLES = tomllib.loads((Path(__file__).parent / "models.toml").read_text("utf-8"))
FAMILIES = {key: Family(**table) for key, table in _TABLES["families"].items()}
MODELS = {
    key: ModelSpec(**(table | {"grid": tuple(table["grid"])}))
    for key, table in _TABLES["models"].items()
}
ALIASES: dict[str, str] = _TABLES["aliases"]
"""The authors' short keys."""
REFUSED: dict[str, str] = _TABLES["refused"]
NEEDED: list[str] = _TABLES["needed"]
INSTEAD: dict[str, str] = _TABLES["instead"]
"""Why something is no model of a family: by its class, or by what its folder holds."""


_OF_HUB = {spec.source: key for key, spec in MODELS.items() if "/" in spec.source}


def resolve(name: str | PathLike[str]) -> str:
    """A model's one name: its key, else its folder from the root on, else its hub id.

    The authors' short keys and the hub ids of models that have a key are that key.
    """
    told, folder = str(name), Path(os.path.expanduser(str(name) or "?"))
    key = ALIASES.get(told, _OF_HUB.get(told, told))
    is_folder = told.startswith((".", "/", "~")) or folder.is_dir()
    return str(folder.resolve()) if is_folder and key not in MODELS else key


def find(name: str | PathLike[str], family: str | None = None) -> ModelSpec:
    """A model's line of the registry, or one made of a folder's path or a hub id.

    Raises:
        ValueError: for a name of nothing, or a family that is unknown or not the key's.
    """
    found = resolve(name)
    keys = [MODELS[found].family] if found in MODELS else FAMILIES
    said = "" if family is None else known(family, keys, "family")
    if found in MODELS or Path(found).is_absolute() or HUB_ID.fullmatch(found):
        return MODELS.get(found) or ModelSpec(said, found)
    raise ValueError(
        f"unknown model {name!r}; known: {', '.join(MODELS)}; or the path of a folder "
        "that is here, or a hub id (owner/name)"
    )


def unread(name: str, about: str | PathLike[str]) -> str:
    """What to say where a model cannot read a data set, or pictures in its folder."""
    reads, places = find(name).reads, Path(about).absolute().parts
    if not reads or any(f"{place}-".startswith(f"{reads}-") for place in places):
        return ""
    others = " or ".join(key for key, spec in MODELS.items() if not spec.reads)
    return f"{name} reads drawn {reads} only; for other pictures take --model {others}"
