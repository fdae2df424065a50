"""Running a method over a data set: records, folders, shards, scores.

``vicrop.run.run`` is the loop; torch is imported when it is asked for.
"""


def __getattr__(name: str):
    if name == "run":
        from vicrop.run.loop import run

        return run
    raise AttributeError(f"module 'vicrop.run' has no attribute {name!r}")
