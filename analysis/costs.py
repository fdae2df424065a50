"""What looking costs, from what ``make bench`` measured: ratios, tables and figures.

Told: the crop is handed over for free. Ours: this package. Plain: the procedure that
the authors' code uses, written again on stock transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from operator import truediv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import paper
from vicrop import paths
from vicrop.methods import PAPER
from vicrop.run import stats
from vicrop.run.stats import Estimate

MEASURED = "benchmarks/measured.json"
"""What the repository has of ``make bench``; the workflow's input of pages on costs."""
FAMILIES = ("llava", "instructblip", "qwen2.5-vl")
PARTS = ("ways", "memory", "box_search", "tiles", "matrix", "methods")


@dataclass(frozen=True)
class Measured:
    """One run of the benchmark.

    Attributes:
        machine: where and when.
        rows: of each part, as the benchmark wrote them.
    """

    machine: Mapping[str, Any]
    rows: Mapping[str, list[dict[str, Any]]]

    @cached_property
    def ways(self) -> pd.DataFrame:
        """Told, ours and plain; sizes of one shape are told apart by ``case``."""
        frame = pd.DataFrame(self.rows["ways"])
        image, crop = frame.image_tokens.astype(str), frame.crop_tokens.astype(str)
        return frame.assign(case=frame.family + ", " + image + " + " + crop + " tokens")

    def frame(self, part: str) -> pd.DataFrame:
        """The rows of a part."""
        return pd.DataFrame(self.rows[part])


def read(file: str | Path = "") -> Measured:
    """What was measured.

    Args:
        file: JSON of ``make bench``, from the repository's root; empty for its own.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a part is missing.
    """
    path = paths.ROOT / (file or MEASURED)
    if not path.is_file():
        raise FileNotFoundError(f"no measurements in {path}; make them with make bench")
    found = json.loads(path.read_text("utf-8"))
    missing = [part for part in ("machine", *PARTS) if part not in found]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; run make bench to its end"
        )
    return Measured(found["machine"], {part: found[part] for part in PARTS})


def where(measured: Measured) -> pd.DataFrame:
    """The machine, versions and day of the measurement, to be read."""
    said = {name: value or "none" for name, value in measured.machine.items()}
    return pd.DataFrame({"what": said.keys(), "is": map(str, said.values())})


# Ways to the same answers, over each other.


def ratio(over: list[float], under: list[float]) -> Estimate:
    """Ratio of two ways' median seconds, 95 % bootstrap interval over the rounds.

    Rounds are resampled in pairs: both ways were measured in each.
    """
    slow, fast = np.array(over), np.array(under)
    rounds = np.random.default_rng(0).integers(
        0, len(slow), (stats.RESAMPLES, len(slow))
    )
    draws = np.median(slow[rounds], 1) / np.median(fast[rounds], 1)
    return stats.interval(np.median(slow) / np.median(fast), draws, len(slow))


RATIOS = {
    "ours / told": (("ours", "first"), ("told", "first")),
    "plain / ours": (("plain", "first"), ("ours", "first")),
    "further, ours / told": (("ours", "further"), ("told", "first")),
    "further, plain / ours": (("plain", "first"), ("ours", "further")),
}
"""Which way over which: (way, question) of each."""


def flops(measured: Measured, count: str = "flops") -> pd.DataFrame:
    """Ratios of FLOPs at real shapes: a row a case and method.

    Args:
        measured: by the benchmark.
        count: ``flops``, attention in full; ``flops_causal``, the pairs attended.
    """
    return _compared(
        _spent(measured, "real", count), "TFLOP", lambda n: n / 1e12, truediv
    )


def seconds(measured: Measured, shape: str) -> pd.DataFrame:
    """Ratios of CPU time, each an ``Estimate``: a row a case and method."""
    return _compared(_spent(measured, shape, "seconds"), "ms", _milliseconds, ratio)


def _milliseconds(spent: Sequence[float]) -> float:
    return 1000 * float(np.median(spent))


def _spent(measured: Measured, shape: str, what: str) -> list[tuple[Any, pd.Series]]:
    """Each case and method of a shape, with what its (way, question) spent."""
    frame = measured.ways[measured.ways["shape"] == shape]
    grouped = frame.groupby(["case", "method"], sort=False)
    return [(key, rows.set_index(["way", "question"])[what]) for key, rows in grouped]


def _compared(
    cases: list[tuple[Any, pd.Series]],
    unit: str,
    told: Callable[[Any], float],
    over: Callable[[Any, Any], Any],
) -> pd.DataFrame:
    rows = []
    for (case, method), spent in cases:
        row = {"model": case, "map": method, f"told, {unit}": told(spent[TOLD])}
        row |= {name: over(spent[a], spent[b]) for name, (a, b) in RATIOS.items()}
        rows.append(row)
    return pd.DataFrame(rows)


TOLD = ("told", "first")


def shares(measured: Measured) -> pd.DataFrame:
    """What ours spends beyond told, as shares of told's FLOPs.

    Answering twice is the plain answer beside the one with the crop; looking is what a
    map adds to both.
    """
    rows = []
    for (case, method), spent in _spent(measured, "real", "flops"):
        told, twice = spent[TOLD], spent["answers", "first"]
        rows.append(
            {
                "model": case,
                "map": method,
                "answering twice": twice / told - 1,
                "looking": (spent["ours", "first"] - twice) / told,
            }
        )
    return pd.DataFrame(rows)


