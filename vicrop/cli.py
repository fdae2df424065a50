"""``vicrop answer | run | score | models``: the package from a shell.

``vicrop prep`` is the ``data_prep`` package's, found by its entry point.
"""

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from vicrop.adapters import ModelSpec

app = typer.Typer(
    help="Visual cropping for multimodal LLMs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[
    str, typer.Option(help="Key (see `vicrop models`), folder or hub id.")
]
Method = Annotated[str, typer.Option(help="Map or control, e.g. rel-att, no-crop.")]
Family = Annotated[str | None, typer.Option(help="Of a model without a key.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, …")]
Dtype = Annotated[str, typer.Option(help="float32, float16 or bfloat16.")]
Fit = Annotated[
    Literal["pad", "squash", "centre-crop"] | None,
    typer.Option(help="How images are made square; default: as the processor does."),
]
Geometry = Annotated[
    Literal["exact", "upstream"],
    typer.Option(help="upstream: maps laid over the whole image, as the authors do."),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="KEY=VALUE of the family, e.g. max_pixels=200704."),
]


@app.command()
def answer(
    image: Path,
    question: str,
    model: Model = "tiny-llava",
    method: Method = "rel-att",
    family: Family = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    fit: Fit = None,
    geometry: Geometry = "exact",
    high_res: Annotated[
        Literal["yes", "no", "auto"],
        typer.Option(help="Map made tile by tile; auto: above 1024 pixels a side."),
    ] = "no",
    option: Options = None,
    save_figure: Annotated[
        Path | None, typer.Option(help="Write map, box and crop as a picture.")
    ] = None,
) -> None:
    """Ask a question about an image, look, crop, and ask again."""
    from vicrop import adapters, images, pipeline
    from vicrop.types import check_question

    method = pipeline.resolve(method)
    check_question(question)
    picture = images.load(image)
    vlm = adapters.load(
        model, family=family, device=device, dtype=dtype, **_numbers(option)
    )
    said = pipeline.ViCrop(vlm).answer(
        picture,
        question,
        method,
        high_res={"yes": True, "no": False}.get(high_res, "auto"),
        fit=fit,
        geometry=geometry,
    )
    typer.echo(f"without a crop: {said.plain}")
    if said.box is not None:
        typer.echo(f"with the crop {tuple(said.box)}: {said.text}")
    if save_figure is not None:
        from vicrop import plots

        plots.answer_panel(picture, said).savefig(save_figure, dpi=150)
        typer.echo(f"figure: {save_figure}")


@app.command()
def run(
    model: Model = "tiny-llava",
    method: Method = "rel-att",
    dataset: Annotated[str, typer.Option(help="Key, or a folder with data.json.")] = (
        "plates"
    ),
    limit: Annotated[int, typer.Option(help="Samples; 0 for all.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Of the subset and random boxes.")] = 0,
    layer: Annotated[int | None, typer.Option(help="Of the map, from 0.")] = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    fit: Fit = None,
    geometry: Geometry = "exact",
    option: Options = None,
) -> None:
    """Answer a data set; interrupted, it goes on where it was."""
    from vicrop.run import failures
    from vicrop.run import run as run_all
    from vicrop.types import RunConfig

    config = RunConfig(
        model=model,
        method=method,
        dataset=dataset,
        limit=limit,
        seed=seed,
        layer=layer,
        device=device,
        dtype=dtype,
        fit=fit,
        geometry=geometry,
        options=_numbers(option),
    )
    folder = run_all(config)
    failed = failures(folder)
    typer.echo(f"records: {folder.records_file}")
    for record in failed[:10]:
        typer.echo(f"failed: {record.id}: {record.error}", err=True)
    if failed:
        typer.echo(f"{len(failed)} samples failed; see their `error`", err=True)
        raise typer.Exit(1)


@app.command()
def score(
    runs: list[Path],
    out: Annotated[
        Path | None, typer.Option(help="Where the tables go; default: beside the runs.")
    ] = None,
) -> None:
    """Scores of RUNS (their folders), official and the authors', by group."""
    from vicrop import paths, results, scorecard

    lines: list[scorecard.Line] = []
    for path in runs:
        found = scorecard.card(results.RunFolder(path))
        lines += found
        made = scorecard.readable(found).drop(columns="run")
        table = Table(*made.columns, title=path.name)
        for row in made.itertuples(index=False):
            table.add_row(*map(str, row))
        _print(table)
    for file in scorecard.write(lines, out or paths.results() / "scores"):
        typer.echo(f"written: {file}")


@app.command()
def models() -> None:
    """The models that have a key: what they are, and whether their weights are here."""
    from vicrop.adapters import MODELS

    names = ("key", "family", "parameters", "grid", "layer", "licence", "weights")
    table = Table(*names, "here")
    for key, spec in MODELS.items():
        table.add_row(
            key,
            spec.family,
            _count(spec.parameters),
            "×".join(map(str, spec.grid or "?")),
            str(spec.map_layer),
            spec.licence,
            _weights(spec),
            "yes" if spec.is_here() else "no",
        )
    _print(table)


def _weights(spec: "ModelSpec") -> str:
    """Where a model's weights come from."""
    if spec.folder is not None:
        return "this package"
    pin = spec.revision or "not pinned to a commit"
    return f"{spec.source}, {spec.size_gb:g} GB\n{pin}"


def _count(parameters: float) -> str:
    """A number of parameters, in millions or billions."""
    if not parameters:
        return "?"
    billions = parameters >= 1e9
    return f"{parameters / (1e9 if billions else 1e6):.3g} {'B' if billions else 'M'}"


def _numbers(options: list[str] | None) -> dict[str, int]:
    """``KEY=VALUE`` pairs as keyword arguments.

    Raises:
        ValueError: for one of another form.
    """
    pairs = [option.partition("=") for option in options or []]
    for (key, _, value), option in zip(pairs, options or [], strict=True):
        if not (key.isidentifier() and value.isdecimal()):
            raise ValueError(
                f"--option {option!r} is not KEY=VALUE with a whole number, such as "
                "max_pixels=200704"
            )
    return {key: int(value) for key, _, value in pairs}


def _print(table: Table) -> None:
    """At the terminal's width; whole where there is none."""
    Console(width=None if sys.stdout.isatty() else 160).print(table)


for command in entry_points(group="vicrop.commands"):
    app.command(command.name)(command.load())


def main() -> None:
    """Entry point: a caller's mistake is one line on stderr and exit status 2."""
    try:
        app()
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        line = " ".join(str(error).split())
        typer.echo(f"vicrop: {line}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
