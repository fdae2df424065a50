"""Running a method over a data set: records, folders, shards, scores.

``vicrop.run.run`` and the rest of the loop's face are imported when asked for, and
torch with them.
"""

from typing import Any

OF_THE_LOOP = ("answer_sample", "failures", "load", "run", "run_together")


def __getattr__(name: str) -> Any:
    if name in OF_THE_LOOP:
        from vicrop.run import loop, provenance

        return getattr(provenance if name == "load" else loop, name)
    raise AttributeError(f"module 'vicrop.run' has no attribute {name!r}")
