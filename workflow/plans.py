"""What a size of the matrix will do: its groups of runs as jobs, and what they lack.

``python -m workflow.plans --size table2`` says it; ``workflow/Snakefile`` makes jobs of
the groups. Models, tables and figures are not imported: planning takes no second.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from vicrop import methods, paths
from vicrop.adapters import registry
from vicrop.run import datasets
from vicrop.run.cli import FIELDS, to_arguments
from vicrop.run.datasets import askable
from vicrop.run.folder import META, RunFolder
from vicrop.run.records import HOW, RunConfig
from workflow import matrix

MATRIX = paths.ROOT / "workflow" / "matrix.yaml"

NAMING = tuple(name for name in FIELDS if name not in HOW)
MAKING = tuple(name for name in HOW if name not in ("shard", "shards"))
"""Parameters that name a run, and those that say how it is made but for its shard."""


def grouped(configs: Iterable[RunConfig]) -> dict[str, list[RunConfig]]:
    """Runs that differ in their method only, and are made together, by a name."""
    found: dict[str, list[RunConfig]] = {}
    for config in configs:
        name = config.model_copy(update={"method": "all"}).run_id
        found.setdefault(name, []).append(config)
    return found


def data_of(config: RunConfig) -> Path:
    """Folder of a run's data set."""
    name = config.dataset
    return paths.data() / name if name in datasets.MAKERS else Path(name)


def inputs(config: RunConfig) -> list[str]:
    """Files that records depend on: data, and weights of this repository.

    What the weights of the hub are, a record's identity tells.
    """
    weights = registry.find(config.model).files
    return [str(file) for file in (data_of(config) / "data.json", *weights)]


def memory_mb(config: RunConfig) -> int:
    """Main memory of a job: weights pass through it, and 2 GB for Python.

    Those of a folder are weighed; of a hub id without a key nobody knows them.
    """
    spec = registry.find(config.model)
    size_gb = spec.size_gb or sum(file.stat().st_size for file in spec.files) / 1e9
    return 2000 + int(1200 * size_gb)


def minutes(configs: list[RunConfig]) -> int | None:
    """That a shard of a group may take, with room; None if it was never timed."""
    speeds = seconds_an_answer()
    known = all(_kind(config) in speeds for config in configs)
    if not (known and (data_of(configs[0]) / "data.json").is_file()):
        return None
    seconds = sum(
        len(askable(runs[0])) * sum(speeds[_kind(config)] for config in runs)
        for runs in _alike(configs)
    )
    return 10 + int(seconds * 1.5 / 60 / configs[0].shards)


def arguments(configs: list[RunConfig]) -> list[str]:
    """What names runs that differ in their method only, for the shell."""
    return to_arguments(configs, NAMING)


def how(config: RunConfig) -> list[str]:
    """What says how a run is made, for the shell."""
    return to_arguments([config], MAKING)


def seconds_an_answer() -> Mapping[tuple[str, str, str], float]:
    """What an answer took in finished runs, by model, method and kind of device."""
    spent: dict[tuple[str, str, str], list[float]] = {}
    for file in paths.runs().glob(f"*/{META}"):
        meta = RunFolder(file.parent).meta()
        if meta.get("finished"):
            total = spent.setdefault(_kind(RunConfig(**meta["config"])), [0.0, 0.0])
            total[0] += meta["seconds"]
            total[1] += meta["answered"]
    return {kind: seconds / count for kind, (seconds, count) in spent.items() if count}


def _kind(config: RunConfig) -> tuple[str, str, str]:
    return config.model, config.method, config.device.partition(":")[0]


def _alike(configs: Iterable[RunConfig]) -> list[list[RunConfig]]:
    """Runs that ask the same questions, side by side."""
    found: dict[tuple, list[RunConfig]] = {}
    for config in configs:
        truth = config.method in methods.NEEDS_TRUTH
        asks = (config.dataset, config.limit, config.seed, truth)
        found.setdefault(asks, []).append(config)
    return list(found.values())


