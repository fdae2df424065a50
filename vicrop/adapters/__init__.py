"""Models behind one small interface: ``load`` by key, ``wrap`` what is in memory.

The registry is read without torch; the other names import what they need.
"""

from importlib import import_module

from vicrop.adapters.registry import (
    ALIASES,
    FAMILIES,
    MODELS,
    Family,
    ModelSpec,
    resolve,
)

_HOMES = {
    "Adapter": "adapter",
    "Facts": "facts",
    "check": "conformance",
    "load": "loading",
    "wrap": "loading",
}

_DATA = ["ALIASES", "FAMILIES", "MODELS", "Family", "ModelSpec", "resolve"]
__all__ = [*_DATA, *_HOMES]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"vicrop.adapters.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vicrop.adapters' has no attribute {name!r}")
