"""What looking costs: what ``make bench`` measured, as ratios with intervals.

Told: the crop is handed over for free. Ours: this package. Plain: the procedure that
the authors' code uses, written again on stock transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import paper
from vicrop import paths
from vicrop.run import stats
from vicrop.run.stats import Estimate

FAMILIES = ("llava", "instructblip", "qwen2.5-vl")
METHODS = ("rel-att", "grad-att", "pure-grad")
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
        file: JSON of ``make bench``; empty for the repository's own.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a part is missing.
    """
    path = Path(file) if file else paths.ROOT / "benchmarks" / "measured.json"
    if not path.is_file():
        raise FileNotFoundError(f"no measurements in {path}; make them with make bench")
    found = json.loads(path.read_text("utf-8"))
    missing = [part for part in ("machine", *PARTS) if part not in found]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; run make bench to its end"
        )
    return Measured(found["machine"], {part: found[part] for part in PARTS})


def ratio(over: list[float], under: list[float]) -> Estimate:
    """Ratio of two ways' median seconds, 95 % bootstrap interval over the rounds.

    Rounds are resampled in pairs: both ways were measured in each.
    """
    slow, fast = np.array(over), np.array(under)
    rounds = np.random.default_rng(0).integers(
        0, len(slow), (stats.RESAMPLES, len(slow))
    )
    draws = np.median(slow[rounds], 1) / np.median(fast[rounds], 1)
    low, high = np.percentile(draws, (2.5, 97.5))
    middle = float(np.median(slow) / np.median(fast))
    return Estimate(middle, float(low), float(high), len(slow))


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
    rows = []
    for (case, method), ways in _cases(measured, "real"):
        spent = ways[count]
        told = spent["told", "first"] / 1e12
        ratios = {name: spent[a] / spent[b] for name, (a, b) in RATIOS.items()}
        rows.append({"model": case, "map": method, "told, TFLOP": told, **ratios})
    return pd.DataFrame(rows)


def seconds(measured: Measured, shape: str) -> pd.DataFrame:
    """Ratios of CPU time, each an ``Estimate``: a row a case and method."""
    rows = []
    for (case, method), ways in _cases(measured, shape):
        spent = ways["seconds"]
        told = 1000 * float(np.median(spent["told", "first"]))
        ratios = {name: ratio(spent[a], spent[b]) for name, (a, b) in RATIOS.items()}
        rows.append({"model": case, "map": method, "told, ms": told, **ratios})
    return pd.DataFrame(rows)


def _cases(measured: Measured, shape: str):
    """Each case and method of a shape, with its ways by (way, question)."""
    frame = measured.ways[measured.ways["shape"] == shape]
    grouped = frame.groupby(["case", "method"], sort=False)
    return [(key, rows.set_index(["way", "question"])) for key, rows in grouped]


def shares(measured: Measured) -> pd.DataFrame:
    """What ours spends beyond told, as shares of told's FLOPs.

    Answering twice is the plain answer beside the one with the crop; looking is what a
    map adds to both.
    """
    rows = []
    for (case, method), ways in _cases(measured, "real"):
        spent = ways["flops"]
        told, twice = spent["told", "first"], spent["answers", "first"]
        rows.append(
            {
                "model": case,
                "map": method,
                "answering twice": twice / told - 1,
                "looking": (spent["ours", "first"] - twice) / told,
            }
        )
    return pd.DataFrame(rows)


def memory(measured: Measured) -> pd.DataFrame:
    """Peak memory beside the weights, MiB, and over that of a plain answer."""
    frame = measured.frame("memory")
    plain = frame[frame.what == "plain answer"].set_index(["family", "shape"])
    base = [
        plain.peak_bytes[key] for key in zip(frame.family, frame["shape"], strict=True)
    ]
    return frame.assign(
        mib=frame.peak_bytes / 2**20, over_answer=frame.peak_bytes / np.array(base)
    )


def medians(measured: Measured, part: str, over: str, under: str, by: list[str]):
    """Ratio of two ways' seconds in a part, by the columns that tell its cases apart.

    Returns:
        An ``Estimate`` by case.
    """
    grouped = measured.frame(part).groupby(by, sort=False)
    found = {}
    for key, rows in grouped:
        spent = rows.set_index("way").seconds
        name = ", ".join(map(str, key))
        found[name] = ratio(spent[over], spent[under])
    return found


def whole_matrix(measured: Measured) -> Estimate:
    """Plain over ours of all embedded models' runs together."""
    frame = measured.frame("matrix")
    sums = {way: np.sum([*rows.seconds], 0) for way, rows in frame.groupby("way")}
    return ratio(sums["plain"], sums["ours"])


# Accuracy for the price; and the paper's Table 4.

COSTS = {
    "flops": "GFLOP a question",
    "passes": "calls of the language model",
    "visual_tokens": "visual tokens",
    "ms": "CPU time, ms",
    "mib": "peak memory beside the weights, MiB",
}
"""What a method costs, with its unit."""


def methods(measured: Measured, dataset: str = "plates") -> pd.DataFrame:
    """Costs of each method with each embedded model, means over questions."""
    frame = measured.frame("methods")
    frame = frame[frame.dataset == dataset].reset_index(drop=True)
    return frame.assign(
        flops=frame.flops / 1e9,
        ms=[1000 * float(np.median(taken)) for taken in frame.seconds],
        mib=frame.peak_bytes / 2**20,
    )


def with_accuracy(
    measured: Measured,
    runs: Mapping[str, Mapping[str, pd.DataFrame]],
    dataset: str = "plates",
) -> pd.DataFrame:
    """Costs beside accuracy, an ``Estimate``; methods that have both.

    Args:
        measured: by the benchmark.
        runs: records by model and method (see ``results.by_model``).
        dataset: that the costs were measured on.
    """
    rows = []
    for row in methods(measured, dataset).to_dict("records"):
        records = runs.get(row["model"], {}).get(row["method"])
        if records is not None:
            found = stats.accuracy(records.score.dropna().to_numpy(float))
            rows.append({**row, "accuracy": found})
    return pd.DataFrame(rows)


def front(frame: pd.DataFrame, cost: str) -> pd.Series:
    """Which rows are on the Pareto front: none is as cheap and more often right."""
    scores = [found.value for found in frame.accuracy]
    order = np.lexsort((-np.array(scores), frame[cost].to_numpy()))
    best, on = -np.inf, np.zeros(len(frame), bool)
    for place in order:
        on[place] = scores[place] > best
        best = max(best, scores[place])
    return pd.Series(on, frame.index)


PAPER_TABLE_4 = {
    (family, method): (
        paper.TABLE_4.value(family, method, "GPU, s"),
        paper.TABLE_4.value(family, "no-crop", "GPU, s"),
    )
    for family in ("llava", "instructblip")
    for method in METHODS
}
"""The paper's Table 4, GPU: a method's overhead and one answer token, seconds."""


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
    for (family, method), (overhead, token) in PAPER_TABLE_4.items():
        mine = frame[frame.model == models[family]].set_index("method")
        if method not in mine.index:
            continue
        extra = (mine.ms[method] - mine.ms["no-crop"]) / 1000
        ours = extra / mine.answer_token_seconds[method]
        rows.append(
            {
                "family": family,
                "map": method,
                "7B on a GPU (the paper's)": overhead / token,
                "embedded model on a CPU (ours)": ours,
            }
        )
    return pd.DataFrame(rows)