# What is missing, told before the first run.


@dataclass(frozen=True)
class Needs:
    """What runs would do, as far as it can be told.

    Attributes:
        questions: of each data set that is here, those of the run that asks most.
        answers: of all runs whose data are here.
        missing: what is not here, a line each, with the command that gets it.
    """

    questions: dict[str, int]
    answers: int
    missing: list[str]


def needs(configs: Iterable[RunConfig], devices: bool = False) -> Needs:
    """Read the data that runs need, and look for their weights.

    Args:
        configs: of the runs.
        devices: whether to look for their devices too, for which torch is asked.
    """
    configs = list(configs)
    questions: dict[str, int] = {}
    answers, missing = 0, []
    for runs in _alike(configs):
        name = runs[0].dataset
        try:
            count = len(askable(runs[0]))
        except (OSError, ValueError) as error:
            missing.append(_data_fault(name, error))
            continue
        questions[name] = max(count, questions.get(name, 0))
        answers += len(runs) * count
    models = dict.fromkeys(config.model for config in configs)
    missing += filter(None, map(_weights_fault, models))
    if devices:
        places = dict.fromkeys(config.device for config in configs)
        missing += filter(None, map(_device_fault, places))
    return Needs(questions, answers, list(dict.fromkeys(missing)))


def _data_fault(dataset: str, error: Exception) -> str:
    command = datasets.MAKERS.get(dataset, "")
    again = f"; to make it anew: `{command}`" if command not in str(error) else ""
    return f"data set {dataset}: {error}{again}"


def _weights_fault(model: str) -> str:
    """What to do about a model without weights here; empty if it has them."""
    name, spec = registry.resolve(model), registry.find(model)
    if spec.is_here():
        return ""
    if spec.folder is not None:
        how = "make them: `make train`" if name in registry.MODELS else "see its path"
        return f"model {name}: no weights in {spec.folder}; {how}"
    known = f" ({spec.size_gb:g} GB, {spec.licence})" if spec.size_gb else ""
    return f"model {name}: no weights here; get them with `{spec.command()}`{known}"


def _device_fault(device: str) -> str:
    """What to do about a device that cannot be used here; empty if it can."""
    import torch

    place = torch.device(device)
    # Counted only: a tensor would take memory of the GPU that the workers need.
    counts = {"cuda": torch.cuda.device_count, "mps": torch.mps.device_count}
    if place.type == "cpu" or (place.index or 0) < counts[place.type]():
        return ""
    return (
        f"device {device}: torch does not see it; run this on a machine that has it "
        "(with a torch built for it), or name another `device` in the matrix"
    )


def summary(size: str, configs: list[RunConfig], found: Needs) -> list[str]:
    """What a size would do and what it lacks, a line each."""
    groups = grouped(configs).values()
    shards = sum(group[0].shards for group in groups)
    return [
        f"{size}: {len(configs)} runs in {len(groups)} groups, {shards} shards; "
        f"{found.answers} answers from the data that are here",
        *(f"  {name}: {count} questions" for name, count in found.questions.items()),
        *(f"  missing: {line}" for line in found.missing),
    ]


def stop(line: str) -> NoReturn:
    """End with a line and status 2: something is to be mended first."""
    typer.echo(line, err=True)
    raise typer.Exit(2)


def main(
    size: str = "embedded",
    file: Annotated[Path, typer.Option(help="The matrix.")] = MATRIX,
    check: Annotated[
        bool, typer.Option("--check", help="Stop if weights, data or device lack.")
    ] = False,
) -> None:
    """Say what a size would do and what it lacks; with --check, for this machine."""
    try:
        configs, _ = matrix.chosen(file, size)
    except (OSError, ValueError) as error:
        stop(f"workflow.plans: {error}")
    found = needs(configs, devices=check)
    typer.echo("\n".join(summary(size, configs, found)))
    if check and found.missing:
        stop(f"{size}: nothing was run; get what is missing first")


if __name__ == "__main__":
    typer.run(main)
