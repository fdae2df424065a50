"""Visual cropping for multimodal LLMs: look, map, crop, ask again.

>>> import vicrop
>>> vlm = vicrop.load("tiny-llava")
>>> view = vlm.look("photo.jpg")
>>> view.ask("what digit is on the red plate?")

Importing this package does not import torch; the names below load what they need.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Answer": "types",
    "Box": "types",
    "Map": "types",
    "Record": "types",
    "RunConfig": "types",
    "Sample": "types",
    "ViCrop": "pipeline",
    "View": "view",
    "load": "adapters",
    "wrap": "adapters",
}
_MODULES = (
    "adapters attribution boxes capture datasets execute explorer gaze geometry images"
    " paths pipeline plots results run scoring show stats types view"
).split()

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"vicrop.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"vicrop.{name}")
    raise AttributeError(f"module 'vicrop' has no attribute {name!r}")
