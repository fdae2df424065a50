"""What shards cost, and what many workers would give: a simulation over measured times.

Pages read ``benchmarks/sharded.json``; nothing here runs a model.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vicrop import paths

WORKERS = (1, 8, 64, 512)


@dataclass(frozen=True)
class Sharded:
    """What ``make bench-shards`` measured.

    Attributes:
        machine: where and when.
        questions: asked, by each method.
        methods: of the runs that were made together.
        identical: whether merged shards are the run in one piece, byte for byte.
        samples: seconds of each question, all methods together.
        start: seconds of a shard that are not spent on samples, each shard's.
        merge: seconds of putting all shards together.
        workflow: seconds a job that Snakemake adds.
        plan: of the largest size: seconds and counts of jobs.
    """

    machine: Mapping[str, Any]
    questions: int
    methods: tuple[str, ...]
    identical: bool
    samples: np.ndarray
    start: np.ndarray
    merge: float
    workflow: float
    plan: Mapping[str, Any]


def read(file: str | Path = "") -> Sharded:
    """What was measured.

    Args:
        file: JSON of ``make bench-shards``; empty for the repository's own.
    """
    file = Path(file) if file else paths.ROOT / "benchmarks" / "sharded.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    walls = np.array([row["seconds"] for row in found["shards"]])
    spent = np.array([row["answering"] for row in found["shards"]])
    # The workflow makes the same shards, and merges; what is left is its own.
    own = found["workflow_seconds"] - walls.sum() - found["merge_seconds"]
    return Sharded(
        machine=found["machine"],
        questions=found["questions"],
        methods=tuple(found["methods"]),
        identical=found["identical"],
        samples=np.array(found["whole"]["samples"]),
        start=walls - spent,
        merge=found["merge_seconds"],
        workflow=own / (len(walls) + 1),
        plan=found["plan"],
    )


def makespan(jobs: Sequence[float], workers: int, every: float = 0.0) -> float:
    """When the last job ends, if each goes to the first worker that is free.

    Args:
        jobs: seconds of each, in the order in which they are handed out.
        workers: that take them.
        every: seconds between two jobs' being handed out, by one who hands out all.
    """
    free = [0.0] * workers
    handed = end = 0.0
    for seconds in jobs:
        handed = max(handed, heapq.heappop(free)) + every
        end = max(end, handed + seconds)
        heapq.heappush(free, handed + seconds)
    return end


def shard_seconds(samples: np.ndarray, shards: int, start: float) -> np.ndarray:
    """Seconds of each shard: its samples', and what every shard takes to begin."""
    return np.array([part.sum() + start for part in np.array_split(samples, shards)])


@dataclass(frozen=True)
class Assumed:
    """A run to be simulated.

    Attributes:
        name: what it is called.
        answers: questions that are asked.
        seconds: a question, on average; its spread is that of the measured ones.
        start: seconds that a shard takes before its first question.
        every: seconds between two submissions.
    """

    name: str
    answers: int
    seconds: float
    start: float
    every: float


def measured_case(found: Sharded, answers: int) -> Assumed:
    """The embedded model, as it was measured, asked so many questions."""
    start = float(np.median(found.start))
    mean = float(found.samples.mean())
    return Assumed(
        "embedded, as measured", answers, mean, start, max(0, found.workflow)
    )


def simulate(
    found: Sharded, case: Assumed, workers: Sequence[int] = WORKERS, each: int = 4
) -> pd.DataFrame:
    """What so many workers would give.

    Args:
        found: the measured samples, whose spread is drawn from.
        case: what is run.
        workers: how many, a row each.
        each: shards a worker, so that the last ones end together.

    Returns:
        A row for each number: shards, hours, how much faster than one worker in one
        piece, and that as a share of what it could be (efficiency).
    """
    rng = np.random.default_rng(0)
    drawn = rng.choice(found.samples / found.samples.mean(), case.answers)
    samples = drawn * case.seconds
    alone = samples.sum() + case.start
    rows = []
    for count in workers:
        shards = min(each * count if count > 1 else 1, case.answers)
        jobs = shard_seconds(samples, shards, case.start)
        end = makespan(jobs.tolist(), count, case.every) + found.merge
        rows.append((count, shards, end / 3600, alone / end, alone / end / count))
    names = ["workers", "shards", "hours", "times faster", "efficiency"]
    return pd.DataFrame(rows, columns=names)


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """A simulation, to be read."""
    return frame.assign(
        hours=frame["hours"].map(lambda hours: f"{hours:.3g}"),
        **{
            "times faster": frame["times faster"].map(lambda times: f"{times:.1f}"),
            "efficiency": frame["efficiency"].map(lambda share: f"{100 * share:.0f} %"),
        },
    )


def overhead(found: Sharded) -> pd.DataFrame:
    """What a shard costs beside its samples, as it was measured."""
    low, high = found.start.min(), found.start.max()
    rows = [
        ("start of a shard (Python, model, data)", f"{np.median(found.start):.2f}"),
        ("least and most of them", f"{low:.2f} – {high:.2f}"),
        ("what Snakemake adds to a job", f"{found.workflow:.2f}"),
        (f"merging {len(found.start)} shards", f"{found.merge:.2f}"),
        ("one question, all methods together", f"{found.samples.mean():.4f}"),
        ("planning the largest size", f"{found.plan['seconds']:.1f}"),
    ]
    return pd.DataFrame(rows, columns=["what", "seconds"])


def planned(found: Sharded) -> pd.DataFrame:
    """Jobs of the largest size, by rule."""
    kinds = {
        "answers": "shards of all methods of a model on a data set",
        "whole": "merges",
        "run_notebooks": "run notebooks, a group of runs each",
        "scores": "scores of all runs",
        "total": "all jobs",
    }
    rows = [(kinds[rule], found.plan["jobs"][rule]) for rule in kinds]
    return pd.DataFrame(rows, columns=["jobs", "how many"])
