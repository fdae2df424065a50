"""Where a model looks, by layer, head and prompt: saved once, looked at anywhere.

``collect`` asks models and saves what they say; ``store`` is the files, ``sprites``
what is drawn of them, ``page`` the block of HTML. Only ``collect`` needs a model, and
none is loaded before it is needed.
"""

from importlib import import_module

_HOMES = {"Explorer": "page", "figure": "page", "read": "store", "saved": "collect"}

__all__ = ["Explorer", "figure", "read", "saved"]  # noqa: F822 (see __getattr__)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"analysis.explorer.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'analysis.explorer' has no attribute {name!r}")
