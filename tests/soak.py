"""``make soak``: a sharded workflow is killed a hundred times, and loses no line.

A small matrix of three tiny models is made undisturbed. Then it is made again and
again, each time ended by SIGKILL at a random moment: all of its processes, or only the
one that writes records. After each kill the records on the disk are held against those
before it and those of the undisturbed time; once the matrix is whole, its files must be
the same to the last byte, and it begins anew. Report: ``benchmarks/soak.json``.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import psutil
import typer
import yaml
from tqdm import tqdm

from data_prep import plates
from vicrop import paths
from vicrop.run.folder import RunFolder

REPORT = paths.ROOT / "benchmarks" / "soak.json"
QUOTA = {"small": 24, "medium": 10, "large": 8, "exists": 2}
FAULTS = ("records lost", "records doubled", "records wrong", "matrices that differ")
MATRIX = [
    {
        "models": ["tiny-llava"],
        "datasets": {"plates": ["no-crop", "rel-att", "grad-att", "pure-grad"]},
        "shards": 4,
        "save_maps": True,
    },
    {
        "models": ["tiny-instructblip"],
        "datasets": {"plates": ["no-crop", "rel-att", "human-crop"]},
        "shards": 3,
    },
    {
        "models": ["tiny-qwen2.5-vl"],
        "datasets": {"plates-hd": ["no-crop", "rel-att-high"]},
        "shards": 2,
        "batch_size": 2,
    },
]


class Soak:
    """A matrix in a temporary folder, made and killed."""

    def __init__(self, place: Path, chance: random.Random):
        self.place, self.chance = place, chance
        self.matrix = place / "matrix.yaml"
        self.matrix.write_text(yaml.safe_dump({"soak": {"runs": MATRIX}}))
        self.counts: Counter[str] = Counter()
        self.whole: dict[str, bytes] = {}

    def draw(self) -> None:
        """The data, of a few scenes."""
        for name in ("plates", "plates-hd"):
            small = plates.with_quota(name, QUOTA)
            plates.make(name, self.place / "data", progress=False, recipe=small)

    def start(self, results: str) -> subprocess.Popen:
        """The workflow, up to whole runs, in a session of its own."""
        names = ["tiny-llava__all__plates", "tiny-instructblip__all__plates"]
        names += ["tiny-qwen2.5-vl__all__plates-hd"]
        folder = self.place / results
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "snakemake", "--nolock"),
                *("--profile", "workflow/profiles/local"),
                *(str(folder / "work" / name / "whole.done") for name in names),
                *("--config", "size=soak", f"matrix={self.matrix}"),
            ],
            cwd=paths.ROOT,
            env={
                **os.environ,
                "VICROP_DATA": str(self.place / "data"),
                "VICROP_RESULTS": str(folder),
            },
            stdout=subprocess.DEVNULL,
            stderr=(self.place / f"{results}.log").open("a"),
            start_new_session=True,
        )

    def undisturbed(self) -> None:
        """Make it once; what it gives is what every other time must give."""
        if self.start("undisturbed").wait() != 0:
            log = (self.place / "undisturbed.log").read_text()
            raise RuntimeError(f"the matrix cannot be made at all:\n{log[-3000:]}")
        self.whole = self.files("undisturbed")

    def files(self, results: str) -> dict[str, bytes]:
        """Records and maps of the whole runs, by their path."""
        runs = self.place / results / "runs"
        found = [*runs.glob("*/records.jsonl"), *runs.glob("*/maps.jsonl")]
        return {str(file.relative_to(runs)): file.read_bytes() for file in found}

    def shards(self) -> dict[str, set[str]]:
        """The whole lines of each shard's records."""
        runs = self.place / "killed" / "runs"
        return {
            str(file.parent.relative_to(runs)): set(
                file.read_text(errors="replace").splitlines(keepends=True)
            )
            for file in runs.glob("*/shards/*/records.jsonl")
        }

    def once(self) -> None:
        """Start, kill, look; or compare, if it came to its end."""
        before = self.shards()
        process = self.start("killed")
        try:
            process.wait(self.chance.uniform(2, 15))
        except subprocess.TimeoutExpired:
            self.kill(process)
        self.check(before)
        if process.returncode == 0:
            self.compare()

    def kill(self, process: subprocess.Popen) -> None:
        """SIGKILL to a writer alone, now and then, or to all there are."""
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        writers = [one for one in family[1:] if "run" in _command(one)]
        alone = bool(writers) and self.chance.random() < 0.4
        self.counts["kills of a writer alone" if alone else "kills of everything"] += 1
        for one in [self.chance.choice(writers)] if alone else family:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue  # it was faster
        process.wait()
        psutil.wait_procs(family[1:], timeout=60)

    def check(self, before: dict[str, set[str]]) -> None:
        """No line that was there is gone or changed; none is there twice."""
        known = {
            line
            for name, text in self.whole.items()
            if name.endswith("records.jsonl")
            for line in text.decode().splitlines(keepends=True)
        }
        after = self.shards()
        for name, lines in before.items():
            kept = {line for line in lines if line.endswith("\n")}
            self.counts["records lost"] += len(kept - after.get(name, set()))
        for name in after:
            run = RunFolder(self.place / "killed" / "runs" / name)
            found = [line for line in run.lines() if line.text.endswith("\n")]
            ids = Counter(line.record.id for line in found if line.record)
            self.counts["records doubled"] += sum(n - 1 for n in ids.values())
            self.counts["records wrong"] += sum(one.text not in known for one in found)
            self.counts["records looked at"] += len(found)

    def compare(self) -> None:
        """The matrix is whole: the same bytes as undisturbed; then it begins anew."""
        same = self.files("killed") == self.whole
        self.counts["matrices made"] += 1
        self.counts["matrices that differ"] += not same
        for file in (self.place / "killed" / "runs").glob("*/shards/*/meta.json"):
            for note in json.loads(file.read_text()).get("notes", []):
                self.counts[f"notes: {_kind(note)}"] += 1
        shutil.rmtree(self.place / "killed")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _kind(note: str) -> str:
    for kind in ("torn last line", "taken over", "taken out", "out of memory"):
        if kind in note:
            return kind
    return note


def main(
    kills: Annotated[int, typer.Option(help="How many.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Of their moments.")] = 0,
    out: Annotated[Path, typer.Option(help="The report.")] = REPORT,
) -> None:
    """Kill a sharded matrix so many times; exit status 1 if a record suffered."""
    started = time.monotonic()
    os.environ["MALLOC_MMAP_MAX_"] = "0"
    with tempfile.TemporaryDirectory(prefix="vicrop-soak-") as place:
        soak = Soak(Path(place), random.Random(seed))
        soak.draw()
        soak.undisturbed()
        bar = tqdm(desc="kills", total=kills)
        while (done := _kills(soak)) < kills:
            soak.once()
            bar.update(_kills(soak) - done)
        bar.close()
        while not soak.counts["matrices made"] or (Path(place) / "killed").exists():
            if soak.start("killed").wait() == 0:
                soak.compare()
    report = {"kills": kills, "seed": seed, **dict(sorted(soak.counts.items()))}
    report |= {
        "records and maps of a matrix": sum(t.count(b"\n") for t in soak.whole.values())
    }
    report |= {"seconds": round(time.monotonic() - started)}
    out.write_text(json.dumps(report, indent=1) + "\n")
    typer.echo(out.read_text())
    raise typer.Exit(1 if any(soak.counts[fault] for fault in FAULTS) else 0)


def _kills(soak: Soak) -> int:
    return sum(n for name, n in soak.counts.items() if name.startswith("kills of"))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    typer.run(main)
