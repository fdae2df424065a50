"""``vicrop answer | run | merge | status | verify | score | models``, from a shell.

``vicrop prep`` is the ``data_prep`` package's, found by its entry point.
"""

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from vicrop import methods
from vicrop.run import cli as runcli
from vicrop.run.progress import STOPPED, Stopped
from vicrop.run.records import RunConfig

if TYPE_CHECKING:
    from vicrop.adapters import ModelSpec

OF_ANSWER = ("model", "method", "device", "dtype", "fit", "geometry", "options")
"""Fields of RunConfig that ``answer`` takes."""

app = typer.Typer(
    help="Visual cropping for multimodal LLMs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
@runcli.takes_runs(OF_ANSWER)
def answer(
    configs: list[RunConfig],
    image: Path,
    question: str,
    family: Annotated[
        str | None, typer.Option(help="Of a model without a key.")
    ] = None,
    high_res: Annotated[
        Literal["yes", "no", "auto"],
        typer.Option(help="Map made tile by tile; auto: above 1024 pixels a side."),
    ] = "no",
    save_figure: Annotated[
        Path | None, typer.Option(help="Write map, box and crop as a picture.")
    ] = None,
) -> None:
    """Ask a question about an image, look, crop, and ask again."""
    from vicrop import adapters, images, pipeline
    from vicrop.types import check_question

    config = configs[-1]
    method = methods.resolve(config.method)
    check_question(question)
    picture = images.load(image)
    options: dict[str, Any] = config.options  # as keywords: checked in ``load``
    vlm = adapters.load(
        config.model,
        family=family,
        device=config.device,
        dtype=config.dtype,
        **options,
    )
    said = pipeline.ViCrop(vlm).answer(
        picture,
        question,
        method,
        high_res={"yes": True, "no": False}.get(high_res, "auto"),
        fit=config.fit,
        geometry=config.geometry,
    )
    typer.echo(f"without a crop: {said.plain}")
    if said.box is not None:
        typer.echo(f"with the crop {tuple(said.box)}: {said.text}")
    if save_figure is not None:
        from vicrop import plots

        plots.answer_panel(picture, said).savefig(save_figure, dpi=150)
        typer.echo(f"figure: {save_figure}")


@app.command()
def score(
    runs: list[Path],
    out: Annotated[
        Path | None, typer.Option(help="Where the tables go; default: beside the runs.")
    ] = None,
) -> None:
    """Scores of RUNS (folders), official and the authors'; several are compared."""
    from vicrop import paths
    from vicrop.run import scores
    from vicrop.run.folder import RunFolder

    folders = [RunFolder(path) for path in runs]
    cards = [scores.card(run) for run in folders]
    shown = [(one[0].run, scores.readable(one).drop(columns="run")) for one in cards]
    shown += [(f"against {folders[0].name}", scores.compared(folders))]
    for title, made in shown:
        table = Table(*made.columns, title=title)
        for row in made.itertuples(index=False):
            table.add_row(*map(str, row))
        if len(made):
            runcli.show(table)
    for note in (note for one in cards for note in scores.notes(one)):
        typer.echo(f"note: {note}")
    for file in scores.write(sum(cards, []), out or paths.results() / "scores"):
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
    runcli.show(table)


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


for one in (runcli.run, runcli.merge, runcli.status, runcli.verify):
    app.command()(one)
for command in entry_points(group="vicrop.commands"):
    app.command(command.name)(command.load())


def main() -> None:
    """Entry point: a caller's mistake is one line on stderr and exit status 2.

    A run that a signal stopped exits with status 75: the same command goes on.
    """
    try:
        app()
    except Stopped as stopped:
        typer.echo(f"vicrop: {stopped}", err=True)
        sys.exit(STOPPED)
    except (ValueError, OSError, RuntimeError) as error:
        line = " ".join(str(error).split())
        typer.echo(f"vicrop: {line}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