def on_gpu(measured: Measured) -> pd.DataFrame:
    """As ``readable`` at real size on a GPU; or that there was none."""
    if "gpu" in set(measured.ways["shape"]):
        return readable(seconds(measured, "gpu"))
    return pd.DataFrame({"on a GPU": ["not measured: the machine has no GPU"]})


def rounded(frame: pd.DataFrame, digits: int) -> pd.DataFrame:
    """Fractions written with so many digits; whole numbers and words as they are."""
    text = frame.copy()
    for name in frame.select_dtypes(np.floating):
        text[name] = [f"{value:,.{digits}f}" for value in frame[name]]
    return text


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Estimates as text with their intervals, and how many rounds they are from."""
    text = frame.copy()
    for name in frame:
        if isinstance(frame[name].iloc[0], Estimate):
            text[name] = [found.format() for found in frame[name]]
            text["n"] = [found.n for found in frame[name]]
    return rounded(text, 1)


# Memory, and the rest of the machinery.


def peaks(measured: Measured) -> pd.DataFrame:
    """Peak memory beside the weights, MiB, and over that of a plain answer."""
    frame = measured.frame("memory")
    plain = frame[frame.what == "plain answer"].set_index(["family", "shape"])
    base = [
        plain.peak_bytes[key] for key in zip(frame.family, frame["shape"], strict=True)
    ]
    return frame.assign(
        mib=frame.peak_bytes / 2**20, over_answer=frame.peak_bytes / np.array(base)
    )


def memory(measured: Measured) -> pd.DataFrame:
    """``peaks`` as a table to read: a row a model."""
    frame = peaks(measured)
    cells = [
        f"{mib:,.1f} ({over:.3f})"
        for mib, over in zip(frame.mib, frame.over_answer, strict=True)
    ]
    wide = frame.assign(cell=cells).pivot(
        index=["family", "shape"], columns="what", values="cell"
    )
    return wide[list(dict.fromkeys(frame.what))].reset_index()


def medians(measured: Measured, part: str, by: str, over: str) -> dict[str, Estimate]:
    """How much longer another way takes than ours, in each case of a part.

    Args:
        measured: by the benchmark.
        part: of it.
        by: column that tells its cases apart.
        over: the other way.
    """
    return {
        str(key): ratio(*rows.set_index("way").seconds[[over, "ours"]])
        for key, rows in measured.frame(part).groupby(by, sort=False)
    }


def whole_matrix(measured: Measured) -> Estimate:
    """Plain over ours of all embedded models' runs together."""
    frame = measured.frame("matrix")
    sums = {way: np.sum([*rows.seconds], 0) for way, rows in frame.groupby("way")}
    return ratio(sums["plain"], sums["ours"])


def others(measured: Measured) -> pd.DataFrame:
    """Plain over ours of all that is not one question's way, to be read."""
    box = medians(measured, "box_search", "cells", "loops")
    tiles = medians(measured, "tiles", "tiles", "plain")
    runs = medians(measured, "matrix", "model", "plain")
    found = {
        **{f"box search, {cells}×{cells} cells": one for cells, one in box.items()},
        **{f"rel-att-high, {tiles} tiles": one for tiles, one in tiles.items()},
        **{f"all runs of {model}": one for model, one in runs.items()},
        "all runs of all toy models": whole_matrix(measured),
    }
    return pd.DataFrame(
        {"what": name, "plain / ours": one.format(), "n": one.n}
        for name, one in found.items()
    )


# What each method costs; and the paper's Table 4.


def methods(measured: Measured, dataset: str = "plates") -> pd.DataFrame:
    """Costs of each method with each embedded model, means over questions."""
    frame = measured.frame("methods")
    frame = frame[frame.dataset == dataset].reset_index(drop=True)
    return frame.assign(
        flops=frame.flops / 1e9,
        ms=frame.seconds.map(_milliseconds),
        mib=frame.peak_bytes / 2**20,
    )


BESIDE = {
    "flops": "operations",
    "ms": "CPU time",
    "passes": "calls of the language model",
    "mib": "peak memory beside the weights",
}
"""What a method costs."""


def over_plain(measured: Measured, dataset: str = "plates") -> pd.DataFrame:
    """Costs of each method over a plain answer's: a row a model and method."""
    frame = methods(measured, dataset).set_index(["model", "method"])[[*BESIDE]]
    return frame / frame.xs("no-crop", level="method").reindex(frame.index, level=0)


def in_answer_tokens(measured: Measured, models: Mapping[str, str]) -> pd.DataFrame:
    """What a method adds to a plain answer, in units of one answer token's time.

    Args:
        measured: by the benchmark.
        models: the measured ones' keys, by family.

    Source: paper, Table 4: models of 7B on a GPU, beside ours on a CPU. The unit is
    each one's own, and so are the lengths of prompts.
    """
    frame = methods(measured)
    rows = []
    for family, method in product(("llava", "instructblip"), PAPER):
        mine = frame[frame.model == models[family]].set_index("method")
        if method not in mine.index:
            continue
        extra = (mine.ms[method] - mine.ms["no-crop"]) / 1000
        ours = extra / mine.answer_token_seconds[method]
        rows.append(
            {
                "family": family,
                "map": method,
                "7B on a GPU (the paper's)": paper.answer_tokens(family, method),
                "toy model on a CPU (ours)": ours,
            }
        )
    return pd.DataFrame(rows)
