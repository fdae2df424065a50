"""A run's shards put together again, if they are whole and of one kind."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vicrop.run import checks, jsonl
from vicrop.run.datasets import askable, part
from vicrop.run.folder import RunFolder, one_writer
from vicrop.run.records import RunConfig

SUMS = ("answered", "seconds", "passes", "tokens", "image_tokens", "errors")
"""What of shards' ``meta.json`` adds up."""


def merge(config: RunConfig) -> RunFolder:
    """Put a run's shards together: the same records as of the run made in one piece.

    Args:
        config: of the run; its ``shards`` says how many there must be.

    Raises:
        ValueError: naming all that is wrong: shards that are not finished, were made
            by other weights, data, parameters or versions than the rest, and samples
            that are missing, doubled or of something else.
    """
    whole = RunFolder.of(config.model_copy(update={"shard": 0, "shards": 1}))
    numbers = range(config.shards)
    parts = [
        RunFolder.of(config.model_copy(update={"shard": number})) for number in numbers
    ]
    wrong = [*_spoilt(parts, config), *_mixed(parts)]
    if wrong:
        raise ValueError(f"{whole.name} cannot be merged: {'; '.join(wrong)}")
    if config.shards == 1:
        return whole
    whole.folder.mkdir(parents=True, exist_ok=True)
    with one_writer(whole.folder):
        whole.check_identity(parts[0].meta()["identity"])
        for name in ("records_file", "maps_file"):
            files = [getattr(run, name) for run in parts]
            if any(file.exists() for file in files):
                text = (line for file in files for _, line in jsonl.split(file))
                jsonl.replace(getattr(whole, name), text)
        metas = [run.meta() for run in parts]
        whole.write_meta(_together(metas) | {"records": whole.seal()})
    return whole


def _spoilt(parts: Sequence[RunFolder], config: RunConfig) -> Iterator[str]:
    """What is wrong with each shard by itself."""
    samples = askable(config)
    for number, run in enumerate(parts):
        own = part(samples, number, len(parts))
        # Of one that is not finished, samples that lack need no naming.
        found = list(checks.of_file(run)) or checks.of_lines(run, own)
        yield from (f"{run.name}: {fault}" for fault in found)


def _mixed(parts: Sequence[RunFolder]) -> list[str]:
    """What finished shards do not share of weights, data and versions."""
    metas = {run.name: run.meta() for run in parts if run.meta().get("finished")}
    seen = {name: _made_with(meta) for name, meta in metas.items()}
    wrong = []
    for key in dict.fromkeys(key for made in seen.values() for key in made):
        usual = statistics.mode(made.get(key) for made in seen.values())
        others = [name for name, made in seen.items() if made.get(key) != usual]
        if others:
            wrong.append(f"{', '.join(others)} made with other {key} than the rest")
    return wrong


def _made_with(meta: Mapping[str, Any]) -> dict[str, Any]:
    made = {**meta["identity"], "layer": meta["layer"], **meta["versions"]}
    return {key: repr(value) for key, value in made.items()}


def _together(metas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ``meta.json`` of the whole run."""
    first = metas[0]
    config = {**first["config"], "shard": 0, "shards": 1}
    return {
        **first,
        "config": config,
        **{key: sum(meta.get(key, 0) for meta in metas) for key in SUMS},
        "seconds": round(sum(meta["seconds"] for meta in metas), 3),
        "asked": sum(meta["asked"] for meta in metas),
        "peak_memory_mb": max(meta["peak_memory_mb"] for meta in metas),
        "notes": [note for meta in metas for note in meta.get("notes", [])],
        "shards": len(metas),
    }
