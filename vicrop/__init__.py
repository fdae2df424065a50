"""Visual cropping for multimodal LLMs: look, map, crop, ask again.

>>> import vicrop
>>> vlm = vicrop.load("tiny-llava")
>>> view = vlm.look("photo.jpg")
>>> view.ask("what digit is on the red plate?")

Importing this package does not import torch; the names below load what they need.
"""

import sys
from importlib import import_module, machinery
from importlib.abc import Loader
from types import ModuleType

__version__ = "0.1.0"

_HOMES = {
    "Answer": "types",
    "Box": "types",
    "Map": "types",
    "Record": "run.records",
    "RunConfig": "run.records",
    "Sample": "run.records",
    "ViCrop": "pipeline",
    "View": "view",
    "load": "adapters",
    "wrap": "adapters",
}
_MODULES = (
    "adapters attribution boxes capture gate geometry images methods paths pipeline"
    " plots run scoring types view"
).split()
_MOVED = {
    f"vicrop.{name}": f"vicrop.run.{name}" for name in ("datasets", "results", "stats")
}

__all__ = [*_HOMES, *_MODULES, "datasets", "results", "stats"]


class _Moved(Loader):
    """Finds modules that moved under the names that others import them by."""

    @classmethod
    def find_spec(cls, name: str, path=None, target=None):
        return machinery.ModuleSpec(name, cls()) if name in _MOVED else None

    def create_module(self, spec: machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(_MOVED[module.__name__])


sys.meta_path.append(_Moved)  # asked last: it costs other imports nothing


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"vicrop.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"vicrop.{name}")
    raise AttributeError(f"module 'vicrop' has no attribute {name!r}")
