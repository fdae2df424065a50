"""Families and models as ``models.toml`` has them; readable without torch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
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
        return resolve_name(self.home)


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


_TABLES = tomllib.loads((Path(__file__).parent / "models.toml").read_text("utf-8"))
FAMILIES = {key: Family(**table) for key, table in _TABLES["families"].items()}
MODELS = {
    key: ModelSpec(**(table | {"grid": tuple(table["grid"])}))
    for key, table in _TABLES["models"].items()
}
ALIASES: dict[str, str] = _TABLES["aliases"]
"""The authors' short keys."""


_OF_HUB = {spec.source: key for key, spec in MODELS.items() if "/" in spec.source}


def resolve(name: str) -> str:
    """A model's one name: its key, else its folder from the root on, else its hub id.

    The authors' short keys and the hub ids of models that have a key are that key.
    """
    name = ALIASES.get(name, _OF_HUB.get(name, name))
    folder = Path(name).expanduser()
    return str(folder.resolve()) if name not in MODELS and folder.is_dir() else name
