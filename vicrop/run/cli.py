"""``vicrop run | merge | status | verify``."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from vicrop.run.options import (
    METHODS,
    BoxesFrom,
    Dataset,
    Device,
    Dtype,
    Fit,
    Geometry,
    Limit,
    Methods,
    Model,
    Options,
    Seed,
    Shards,
    Tokens,
    numbers,
)
from vicrop.run.records import RunConfig


def run(
    model: Model = "tiny-llava",
    method: Methods = METHODS,
    dataset: Dataset = "plates",
    limit: Limit = 0,
    seed: Seed = 0,
    layer: Annotated[int | None, typer.Option(help="Of the map, from 0.")] = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    fit: Fit = None,
    geometry: Geometry = "exact",
    option: Options = None,
    max_new_tokens: Tokens = 20,
    boxes_from: BoxesFrom = None,
    shard: Annotated[int, typer.Option(help="Which part, from 0.", min=0)] = 0,
    shards: Shards = 1,
    batch_size: Annotated[
        str, typer.Option(help="Images run together; auto: as memory allows.")
    ] = "1",
    sample_timeout: Annotated[
        float, typer.Option(help="Seconds for a sample; 0: any.", min=0)
    ] = 0,
    save_maps: Annotated[
        bool, typer.Option("--save-maps", help="Keep the maps beside the records.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask failed samples again.")
    ] = False,
) -> None:
    """Answer a data set; interrupted, it goes on where it was.

    Several --method are answered together, each image looked at once. Exit status: 0;
    1 if samples failed; 2 for a mistake; 75 after SIGTERM or Ctrl-C: run it again.
    """
    from vicrop.run.loop import failures, run_together

    configs = _configs(
        method,
        option,
        model=model,
        dataset=dataset,
        limit=limit,
        seed=seed,
        layer=layer,
        device=device,
        dtype=dtype,
        fit=fit,
        geometry=geometry,
        max_new_tokens=max_new_tokens,
        boxes_from=boxes_from,
        shard=shard,
        shards=shards,
        batch_size=_size(batch_size),
        sample_timeout=sample_timeout,
        save_maps=save_maps,
    )
    folders = run_together(configs, again=retry_failed)
    for folder in folders:
        typer.echo(f"records: {folder.records_file}")
        for note in folder.meta()["notes"]:
            typer.echo(f"note: {note}", err=True)
    failed = [record for folder in folders for record in failures(folder)]
    for record in failed[:10]:
        typer.echo(f"failed: {record.id}: {record.error}", err=True)
    if failed:
        typer.echo(
            f"{len(failed)} samples failed; see their `error`, or try them again with "
            "--retry-failed",
            err=True,
        )
        raise typer.Exit(1)


def _configs(
    methods: list[str], options: list[str] | None, **settings: Any
) -> list[RunConfig]:
    """The runs of several methods, each once."""
    shared = {"options": numbers(options), **settings}
    return [RunConfig(method=method, **shared) for method in dict.fromkeys(methods)]


def _size(text: str) -> int | Literal["auto"]:
    """A number of images, or ``auto``.

    Raises:
        ValueError: for anything else.
    """
    if text == "auto":
        return "auto"
    if not (text.isdecimal() and int(text)):
        raise ValueError(f"--batch-size is {text!r}, expected 1, 2, 3, … or auto")
    return int(text)


def merge(
    shards: Shards,
    model: Model = "tiny-llava",
    method: Methods = METHODS,
    dataset: Dataset = "plates",
    limit: Limit = 0,
    seed: Seed = 0,
    layer: Annotated[int | None, typer.Option(help="Of the map, from 0.")] = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    fit: Fit = None,
    geometry: Geometry = "exact",
    option: Options = None,
    max_new_tokens: Tokens = 20,
    boxes_from: BoxesFrom = None,
) -> None:
    """Put the shards of a run together, if they are whole and of one kind."""
    from vicrop.run import shards as parts
    from vicrop.run.loop import askable

    configs = _configs(
        method,
        option,
        model=model,
        dataset=dataset,
        limit=limit,
        seed=seed,
        layer=layer,
        device=device,
        dtype=dtype,
        fit=fit,
        geometry=geometry,
        max_new_tokens=max_new_tokens,
        boxes_from=boxes_from,
        shards=shards,
    )
    for config in configs:
        merged = parts.merge(config, askable(config))
        typer.echo(f"records: {merged.records_file}")


def status() -> None:
    """Every run and shard: done, failed, missing, speed, time left."""
    from vicrop import paths
    from vicrop.run import status as states

    names = ("run", "state", "done", "failed", "missing", "samples/s", "left", "by")
    table = Table(*names)
    table.columns[0].overflow = "fold"  # never shortened: it is typed again
    for one in states.all_of():
        speed = "–" if one.speed is None else f"{one.speed:.2f}"
        missing = "?" if one.missing is None else str(one.missing)
        table.add_row(
            one.name,
            one.state,
            str(one.done),
            str(one.failed),
            missing,
            speed,
            one.left,
            one.who,
        )
    typer.echo(f"runs in {paths.runs()}: {table.row_count}")
    if table.row_count:
        show(table)


def verify(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or shards.")],
    weights: Annotated[
        bool, typer.Option("--weights", help="Load the model, compare its hash.")
    ] = False,
) -> None:
    """Whether RUNS are whole and unchanged; exit status 1 if one is not."""
    from vicrop.run import verify as checks
    from vicrop.run.folder import RunFolder

    wrong = False
    for path in runs:
        run = RunFolder(path)
        found = list(checks.verify(run, weights))
        wrong = wrong or bool(found)
        for fault in found:
            typer.echo(f"{run.name}: {fault}", err=True)
        if not found:
            typer.echo(f"{run.name}: {run.seal()['count']} records, all well")
    if wrong:
        raise typer.Exit(1)


def show(table: Table) -> None:
    """At the terminal's width; whole where there is none."""
    Console(width=None if sys.stdout.isatty() else 160).print(table)
