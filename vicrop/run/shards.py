"""A run in parts: which samples are whose, and the parts put together again."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from vicrop import methods
from vicrop.run import datasets, jsonl, owner
from vicrop.run.folder import RunFolder, faults
from vicrop.run.records import RunConfig, Sample

SUMS = ("answered", "seconds", "passes", "tokens", "image_tokens", "errors")
"""What of shards' ``meta.json`` adds up."""


def in_order(samples: Iterable[Sample]) -> list[Sample]:
    """Samples as a run answers them: those of an image side by side.

    In GQA and POPE, the questions about an image are not.
    """
    return sorted(samples, key=lambda sample: sample.image_path)


def part(samples: Sequence[Sample], shard: int, shards: int) -> list[Sample]:
    """The samples of a shard: a contiguous range of images.

    All questions about an image are in one shard, so that they share a View.

    Args:
        samples: of the whole run.
        shard: which, from 0.
        shards: how many. An image belongs to the shard in which the middle of its
            questions lies, so that shards ask about equally many.
    """
    chosen: list[Sample] = []
    before = 0
    for _, group in groupby(in_order(samples), key=lambda sample: sample.image_path):
        asked = list(group)
        # Whole numbers: (before + len / 2) · shards / total, without rounding.
        if (2 * before + len(asked)) * shards // (2 * len(samples)) == shard:
            chosen += asked
        before += len(asked)
    return chosen


def askable(config: RunConfig) -> list[Sample]:
    """The samples of a whole run: human crops are only given where there is a box.

    Raises:
        ValueError: if that leaves none.
    """
    samples = datasets.load(config.dataset, config.limit, config.seed)
    if config.method not in methods.NEEDS_TRUTH:
        return samples
    boxed = [sample for sample in samples if sample.boxes]
    if not boxed:
        raise ValueError(
            f"{config.method} needs ground-truth boxes and {config.dataset} has none; "
            "use a data set with boxes, or another method"
        )
    return boxed


def merge(config: RunConfig, samples: Sequence[Sample]) -> RunFolder:
    """Put a run's shards together: the same records as of the run made in one piece.

    Args:
        config: of the run; its ``shards`` says how many there must be.
        samples: of the whole run.

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
    wrong = [*_unfinished(parts), *_mixed(parts)]
    if not wrong:
        wrong = _misplaced(parts, samples)
    if wrong:
        raise ValueError(f"{whole.name} cannot be merged: {'; '.join(wrong)}")
    whole.folder.mkdir(parents=True, exist_ok=True)
    with owner.one_writer(whole.folder):
        whole.check_identity(parts[0].meta()["identity"])
        for name in ("records_file", "maps_file"):
            files = [getattr(part, name) for part in parts]
            if any(file.exists() for file in files):
                text = (line for file in files for _, line in jsonl.split(file))
                jsonl.replace(getattr(whole, name), text)
        metas = [part.meta() for part in parts]
        whole.write_meta(_together(metas) | {"records": whole.seal()})
    return whole


def _unfinished(parts: Sequence[RunFolder]) -> list[str]:
    """Shards whose records are not all there, or not as they were when it ended."""
    wrong = []
    for run in parts:
        meta = run.meta()
        count = sum(1 for _ in run.lines())
        if not meta.get("finished"):
            asked = meta.get("asked", "unknown")
            wrong.append(f"{run.name} is not finished ({count} of {asked} recorded)")
        elif meta["records"] != run.seal():
            made = meta["records"]["count"]
            wrong.append(f"{run.name} changed after it ended ({count} of {made} lines)")
    return wrong


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
    return {**meta["identity"], "layer": meta["layer"], **meta["versions"]}


def _misplaced(parts: Sequence[RunFolder], samples: Sequence[Sample]) -> list[str]:
    """Samples that no shard has, or several, or the wrong one."""
    wrong, seen = [], Counter[str]()
    for number, run in enumerate(parts):
        own = {sample.id: sample for sample in part(samples, number, len(parts))}
        for line in faults(run.lines(), own):
            if line.fault:
                wrong.append(f"{run.name} line {line.number}: {line.fault}")
            elif line.record:
                seen[line.record.id] += 1
    missing = [sample.id for sample in samples if not seen[sample.id]]
    if missing:
        wrong.append(f"{len(missing)} samples missing: {', '.join(missing[:5])}, …")
    return wrong


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
