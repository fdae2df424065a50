"""``vicrop run | merge | status | verify``; options made of RunConfig, and back."""

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from vicrop import methods
from vicrop.adapters import registry
from vicrop.run.folder import RunFolder
from vicrop.run.records import HOW, RunConfig, fault_of
from vicrop.types import printable

FAILED, REFUSED, STOPPED, UNEXPECTED = 1, 2, 75, 70
"""Exit statuses: whole, with failed samples; something is to be mended first; stopped,
the same command goes on (EX_TEMPFAIL); a mistake of ours (EX_SOFTWARE)."""

FIELDS = tuple(RunConfig.model_fields)
OF_MERGE = tuple(name for name in FIELDS if name not in HOW or name == "shards")

Runs = Annotated[
    list[Path] | None,
    typer.Argument(help="Names or folders of runs or shards; all, if none is given."),
]

SPELLED: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "method": (list[str], "--method", lambda method: [method]),
    "options": (list[str], "--option", list),
    "batch_size": (str, "--batch-size", str),
    "save_maps": (bool, "--save-maps", bool),
}
"""Fields that the shell has in a form of its own: type, option, and default made so."""


def takes_runs(
    fields: Collection[str] = FIELDS, needed: Collection[str] = ()
) -> Callable[[Callable], Callable]:
    """Give a command these fields of RunConfig as options.

    In their place it is called with a list of RunConfig, one for each ``--method``.

    Args:
        fields: of RunConfig.
        needed: those that have no default on the shell.
    """

    def decorate(command: Callable) -> Callable:
        _, *own = inspect.signature(command).parameters.values()

        def called(**given: Any) -> None:
            told = {name: given.pop(name) for name in fields}
            command(_configs(**told), **given)

        called.__name__, called.__doc__ = command.__name__, command.__doc__
        options = [_option(name, name in needed) for name in fields]
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        called.__signature__ = inspect.Signature(options + own)  # type: ignore
        return called

    return decorate


def _option(name: str, needed: bool) -> inspect.Parameter:
    """A field of RunConfig as a command's parameter."""
    field = RunConfig.model_fields[name]
    own = (field.annotation, f"--{name.replace('_', '-')}", lambda default: default)
    kind, flag, told = SPELLED.get(name, own)
    least = next((found.ge for found in field.metadata if hasattr(found, "ge")), None)
    shown = typer.Option(flag, help=field.description, min=least)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if needed else told(field.default),
        annotation=Annotated[kind, shown],
    )


def _configs(
    method: list[str], options: list[str], batch_size: str = "1", **settings: Any
) -> list[RunConfig]:
    """The runs of several methods, each once.

    Raises:
        ValueError: for a value that a run cannot have.
    """
    shared = {"options": numbers(options), "batch_size": _size(batch_size), **settings}
    keys = dict.fromkeys(map(methods.resolve, method))
    try:
        return [RunConfig(method=key, **shared) for key in keys]
    except ValidationError as error:
        raise ValueError(fault_of(error)) from None


