"""Running a method over a data set: records, folders, shards, scores.

``vicrop.run.run`` and the rest of the loop's face are imported when asked for, and
torch with them.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "answer_sample": "loop",
    "failures": "loop",
    "load": "provenance",
    "run": "loop",
    "run_together": "loop",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"vicrop.run.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'vicrop.run' has no attribute {name!r}")
