"""``vicrop prep``: a data set's original files -> its folder in the unified format."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import data_prep
from vicrop import paths
from vicrop.run import cli as runcli
from vicrop.run.folder import Refused

if TYPE_CHECKING:
    from data_prep.dataset import DataSet
    from data_prep.download.fetch import Row
    from data_prep.unified.build import Built

Source = Annotated[
    list[Path] | None,
    typer.Option(help="Folder with the original files; may be given several times."),
]


def prep(
    dataset: Annotated[str, typer.Argument(help="Key, e.g. textvqa.")],
    source: Source = None,
    mirror: Annotated[bool, typer.Option(help="Fetch parquet from the hub.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(help="Random subset; 0: all (default, but vqav2: 50000).", min=0),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of subset and shuffled options.", min=0)
    ] = 0,
    yes: Annotated[bool, typer.Option(help="Fetch without asking.")] = False,
    replace: Annotated[bool, typer.Option(help="Make anew what is there.")] = False,
) -> None:
    """Make DATASET from its original files; without --source they are fetched."""
    from vicrop.run import datasets

    if dataset in set(datasets.MAKERS) - set(data_prep.MODULES):
        _draw(dataset, asked=bool(source or mirror or limit))
        return
    if source and mirror:
        raise ValueError("--source and --mirror say two places; give one of them")
    from data_prep.download import fetch
    from data_prep.originals.search import Originals
    from data_prep.unified import build, place

    facts, root = data_prep.get(dataset), paths.data()
    limit = facts.limit if limit is None else limit
    same = {"dataset": dataset, "limit": limit, "seed": seed}
    standing = place.found(root / dataset, same)
    if standing and not (source or mirror or replace):
        _tell(build.Built(root / dataset, standing, fresh=False))
        return
    folders, origin = source or [], {}
    if not source:
        agree = partial(_agree, facts, yes=yes)
        store = root / "originals"
        folders, origin = fetch.fetch(facts, store, mirror, limit, seed, agree)
    originals = Originals(folders)
    _tell(build.build(facts, originals, root, limit, seed, replace, origin))


def _draw(dataset: str, asked: bool) -> None:
    """Draw scenes; ``asked``: whether for what only originals have."""
    if asked:
        raise ValueError(
            f"{dataset} is drawn, not made from files; leave --source, --mirror and "
            "--limit out"
        )
    from data_prep import plates

    typer.echo(f"{dataset}: {plates.make(dataset, paths.data())}")


def _agree(facts: "DataSet", plan: "list[Row]", yes: bool) -> None:
    """Show what will be fetched, and ask.

    Raises:
        Refused: if there is nobody to ask.
    """
    sizes = ["?" if row.gigabytes is None else f"{row.gigabytes:g}" for row in plan]
    named = zip(plan, sizes, strict=True)
    rows = [(row.name, row.source, size, row.state) for row, size in named]
    runcli.show(("file", "from", "GB, about", "state"), rows, facts.title)
    typer.echo(f"licence: {facts.licence}")
    if yes or all(row.state == "here" for row in plan):
        return
    if not sys.stdin.isatty():
        raise Refused("nothing was fetched: add --yes to fetch unasked")
    typer.confirm("fetch these files?", abort=True)


def _tell(built: "Built") -> None:
    """What was made, and how its counts stand to the published ones."""
    note = built.note
    counts = note["counts"]
    made = "made" if built.fresh else "is there already, unchanged"
    typer.echo(
        f"{note['dataset']}: {made}: {built.folder}\n"
        f"  {counts['questions']} questions, {counts['images']} pictures, "
        f"{counts['with_boxes']} questions with a box (layout: {note['layout']})"
    )
    for what in ("questions", "images"):
        found, published = counts[f"{what}_in_source"], counts[f"{what}_published"]
        if published is not None and found != published:
            typer.echo(
                f"  note: the source has {found} {what}, published are {published}"
            )
    if note["note"]:
        typer.echo(f"  note: {note['note']}")