def numbers(options: list[str]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as keyword arguments.

    Raises:
        ValueError: for one of another form.
    """
    made = {}
    for option in options:
        key, _, value = option.partition("=")
        if not (key.isidentifier() and value.isdecimal()):
            raise ValueError(
                f"--option {option!r} is not KEY=VALUE with a whole number, such as "
                "max_pixels=200704"
            )
        made[key] = int(value)
    return made


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


def to_arguments(
    configs: Sequence[RunConfig], fields: Iterable[str] = FIELDS
) -> list[str]:
    """What tells ``vicrop run`` these runs; ``vicrop merge`` with its own fields.

    Args:
        configs: runs that differ in their method only.
        fields: that are told, where they are not the default; methods always.
    """
    told = [f"--method={config.method}" for config in configs if "method" in fields]
    left = configs[0].model_dump(
        include=set(fields) - {"method"}, exclude_defaults=True
    )
    for name, value in left.items():
        flag = f"--{name.replace('_', '-')}"
        if name == "options":
            told += [f"--option={key}={number}" for key, number in value.items()]
        else:
            told.append(flag if value is True else f"{flag}={value}")
    return told


@takes_runs()
def run(
    configs: list[RunConfig],
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask failed samples again.")
    ] = False,
) -> None:
    """Answer a data set; interrupted, it goes on where it was.

    Several --method are answered together, each image looked at once.
    """
    from vicrop.run import loop

    folders = loop.run_together(configs, again=retry_failed)
    warn(registry.unread(configs[0].model, configs[0].dataset))
    _report(folders)


def warn(said: str) -> None:
    """Say what a reader should know, if there is something."""
    if said:
        say(f"note: {said}", err=True)


def of_layer(config: RunConfig, layer: int | None) -> str:
    """What to say of a map's layer that nobody chose for its model."""
    if config.layer is not None or config.model in registry.MODELS:
        return ""
    return f"maps are of layer {layer}, as deep as the family's; --layer takes another"


def _report(folders: Iterable[RunFolder]) -> None:
    """Say where whole runs are, and what of them failed: then exit with status 1."""
    failed = []
    for folder in folders:
        say(f"records: {folder.records_file}")
        meta = folder.meta()
        layer = of_layer(folder.config(), meta.get("layer"))
        for note in (*meta.get("notes", ()), layer):
            warn(note)
        failed += [record for record in folder.records() if record.error is not None]
    for record in failed[:10]:
        say(f"failed: {record.id}: {record.error}", err=True)
    if failed:
        typer.echo(
            f"{len(failed)} samples failed; see their `error`, or try them again with "
            "`vicrop run … --retry-failed`",
            err=True,
        )
        raise typer.Exit(FAILED)


@takes_runs(OF_MERGE, needed=("shards",))
def merge(configs: list[RunConfig]) -> None:
    """Put the shards of a run together, if they are whole and of one kind."""
    from vicrop.run import shards

    _report([shards.merge(config) for config in configs])


def status() -> None:
    """Every run and shard: done, failed, missing, speed, and who is at it."""
    from vicrop import paths
    from vicrop.run import checks

    rows = []
    for one in map(checks.status, checks.folders()):
        missing = "?" if one.missing is None else str(one.missing)
        speed = "–" if one.speed is None else f"{one.speed:.2f}"
        counts = (str(one.done), str(one.failed), missing, speed)
        rows.append((one.name, one.state, *counts, one.who))
    say(f"runs in {paths.runs()}: {len(rows)}")
    show(("run", "state", "done", "failed", "missing", "samples/s", "by"), rows)


def verify(
    runs: Runs = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Load the model, compare its hash.")
    ] = False,
) -> None:
    """Whether RUNS are whole and unchanged; refused, with what is wrong, if not."""
    from vicrop.run import checks

    status = 0
    for run in checks.named(runs or ()):
        found = list(checks.verify(run, weights))
        for fault in found:
            say(f"{run.name}: {fault}", err=True)
        if found:
            status = REFUSED
            continue
        failed = sum(record.error is not None for record in run.records())
        said = f"{failed} of them failed samples" if failed else "all well"
        say(f"{run.name}: {run.seal()['count']} records, {said}")
        status = status or (FAILED if failed else 0)
    if status:
        raise typer.Exit(status)


def show(names: Iterable[str], rows: Iterable[Sequence], title: str = "") -> None:
    """A table at the terminal's width, whole where there is none; no text is markup."""
    table = Table(*map(printable, names), title=printable(title))
    for column in table.columns:
        column.overflow = "fold"  # never shortened: names and folders are typed again
    for row in rows:
        table.add_row(*map(printable, row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width, markup=False, emoji=False).print(table)


def say(said: str, err: bool = False) -> None:
    """A line of text from outside."""
    typer.echo(printable(said).replace("\n", " "), err=err)
