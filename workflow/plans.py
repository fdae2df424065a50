"""What a size of the matrix will do: the workflow's jobs, and a summary to read first.

``python -m workflow.plans --size table2`` prints the summary and writes the plan, which
``workflow/Snakefile`` reads (``workflow.planned``).
"""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from vicrop import adapters, paths
from vicrop.run import datasets, results
from vicrop.run.cli import FIELDS, to_arguments
from vicrop.run.progress import duration
from vicrop.run.records import HOW, RunConfig
from workflow import matrix, preflight
from workflow.planned import Group, Plan, write

MATRIX = paths.ROOT / "workflow" / "matrix.yaml"

NAMING = tuple(name for name in FIELDS if name not in HOW)
MAKING = tuple(name for name in HOW if name not in ("shard", "shards"))
"""Parameters that name a run, and those that say how it is made but for its shard."""

Speeds = Mapping[tuple[str, str, str], float]
"""Seconds an answer, by model, method and kind of device."""


def make(
    size: str, configs: Iterable[RunConfig], pages: list[str], found: preflight.Survey
) -> Plan:
    """The plan of a size.

    Args:
        size: its name.
        configs: of its runs.
        pages: that read their records.
        found: which data are here.
    """
    speeds = seconds_an_answer()
    groups = {
        name: _group(runs, found, speeds) for name, runs in grouped(configs).items()
    }
    return Plan(size=size, groups=groups, pages=pages)


def grouped(configs: Iterable[RunConfig]) -> dict[str, list[RunConfig]]:
    """Runs that can be made together, by a name for them."""
    found: dict[str, list[RunConfig]] = {}
    for config in configs:
        shared = config.model_copy(update={"method": "all"})
        found.setdefault(shared.run_id, []).append(config)
    return found


def _group(configs: list[RunConfig], found: preflight.Survey, speeds: Speeds) -> Group:
    first = configs[0]
    on_gpu = first.device.startswith("cuda")
    weights = adapters.MODELS[first.model].size_gb
    seconds = expected(configs, found, speeds)
    return Group(
        configs=configs,
        shards=first.shards,
        arguments=shlex.join(to_arguments(configs, NAMING)),
        how=shlex.join(to_arguments(configs, MAKING)),
        inputs=[str(_data_file(first.dataset)), *_weights(first.model)],
        runs=[config.run_id for config in configs],
        gpu=int(on_gpu),
        # Weights pass through main memory; 2 GB for Python and the libraries.
        memory_mb=2000 + int(1200 * weights),
        minutes=None
        if seconds is None
        else 10 + int(seconds * 1.5 / 60 / first.shards),
    )


def _data_file(dataset: str) -> Path:
    if dataset in datasets.MAKERS:
        return paths.data() / dataset / "data.json"
    return Path(dataset) / "data.json"


def _weights(model: str) -> list[str]:
    """Files of embedded weights; of the hub's, a record's identity tells."""
    folder = adapters.MODELS[model].folder
    return [] if folder is None else sorted(map(str, folder.glob("*.safetensors")))


# How long it will take.


def seconds_an_answer() -> Speeds:
    """What an answer took in finished runs, by model, method and kind of device."""
    spent: dict[tuple[str, str, str], list[float]] = {}
    for run in results.find():
        meta = run.meta()
        total = spent.setdefault(_kind(RunConfig(**meta["config"])), [0.0, 0.0])
        total[0] += meta["seconds"]
        total[1] += meta["answered"]
    return {kind: seconds / count for kind, (seconds, count) in spent.items() if count}


def _kind(config: RunConfig) -> tuple[str, str, str]:
    return config.model, config.method, config.device.partition(":")[0]


def expected(
    configs: Iterable[RunConfig], found: preflight.Survey, speeds: Speeds
) -> float | None:
    """Seconds that runs will take at speeds that were seen; None if one was not."""
    total = 0.0
    for config in configs:
        count, speed = found.count(config), speeds.get(_kind(config))
        if count is None or speed is None:
            return None
        total += count * speed
    return total


def summary(plan: Plan, found: preflight.Survey) -> list[str]:
    """What a plan would do, a line each."""
    speeds = seconds_an_answer()
    shards = sum(group.shards for group in plan.groups.values())
    told = [
        f"{plan.size}: {len(plan.configs)} runs in {len(plan.groups)} groups, "
        f"{shards} shards; {found.answers} answers from the data that are here"
    ]
    told += [f"  {name}: {count} questions" for name, count in found.questions.items()]
    each = [expected(one.configs, found, speeds) for one in plan.groups.values()]
    known = [seconds for seconds in each if seconds is not None]
    if known:
        unknown = len(each) - len(known)
        rest = f"; {unknown} groups were never timed" if unknown else ""
        told.append(f"  expected, one after the other: {duration(sum(known))}{rest}")
    else:
        told.append("  expected time: unknown, no run of these has been timed yet")
    return told


def _stop(told: list[str], code: int) -> NoReturn:
    for line in told:
        typer.echo(line, err=True)
    raise typer.Exit(code)


def main(
    size: str = "embedded",
    file: Annotated[Path, typer.Option(help="The matrix.")] = MATRIX,
    check: Annotated[
        bool, typer.Option("--check", help="Stop if weights, data or device lack.")
    ] = False,
) -> None:
    """Say what a size would do and what it lacks, and write its plan."""
    try:
        configs, pages = matrix.chosen(file, size)
    except (OSError, ValueError) as error:
        _stop([f"workflow.plans: {error}"], 2)
    found = preflight.survey(configs)
    plan = make(size, configs, pages, found)
    told = summary(plan, found)
    typer.echo("\n".join([*told, *(f"  missing: {line}" for line in found.missing)]))
    if check and found.missing:
        _stop([f"{size}: nothing was run; get what is missing first"], 2)
    typer.echo(f"  plan: {write(plan)}")


if __name__ == "__main__":
    typer.run(main)
