"""``make bench``: our rel-att against the plain procedure, on the same questions.

Alternating, one thread; medians and their ratio with a bootstrap interval.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from tqdm import tqdm

import vicrop
from benchmarks import plain
from vicrop import datasets, images, stats


def seconds(function: Callable, *args: object) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def ratio(slow: np.ndarray, fast: np.ndarray) -> stats.Estimate:
    """Ratio of medians of paired times, with its bootstrap interval over questions."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(slow), (stats.RESAMPLES, len(slow)))
    draws = np.median(slow[chosen], 1) / np.median(fast[chosen], 1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return stats.Estimate(
        float(np.median(slow) / np.median(fast)), low, high, len(slow)
    )


def main(questions: int = 60, out: Path = Path("book/results/bench.json")) -> None:
    """Time both ways on QUESTIONS of `plates`, and write the figures to OUT."""
    torch.set_num_threads(1)
    ours, theirs = vicrop.load("tiny-llava"), vicrop.load("tiny-llava")
    theirs.model.set_attn_implementation("eager")
    cropper = vicrop.ViCrop(ours)
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    differ = 0
    for sample in tqdm(datasets.load("plates", questions)):
        image = images.load(datasets.image_path("plates", sample))
        slow, said = seconds(plain.answer, theirs, image, sample.question)
        fast, made = seconds(cropper.answer, image, sample.question)
        times["plain"].append(slow)
        times["ours"].append(fast)
        differ += said != (made.plain, made.text)
    measured = {name: np.array(taken) for name, taken in times.items()}
    found = ratio(measured["plain"], measured["ours"])
    for name, taken in measured.items():
        typer.echo(f"{name}: median {1000 * np.median(taken):.1f} ms a question")
    typer.echo(f"plain over ours: {found.format()}, n = {found.n}; {differ} differ")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"rel-att, plain over ours": vars(found)}, indent=1))


if __name__ == "__main__":
    typer.run(main)
