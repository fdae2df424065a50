"""What the paper leaves open, and measures that answer some of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import costs, estimates, paper
from analysis.claims import ledger, measures, readings
from vicrop.run import stats
from vicrop.run.scores import rescored
from vicrop.run.stats import Estimate


@dataclass(frozen=True)
class Question:
    """One open question.

    Attributes:
        number: ours.
        asks: what is asked.
        needs: what an answer would need; empty if it is measured here.
        rest: what even the measured answer leaves open.
    """

    number: int
    asks: str
    needs: str = ""
    rest: str = ""


QUESTIONS = (
    Question(
        1,
        "Does the right crop gain more than any second image would: a random one, the "
        "centre, the whole image twice?",
        rest="the same controls of 7B models: `vicrop run` has them as methods",
    ),
    Question(
        2,
        "Is the crop better beside the image than instead of it?",
        rest="drawn questions need one plate only, and no context",
    ),
    Question(
        3,
        "What is the accuracy by single layer, and of a layer that other data chose?",
        rest="7B models have more layers: `vicrop run --layer` makes a run of one",
    ),
    Question(
        4,
        "Is it fair to compare attention on right and wrong answers, whose objects "
        "differ in size?",
        rest="the paper's models and boxes",
    ),
    Question(
        5,
        "Does the attention ratio hold with the largest cell instead of the sum, with "
        "boxes rounded, with raw attention, with other general prompts?",
        rest="vision towers with registers, which ours hardly have",
    ),
    Question(
        6,
        "With and without OCR tokens in the prompt?",
        needs="TextVQA with its OCR tokens in the prompt, and a 7B model",
    ),
    Question(
        7,
        "Does it hold for newer families?",
        rest="Qwen2.5-VL at its real size: `make run SIZE=qwen`; LLaVA-NeXT has no "
        "adapter here",
    ),
    Question(
        8,
        "What does dividing by the general prompt's attention do?",
        rest="a 7B model's vision tower, the reason that the paper gives",
    ),
    Question(
        9,
        "And questions about several places, such as V*'s on positions?",
        needs="V* and a 7B model, by `make run SIZE=table3-vstar`; the ledger reads it "
        "by itself (C21)",
    ),
    Question(
        10,
        "How much of a gain is the scorer's?",
        rest="answers of several words, on which the scorers differ more: `vicrop "
        "score` gives both for every run",
    ),
    Question(
        11,
        "What does high resolution cost?",
        rest="seconds on a GPU: `make bench` there",
    ),
    Question(
        12,
        "How much would a perfect choice among the three methods win?",
        rest="a choice that can be made without the label",
    ),
    Question(
        13,
        "Is what tiles cost InstructBLIP real, or the noise of V*'s few questions?",
        rest="the paper's own model: `make run SIZE=table3-vstar`",
    ),
)


def listed(questions: Sequence[Question] = QUESTIONS) -> pd.DataFrame:
    """All questions, whether this page measures them, and what that leaves open."""
    rows = [
        {
            "question": one.number,
            "asks": one.asks,
            "measured here": "no" if one.needs else "yes",
            "needs, or leaves open": one.needs or one.rest,
        }
        for one in questions
    ]
    return pd.DataFrame(rows)


def told(
    found: Mapping[str, Mapping[str, Estimate]], unit: str = "points", null: float = 0
) -> pd.DataFrame:
    """Estimates as a table to read, and on which side of ``null`` each lies.

    Args:
        found: by model, then by what is compared; in ``unit``.
        unit: of all of them.
        null: value of no effect.
    """
    rows = [
        {
            "model": model,
            "compared": name,
            "n": one.n,
            f"{unit}, 95 %": _interval(one, sign=unit in ledger.SIGNED),
            "effect": _effect(one, null),
        }
        for model, made in found.items()
        for name, one in made.items()
    ]
    return pd.DataFrame(rows)


def _interval(found: Estimate, sign: bool) -> str:
    """With its interval, where there are enough samples for one."""
    if not found.n:
        return "–"
    said = found.format(1, sign=sign)
    return said if found.n >= readings.FEWEST else said.partition(" [")[0]


def _effect(found: Estimate, null: float) -> str:
    if not found.n:
        return "no samples"
    return stats.verdict(found, null) if found.n >= readings.FEWEST else "too few"


def over(
    runs: Mapping[str, pd.DataFrame], pairs: Sequence[tuple[str, str]]
) -> dict[str, Estimate]:
    """``estimates.over`` in points."""
    return {name: one.times(100) for name, one in estimates.over(runs, pairs).items()}


def by_name(frame: pd.DataFrame, pairs: Sequence[tuple[str, str]], column="score"):
    """Paired differences in a probe of one name over another, points."""
    return {
        f"{one} over {other}": measures.named(one, other, column)(frame)
        for one, other in pairs
    }


def scores(frame: pd.DataFrame) -> dict[str, Estimate]:
    """Mean of a probe's scores by name, percent."""
    groups = frame.groupby("name", sort=False)["score"]
    return {
        str(name): stats.accuracy(rows.to_numpy()).times(100) for name, rows in groups
    }


def medians(frame: pd.DataFrame) -> dict[str, Estimate]:
    """Median attention ratio of each way to define it."""
    groups = frame.dropna().groupby("name", sort=False)["ratio"]
    return {
        str(name): stats.bootstrap(rows.to_numpy(), np.median) for name, rows in groups
    }


