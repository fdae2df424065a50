"""The README's table of results: from records to a committed file, and from it.

``python -m workflow.readme`` writes the table anew from ``book/numbers.json``; with
``--from-runs`` that file is first made from the runs that are here.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from vicrop import paths
from vicrop.run import jsonl
from vicrop.run.stats import Estimate
from workflow import tables

DATASET, GROUP = "plates", "small"
PLAIN = "no-crop"
METHODS = ("rel-att", "grad-att", "pure-grad", "human-crop", "random-crop")
BEGIN, END = "<!-- results: `make readme` writes this table -->", "<!-- /results -->"

Numbers = dict[str, Any]
"""Data set, size group, and of each model its accuracy without a crop, and gains."""


def numbers_file() -> Path:
    """The committed numbers."""
    return paths.ROOT / "book" / "numbers.json"


def readme_file() -> Path:
    """The README."""
    return paths.ROOT / "README.md"


def measured() -> Numbers:
    """The numbers of the runs that are here.

    Raises:
        FileNotFoundError: if no model has all of them.
    """
    from vicrop.adapters.registry import MODELS

    found = tables.by_model(list(MODELS), DATASET, GROUP)
    whole = [
        {"model": model, **_of_model(runs)}
        for model, runs in found.items()
        if {PLAIN, *METHODS} <= set(runs)
    ]
    if not whole:
        raise FileNotFoundError(
            f"no model has finished runs of {PLAIN}, {', '.join(METHODS)} on {DATASET} "
            f"in {paths.runs()}; `make book` makes them"
        )
    return {"dataset": DATASET, "group": GROUP, "models": whole}


def _of_model(runs: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    made = {name: tables.summary(runs[name]) for name in (PLAIN, *METHODS)}
    return {
        "plain": _plain(made[PLAIN].score),
        "gains": {name: _plain(made[name].gain) for name in METHODS},
        "failed": sum(one.errors for one in made.values()),
    }


def _plain(found: Estimate) -> dict[str, float | None]:
    """An estimate for the file: as many digits as two machines agree on.

    JSON has no NaN: an end that there is not is None.
    """
    told = asdict(found).items()
    return {key: None if value != value else round(value, 6) for key, value in told}


def table(numbers: Numbers) -> str:
    """The numbers as Markdown: percent, and points with 95 % intervals."""
    rows = [
        {
            "model": f"`{found['model']}`",
            "image alone, %": _shown(found["plain"]),
            **{name: _shown(found["gains"][name], sign=True) for name in METHODS},
            "n": _counts(
                [found["plain"], *found["gains"].values()], found.get("failed", 0)
            ),
        }
        for found in numbers["models"]
    ]
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _shown(found: Mapping[str, Any], sign: bool = False) -> str:
    told: Any = {k: math.nan if value is None else value for k, value in found.items()}
    return Estimate(**told).format(1, sign=sign, scale=100)


def _counts(found: Iterable[Mapping[str, Any]], failed: int) -> str:
    """How many questions, from and to where samples failed, and how many did."""
    counts = sorted({int(one["n"]) for one in found})
    said = "–".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
    return f"{said} ({failed} failed)" if failed else said


def with_table(text: str, made: str) -> str:
    """A README with another table between its two markers.

    Raises:
        ValueError: if the markers are not there, each once and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in before + after:
        raise ValueError(f"the README has not once {BEGIN!r} and then {END!r}")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def as_text(numbers: Numbers) -> str:
    """The numbers as the file has them."""
    return json.dumps(numbers, indent=1) + "\n"


def read_numbers() -> Numbers:
    """The committed numbers."""
    return json.loads(numbers_file().read_text(encoding="utf-8"))


def main(
    from_runs: Annotated[
        bool, typer.Option("--from-runs", help="First take the runs' numbers.")
    ] = False,
) -> None:
    """Write the README's table of results."""
    if from_runs:
        jsonl.replace(numbers_file(), [as_text(measured())])
    readme = readme_file()
    text = with_table(readme.read_text(encoding="utf-8"), table(read_numbers()))
    jsonl.replace(readme, [text])
    typer.echo(f"{readme}: {len(read_numbers()['models'])} models")


if __name__ == "__main__":
    typer.run(main)
