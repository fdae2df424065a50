"""``make bench-shards``: 2,000 questions, whole and in eight shards; and a big plan.

Writes ``sharded.json``: whether the records are the same, what each sample, shard and
merge took, and how long Snakemake plans the largest size of the matrix over made-up
data folders.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import typer
import yaml
from PIL import Image

from benchmarks.__main__ import machine
from data_prep import plates
from vicrop import paths
from vicrop.run import datasets, loop, task
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig
from workflow import matrix
from workflow.plans import MATRIX

FILE = Path(__file__).with_name("sharded.json")
METHODS = ("no-crop", "rel-att")
QUOTA = {"small": 800, "medium": 560, "large": 480, "exists": 160}
LARGEST = "cluster"


def clock(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@contextmanager
def environment(**changes: Path) -> Iterator[None]:
    """With other folders for data and results."""
    with mock.patch.dict(
        os.environ, {key: str(place) for key, place in changes.items()}
    ):
        yield


def draw(place: Path, questions: int) -> int:
    """The `plates` data with about so many questions; how many they became."""
    share = questions / sum(QUOTA.values())
    quota = {kind: round(share * count) for kind, count in QUOTA.items()}
    recipe = plates.with_quota("plates", quota)
    plates.make("plates", place / "data", recipe=recipe)
    return len(datasets.read(place / "data" / "plates" / "data.json"))


def command(shard: int, shards: int, place: Path) -> Callable[[], None]:
    """``vicrop run`` in a process of its own, as the workflow calls it."""
    methods = [f"--method={method}" for method in METHODS]
    part = ["--shard", str(shard), "--shards", str(shards)]
    call = [sys.executable, "-m", "vicrop.cli", "run", *methods, *part]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = os.environ | {"VICROP_DATA": str(place / "data"), "OMP_NUM_THREADS": "1"}
    return lambda: subprocess.run(call, env=env, check=True, **quiet)


def configs(**how: int) -> list[RunConfig]:
    """The runs that are measured."""
    return [RunConfig(method=method, **how) for method in METHODS]


def answering(**how: int) -> float:
    """Seconds of runs that were spent on samples."""
    return sum(RunFolder.of(config).meta()["seconds"] for config in configs(**how))


def whole(place: Path) -> dict[str, Any]:
    """In one piece, in this process: what each sample took, beside the total."""
    spent: list[float] = []
    answer = task.Task.answer

    def timed(self: task.Task, make: Callable) -> Any:
        started = time.perf_counter()
        try:
            return answer(self, make)
        finally:
            spent.append(time.perf_counter() - started)

    with mock.patch.object(task.Task, "answer", timed):
        seconds = clock(lambda: loop.run_together(configs()))
    count = len(METHODS)
    each = [sum(spent[n : n + count]) for n in range(0, len(spent), count)]
    return {"seconds": round(seconds, 3), "samples": [round(one, 5) for one in each]}


def in_shards(place: Path, shards: int) -> list[dict[str, float]]:
    """One process a shard, one after the other."""
    rows = []
    for shard in range(shards):
        seconds = clock(command(shard, shards, place))
        rows.append(
            {
                "seconds": round(seconds, 3),
                "answering": round(answering(shard=shard, shards=shards), 3),
            }
        )
    return rows


def workflow(place: Path, shards: int) -> float:
    """Seconds of the same by Snakemake, one job at a time, merge included."""
    block = {"models": ["tiny-llava"], "datasets": {"plates": list(METHODS)}}
    file = place / "matrix.yaml"
    file.write_text(yaml.safe_dump({"whole": {"runs": [block | {"shards": shards}]}}))
    results = Path(os.environ["VICROP_RESULTS"])
    target = results / "work" / "tiny-llava__all__plates" / "whole.done"
    return clock(lambda: snakemake(place, file, "whole", str(target), "--cores", "1"))


def snakemake(place: Path, file: Path, size: str, *told: str) -> str:
    """The workflow over a place's data; what it says."""
    made = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--nolock", *told),
            *("--config", f"size={size}", f"matrix={file}"),
        ],
        cwd=paths.ROOT,
        env=os.environ | {"VICROP_DATA": str(place / "data")},
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise RuntimeError(f"snakemake failed:\n{made.stderr[-3000:]}")
    return made.stdout + made.stderr


def records(folder: Path) -> dict[str, bytes]:
    """Records of whole runs, by run."""
    return {
        file.parent.name: file.read_bytes()
        for file in folder.glob("runs/*/records.jsonl")
    }


def big_plan(place: Path) -> dict[str, Any]:
    """How long it takes to plan the largest size, dry, over made-up data."""
    asked, _ = matrix.chosen(MATRIX, LARGEST)
    for name in dict.fromkeys(config.dataset for config in asked):
        pretend(place / "data" / name)
    told = ""

    def plan() -> None:
        nonlocal told
        told = snakemake(place, MATRIX, LARGEST, "-n", "pages")

    seconds = clock(plan)
    jobs = {
        line.split()[0]: int(line.split()[1])
        for line in told.splitlines()
        if line.partition(" ")[0].isidentifier() and line.split()[-1].isdecimal()
    }
    return {
        "size": LARGEST,
        "runs": len(asked),
        "seconds": round(seconds, 2),
        "jobs": jobs,
    }


def pretend(folder: Path) -> None:
    """A data set of one question."""
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(folder / "images" / "0.png")
    row = {"id": "0", "question": "?", "labels": ["a"], "image_path": "0.png"}
    (folder / "data.json").write_text(json.dumps([row | {"boxes": [[0, 0, 9, 9]]}]))


def main(
    questions: Annotated[int, typer.Option(help="About so many.", min=1)] = 2000,
    shards: Annotated[int, typer.Option(help="Of the run.", min=2)] = 8,
    out: Annotated[Path, typer.Option(help="The JSON.")] = FILE,
) -> None:
    """Measure shards beside a run in one piece; exit status 1 if records differ."""
    place = Path(tempfile.mkdtemp(prefix="vicrop-shards-"))
    with environment(VICROP_DATA=place / "data"):
        asked = draw(place, questions)
        with environment(VICROP_RESULTS=place / "whole"):
            one_piece = whole(place)
            expected = records(place / "whole")
        with environment(VICROP_RESULTS=place / "processes"):
            rows = in_shards(place, shards)
            merging = clock(
                lambda: [merged(config) for config in configs(shards=shards)]
            )
            by_hand = records(place / "processes")
        with environment(VICROP_RESULTS=place / "workflow"):
            seconds = workflow(place, shards)
            by_workflow = records(place / "workflow")
    with environment(VICROP_RESULTS=place / "big"):
        planned = big_plan(place / "made-up")
    found = {
        "machine": machine(),
        "methods": METHODS,
        "questions": asked,
        "whole": one_piece,
        "shards": rows,
        "merge_seconds": round(merging, 3),
        "workflow_seconds": round(seconds, 3),
        "identical": expected == by_hand == by_workflow,
        "plan": planned,
    }
    out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    shutil.rmtree(place)
    typer.echo(f"{asked} questions, {shards} shards: identical {found['identical']}")
    raise typer.Exit(0 if found["identical"] else 1)


def merged(config: RunConfig) -> RunFolder:
    """A run's shards put together."""
    from vicrop.run import shards

    return shards.merge(config)


if __name__ == "__main__":
    typer.run(main)
