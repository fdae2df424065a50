"""Models behind one small interface: ``load`` by key, ``wrap`` what is in memory.

Each name imports what it needs when it is asked for: the registry, no torch.
"""

from importlib import import_module

_HOMES = {
    "ALIASES": "registry",
    "FAMILIES": "registry",
    "MODELS": "registry",
    "Family": "registry",
    "ModelSpec": "registry",
    "resolve": "registry",
    "Adapter": "adapter",
    "Facts": "facts",
    "check": "conformance",
    "find": "registry",
    "load": "loading",
    "wrap": "loading",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"vicrop.adapters.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vicrop.adapters' has no attribute {name!r}")
