"""``make fuzz``: the command line's promises against thousands of drawn inputs.

The suite tries a few of them, the same every time (``tests/field/test_promises.py``);
here they are others each time. What breaks a promise is told as small as it can be
made. Report: ``tests/field/fuzzed.json``.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from hypothesis import Phase
from tqdm import tqdm

from tests.field import promises
from vicrop import paths

REPORT = paths.ROOT / "tests" / "field" / "fuzzed.json"
PHASES = (Phase.generate, Phase.target, Phase.shrink)


def tried(name: str, examples: int) -> dict:
    """What the report says of a promise."""
    tally = promises.Tally()
    try:
        promises.tried(name, examples, tally, derandomize=False, phases=PHASES)
    except* promises.Broken as broken:
        tally.failures += [str(error) for error in _all(broken)]
    keep, _ = promises.PROMISES[name]
    return {
        "promise": (keep.__doc__ or "").strip(),
        "examples": tally.examples,
        "statuses": {str(key): tally.statuses[key] for key in sorted(tally.statuses)},
        "failures": tally.failures,
    }


def _all(group: BaseExceptionGroup) -> list[BaseException]:
    """What is in a group, groups in it too."""
    return [
        error
        for one in group.exceptions
        for error in (_all(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]


def main(
    examples: Annotated[int, typer.Option(help="Of each promise.", min=1)] = 500,
    only: Annotated[list[str] | None, typer.Option(help="These promises.")] = None,
    out: Annotated[Path, typer.Option(help="The report.")] = REPORT,
) -> None:
    """Try every promise; exit status 1 if one is broken."""
    started = time.monotonic()
    names = only or list(promises.PROMISES)
    report = {name: tried(name, examples) for name in tqdm(names)}
    seconds = round(time.monotonic() - started)
    text = json.dumps({"seconds": seconds, "promises": report}, indent=1)
    out.write_text(text + "\n")
    typer.echo(text)
    raise typer.Exit(any(one["failures"] for one in report.values()))


if __name__ == "__main__":
    typer.run(main)
