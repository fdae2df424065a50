"""Options that several commands of the shell share."""

from typing import Annotated, Any, Literal

import typer

Model = Annotated[
    str, typer.Option(help="Key (see `vicrop models`), folder or hub id.")
]
Method = Annotated[str, typer.Option(help="Map or control, e.g. rel-att, no-crop.")]
Methods = Annotated[
    list[str], typer.Option("--method", help="Map or control; may be given again.")
]
METHODS = ["rel-att"]
"""What ``Methods`` is if none is given; nothing changes it."""
Dataset = Annotated[str, typer.Option(help="Key, or a folder with data.json.")]
Limit = Annotated[int, typer.Option(help="Samples; 0 for all.", min=0)]
Seed = Annotated[int, typer.Option(help="Of the subset and random boxes.")]
Tokens = Annotated[int, typer.Option(help="Of an answer, at most.", min=1)]
BoxesFrom = Annotated[
    str | None,
    typer.Option(help="Crop the boxes of this run's folder again; no map is made."),
]
Shards = Annotated[int, typer.Option(help="Parts that the run is cut into.", min=1)]
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


def numbers(options: list[str] | None) -> dict[str, Any]:
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
