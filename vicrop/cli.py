"""``vicrop answer | run | merge | status | verify | score | models``, from a shell.

``vicrop prep`` is the ``data_prep`` package's, found by its entry point.
"""

import os
import sys
import traceback
from importlib.metadata import entry_points
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vicrop.adapters import registry
from vicrop.run import cli as runcli
from vicrop.run.folder import Refused
from vicrop.run.progress import Stopped
from vicrop.run.records import RunConfig
from vicrop.types import check_question, known

if TYPE_CHECKING:
    from vicrop.adapters import ModelSpec

OF_ANSWER = (
    *("model", "family", "layer", "method", "device", "dtype"),
    *("fit", "geometry", "options", "crop_policy", "crops"),
)
"""Fields of RunConfig that ``answer`` takes."""

app = typer.Typer(
    help="Visual cropping for multimodal LLMs.",
    epilog="Exit status: 0 whole; 1 whole, but samples failed; 2 refused, something is "
    "to be mended first; 75 stopped, the same command goes on; 70 a mistake of ours.",
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
    high_res: Annotated[
        Literal["yes", "no", "auto"],
        typer.Option(help="Map made tile by tile; auto: above 1024 pixels a side."),
    ] = "no",
    save_figure: Annotated[
        Path | None, typer.Option(help="Write map, box and crop as a picture.")
    ] = None,
) -> None:
    """Ask a question about an image, look, crop, and ask again."""
    from vicrop import geometry, images, pipeline
    from vicrop.run import provenance

    config = configs[-1]
    check_question(question)
    picture = images.load(image, _note)
    figure = None if save_figure is None else _figure_file(save_figure)
    vlm = provenance.load(config)
    fit = config.fit or vlm.facts.fit
    seen = geometry.seen(fit, picture.size)
    if seen < geometry.LITTLE:
        _note(str(image), f"{seen:.0%} of it is seen (fit {fit}); --fit pad shows all")
    said = pipeline.ViCrop(vlm).answer(
        picture,
        question,
        config.method,
        high_res={"yes": True, "no": False}.get(high_res, "auto"),
        fit=config.fit,
        geometry=config.geometry,
        policy=config.crop_policy,
        crops=config.crops,
    )
    runcli.say(f"without a crop: {said.plain}")
    runcli.warn(registry.unread(config.model, image))
    runcli.warn(runcli.of_layer(config, vlm.layer))
    if said.box is not None:
        crops = ", ".join(str(tuple(box)) for box in (said.box, *said.further))
        runcli.say(f"with the crop {crops}: {said.text}")
    if figure is not None:
        from vicrop import plots

        plots.answer_panel(picture, said).savefig(figure, dpi=150)
        runcli.say(f"figure: {figure}")


def _figure_file(path: Path) -> Path:
    """The file that a figure will be in, a picture's, if it can be written."""
    from matplotlib.backend_bases import FigureCanvasBase

    file = path if path.suffix else path.with_suffix(".png")
    endings = FigureCanvasBase.get_supported_filetypes()
    known(file.suffix[1:].lower(), endings, f"kind of picture, {path}:")
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise OSError(f"{file} cannot be written; is its folder there, and writable?")
    return file


def _note(name: str, what: str) -> None:
    runcli.say(f"note: {name}: {what}", err=True)


@app.command()
def score(
    runs: runcli.Runs = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the tables go; default: beside the runs.")
    ] = None,
) -> None:
    """Scores of RUNS (folders), official and the authors'; several are compared."""
    import pandas as pd

    from vicrop import paths
    from vicrop.run import checks, scores

    folders = checks.named(runs or ())
    cards = [scores.card(run) for run in folders]
    tables = [scores.readable(one).drop(columns="run") for one in cards]
    shown = [(run.folder.name, one) for run, one in zip(folders, tables, strict=True)]
    shown += [(f"against {folders[0].name}", scores.compared(folders))]
    for title, made in shown:
        if len(made):
            runcli.show(made.columns, made.itertuples(index=False), title)
    for note in (note for one in cards for note in scores.notes(one)):
        runcli.say(f"note: {note}")
    for file in scores.write(pd.concat(cards), out or paths.results() / "scores"):
        runcli.say(f"written: {file}")


@app.command()
def models() -> None:
    """The models that have a key: what they are, and whether their weights are here."""
    from vicrop.adapters import MODELS

    names = "key family parameters grid layer licence weights here".split()
    rows = [
        (
            key,
            spec.family,
            _count(spec.parameters),
            "×".join(map(str, spec.grid or "?")),
            str(spec.layer),
            spec.licence,
            _weights(spec),
            "yes" if spec.is_here() else "no",
        )
        for key, spec in MODELS.items()
    ]
    runcli.show(names, rows)


def _weights(spec: "ModelSpec") -> str:
    """Where a model's weights come from."""
    pin = spec.revision or "not pinned to a commit"
    hub = f"{spec.source}, {spec.size_gb:g} GB\n{pin}"
    return hub if spec.folder is None else "this package"


def _count(parameters: float) -> str:
    """A number of parameters, in millions or billions."""
    if not parameters:
        return "?"
    billions = parameters >= 1e9
    return f"{parameters / (1e9 if billions else 1e6):.3g} {'B' if billions else 'M'}"


@app.command("paths")
def where() -> None:
    """Where data sets, runs and weights are, and why there."""
    from vicrop import paths

    runcli.show(("what", "folder", "why"), paths.places())


for one in (runcli.run, runcli.merge, runcli.status, runcli.verify):
    app.command()(one)
for command in entry_points(group="vicrop.commands"):
    app.command(command.name)(command.load())


MEMORY = ("MemoryError", "OutOfMemoryError")
"""Python's, and torch's, which is not imported here."""

INTERRUPTED = 130
"""What typer makes of Ctrl-C where no run handles it."""


def main() -> None:
    """Entry point: a caller's mistake is one line on stderr; statuses are the help's.

    What nobody foresaw shows where it happened, and is never taken for a whole run.
    """
    _open_streams()
    try:
        app()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
        gone = isinstance(ended.__context__, BrokenPipeError)  # what typer ends with 1
        if gone or status == INTERRUPTED:
            status = _said("stopped; run the same again to go on", runcli.STOPPED)
    except (ValueError, OSError, Refused) as error:
        status = _said(str(error), runcli.REFUSED)
    except Stopped as stopped:
        status = _said(str(stopped), runcli.STOPPED)
    except BaseException as error:  # panics of Rust's libraries are no Exception
        if type(error).__name__ in MEMORY:
            told = "memory does not suffice; take --dtype bfloat16 or a smaller model"
            sys.exit(_said(told, runcli.REFUSED))
        traceback.print_exc()
        status = _said("this should not happen; please report it", runcli.UNEXPECTED)
    sys.exit(status)


def _open_streams() -> None:
    """Let streams that the caller closed lead nowhere; escape what one cannot write."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # or its number would be that of the next file
            setattr(sys, name, open(os.devnull, "r+"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a notebook's is none
            stream.reconfigure(errors="backslashreplace")


def _said(text: str, status: int) -> int:
    """The status, once the text is one line on stderr."""
    runcli.say(f"vicrop: {' '.join(text.split())}", err=True)
    return status


if __name__ == "__main__":
    main()