def best_layer(frame: pd.DataFrame, layers: Sequence[str]) -> str:
    """The layer whose crops give most right answers on these very questions."""
    means = frame.groupby("name")["score"].mean()
    best = max(layers, key=lambda name: means[name])
    return str(best)


# Attention on right and wrong answers, at like sizes.


def by_answer(layer: pd.DataFrame) -> dict[str, Estimate]:
    """Median attention ratio by size group and answer."""
    known = layer.dropna(subset=["ratio"])
    groups = known.groupby(["group", "answer"])["ratio"]
    found = {
        f"{group}, {answer}": stats.bootstrap(rows.to_numpy(), np.median)
        for (group, answer), rows in groups
    }
    order = [f"{g}, {a}" for g in ("small", "medium", "large") for a in ANSWERS]
    return {name: found[name] for name in order if name in found}


ANSWERS = ("right", "wrong")


LEAST = 3
"""Answers of each kind that a bin of sizes needs: fewer have no spread to speak of."""


def like_sized(layer: pd.DataFrame, bins: int = 8, seed: int = 0) -> Estimate:
    """Mean log₂ of the ratio, wrong minus right, at like object sizes.

    Within equally filled bins of size; bins are weighted by the fewer of their two
    kinds of answers, and resampled within each.

    Args:
        layer: of one layer (see ``gaze.with_answers``).
        bins: of size.
        seed: of the resampling.

    Returns:
        n is of the bins that have enough of both kinds; nothing if none has.
    """
    known = layer[layer["ratio"] > 0]
    rng = np.random.default_rng(seed)
    parts: list[tuple[int, int, np.ndarray, float]] = []
    cuts = pd.qcut(known["size"], bins, duplicates="drop")
    for _, rows in known.groupby(cuts, observed=True):
        logs = [
            np.log2(rows.loc[rows["answer"] == name, "ratio"].to_numpy())
            for name in ("wrong", "right")
        ]
        if min(map(len, logs)) < LEAST:
            continue
        wrong, right = (
            one[rng.integers(0, len(one), (stats.RESAMPLES, len(one)))].mean(1)
            for one in logs
        )
        middle = float(logs[0].mean() - logs[1].mean())
        parts.append((min(map(len, logs)), len(rows), wrong - right, middle))
    if not parts:
        return Estimate(np.nan, np.nan, np.nan, 0)
    weights, counts, draws, middles = zip(*parts, strict=True)
    low, high = np.percentile(np.average(draws, axis=0, weights=weights), (2.5, 97.5))
    middle = float(np.average(middles, weights=weights))
    return Estimate(middle, float(low), float(high), sum(counts))


# Scorers, and costs.


def scorers(run: pd.DataFrame) -> dict[str, Estimate]:
    """A run's gain by two rules: equality, and whether the label is in the answer.

    The second is the rule of the authors' script for GQA.
    """
    kept = run[run["error"].isna()]
    gains = {}
    for name, variant in {"equality": "as said", "label in answer": "upstream"}.items():
        before, after = (
            rescored(kept, column, "gqa", variant) for column in ("plain", "answer")
        )
        gains[name] = after - before
    apart = stats.gain(gains["equality"], gains["label in answer"])
    made = {name: stats.bootstrap(gain).times(100) for name, gain in gains.items()}
    return made | {"label in answer over equality": apart.times(100)}


def dearer(bench: costs.Measured, models: Sequence[str], dataset: str) -> pd.DataFrame:
    """What a method costs with tiles over without, in time and in operations."""
    frame = costs.methods(bench, dataset)
    rows = []
    for model in models:
        mine = frame[frame["model"] == model].set_index("method")
        for name in paper.METHODS:
            high = f"{name}-high"
            if not {name, high} <= set(mine.index):
                continue
            over, under = (
                np.asarray(mine["seconds"][one], float) for one in (high, name)
            )
            rows.append(
                {
                    "model": model,
                    "compared": f"{high} over {name}",
                    "FLOPs, ×": f"{mine['flops'][high] / mine['flops'][name]:.2f}",
                    "CPU time, ×, 95 %": times(over, under).format(2),
                    "questions timed": len(over),
                }
            )
    return pd.DataFrame(rows)


def times(over: np.ndarray, under: np.ndarray, seed: int = 0) -> Estimate:
    """Ratio of two medians, bootstrapped over what was timed in each."""
    rng = np.random.default_rng(seed)
    draws = [
        np.median(one[rng.integers(0, len(one), (stats.RESAMPLES, len(one)))], axis=1)
        for one in (over, under)
    ]
    low, high = np.percentile(draws[0] / draws[1], (2.5, 97.5))
    middle = float(np.median(over) / np.median(under))
    return Estimate(middle, float(low), float(high), len(over))


def half_width(one: pd.DataFrame, other: pd.DataFrame, n: int) -> float:
    """Half of a paired 95 % interval if only ``n`` questions like these were asked.

    Args:
        one: a run's table.
        other: another's.
        n: questions.

    Returns:
        Points; from the spread of the single differences.
    """
    both = pd.concat([one["score"], other["score"]], axis=1, join="inner").dropna()
    spread = (both.iloc[:, 0] - both.iloc[:, 1]).std()
    return float(100 * 1.96 * spread / np.sqrt(n))
