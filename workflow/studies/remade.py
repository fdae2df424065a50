"""A sample of the long studies' answers, made again at every build and compared.

``python -m workflow.studies.remade`` ends with status 2 where one differs from its
record.
"""

import datetime
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import typer

from vicrop.run import datasets, jsonl, provenance
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record
from workflow import plans, studies

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter

SAME = (
    *("plain", "answer", "box", "further", "gated", "error"),
    *("plain_score", "score", "coverage"),
)
"""What is compared; not features, whose last digits are a processor's own."""


def file() -> Path:
    """What the last sample gave."""
    return studies.unpacked_home() / "remade.json"


def drawn(count: int, seed: int) -> list[tuple[RunFolder, Record]]:
    """Records of the studies at random, each as likely, run by run."""
    runs = [RunFolder(folder) for folder in sorted(studies.unpacked().iterdir())]
    ends = np.cumsum([run.meta()["records"]["count"] for run in runs])
    total, rng = int(ends[-1]), np.random.default_rng(seed)
    places = np.sort(rng.choice(total, min(count, total), replace=False))
    numbers = np.searchsorted(ends, places, side="right")
    return [
        (runs[number], list(runs[number].records())[place - ends[number]])
        for number, place in zip(numbers, places, strict=True)
    ]


def differences(
    run: RunFolder, record: Record, vlm: "Adapter", weights: str
) -> Iterator[str]:
    """What is not as a record has it when its sample is answered again, a line each.

    Args:
        run: of the record.
        record: of a sample.
        vlm: the run's model.
        weights: its hash.
    """
    from vicrop.run.batches import Looker
    from vicrop.run.loop import record_of

    config = run.config()
    if config.gate is not None:
        beside = run.folder.parent / Path(config.gate).name
        config = config.model_copy(update={"gate": str(beside)})
    now = provenance.identity(config, weights)
    for name in ("data", "weights"):
        if run.meta()["identity"][name] != now[name]:
            yield f"{run.name}: other {name} than here"
    samples = {sample.id: sample for sample in datasets.load(config.dataset)}
    if record.id not in samples:
        return
    with closing(Looker(vlm, config)) as look:
        made, _ = record_of(look, config, samples[record.id])
    for name in SAME:
        was, is_now = getattr(record, name), getattr(made, name)
        if was != is_now:
            yield f"{run.name}, {record.id}: {name} was {was!r}, is {is_now!r}"


def remake(count: int, day: datetime.date) -> tuple[dict[str, Any], list[str]]:
    """Answer a day's sample again.

    Returns:
        What to tell of it, and all that differs, a line each.
    """
    seed, loaded = day.toordinal(), {}
    wrong: list[str] = []
    rows = []
    for run, record in drawn(count, seed) if count else ():
        config = run.config()
        key = config.model_dump_json(include={"model", "layer", "dtype", "options"})
        if key not in loaded:
            vlm = provenance.load(config)
            loaded[key] = vlm, provenance.weights_hash(vlm)
        wrong += differences(run, record, *loaded[key])
        rows.append({"run": run.name, "sample": record.id, "answer": record.answer})
    told = {"n": len(rows), "date": day.isoformat(), "seed": seed, "answers": rows}
    return told, list(dict.fromkeys(wrong))


def last(sample: str = "") -> tuple[dict[str, Any], pd.DataFrame]:
    """What a sample gave, and its answers as a table.

    Args:
        sample: JSON that ``main`` wrote; empty for the last one here.
    """
    told = json.loads(Path(sample or file()).read_text(encoding="utf-8"))
    return told, pd.DataFrame(told["answers"], columns=["run", "sample", "answer"])


def main(
    count: Annotated[int, typer.Option(help="Answers; 0 for none.", min=0)] = 24,
    day: Annotated[str, typer.Option(help="Whose sample; default: today's.")] = "",
) -> None:
    """Make a sample of the studies' answers again and compare them."""
    when = datetime.date.fromisoformat(day) if day else datetime.date.today()
    try:
        told, wrong = remake(count, when)
    except (OSError, ValueError) as error:
        plans.stop(f"the long studies cannot be read: {error}")
    if wrong:
        said = f"the long studies of book/studies are not what this code makes ({when})"
        plans.stop("\n".join([said, *wrong, "make them anew: `make studies`"]))
    file().parent.mkdir(parents=True, exist_ok=True)
    jsonl.replace_json(file(), told)
    typer.echo(f"{told['n']} answers of the studies are the same again ({when})")


if __name__ == "__main__":
    typer.run(main)
