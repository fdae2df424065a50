"""What the paper leaves open, and measures that answer some of it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import FEWEST, costs, estimates, looking
from analysis.claims import ledger, readings
from vicrop.methods import HIGH, PAPER
from vicrop.run import results, stats
from vicrop.run.scores import rescored
from vicrop.run.stats import Estimate

QUESTIONS = (
    (
        "Does the right crop gain more than any second image would: a random one, the "
        "centre, the whole image twice?",
        "the same controls of 7B models: `vicrop run` has them as methods",
    ),
    (
        "Is the crop better beside the image than instead of it?",
        "drawn questions need one plate only, and no context",
    ),
    (
        "What is the accuracy by single layer, and of a layer that other data chose?",
        "7B models have more layers: `vicrop run --layer` makes a run of one",
    ),
    (
        "Is it fair to compare attention on right and wrong answers, whose objects "
        "differ in size?",
        "the paper's models and boxes",
    ),
    (
        "Does the attention ratio hold with the largest cell instead of the sum, with "
        "boxes rounded, with raw attention, with other general prompts?",
        "vision towers with registers, which ours hardly have",
    ),
    (
        "With and without OCR tokens in the prompt?",
        "TextVQA with its OCR tokens in the prompt, and a 7B model",
    ),
    (
        "Does it hold for newer families?",
        "Qwen2.5-VL at its real size: `make run SIZE=qwen`; LLaVA-NeXT has no adapter "
        "here",
    ),
    (
        "What does dividing by the general prompt's attention do?",
        "a 7B model's vision tower, the reason that the paper gives",
    ),
    (
        "And questions about several places, such as V*'s on positions?",
        "V* and a 7B model, by `make run SIZE=table3-vstar`; the ledger reads it by "
        "itself (C21)",
    ),
    (
        "How much of a gain is the scorer's?",
        "answers of several words, on which the scorers differ more: `vicrop score` "
        "gives both for every run",
    ),
    ("What does high resolution cost?", "seconds on a GPU: `make bench` there"),
    (
        "How much would a perfect choice among the three methods win?",
        "a choice that can be made without the label",
    ),
    (
        "Is what tiles cost InstructBLIP real, or the noise of V*'s few questions?",
        "the paper's own model: `make run SIZE=table3-vstar`",
    ),
)
"""What is asked, and what even our answer leaves open, or what an answer needs."""

UNMEASURED = (6, 9)
"""Numbers of the questions that this size cannot answer."""


def listed() -> pd.DataFrame:
    """All questions, whether this page measures them, and what that leaves open."""
    rows = [
        (number, asked, "no" if number in UNMEASURED else "yes", rest)
        for number, (asked, rest) in enumerate(QUESTIONS, 1)
    ]
    columns = ["question", "asks", "measured here", "needs, or leaves open"]
    return pd.DataFrame(rows, columns=columns)


def told(
    found: Mapping[str, Mapping[str, Estimate]], unit: str = "points", null: float = 0
) -> pd.DataFrame:
    """Estimates as a table to read, and on which side of ``null`` each lies.

    Args:
        found: by model, then by what is compared; in ``unit``.
        unit: of all of them.
        null: value of no effect.
    """
    rows = []
    for model, made in found.items():
        for name, one in made.items():
            said, effect = ledger.interval(one, unit), estimates.verdict(one, null)
            if one.n < FEWEST:
                said = said.partition(" ")[0] if one.n else "–"
                effect = "too few" if one.n else "no samples"
            rows.append((model, name, one.n, said, effect))
    columns = ["model", "compared", "n", f"{unit}, 95 %", "effect"]
    return pd.DataFrame(rows, columns=columns)


Pairs = Sequence[tuple[str, str]]


def over(runs: Mapping[str, pd.DataFrame], pairs: Pairs) -> dict[str, Estimate]:
    """``estimates.over`` in points."""
    return {name: one.times(100) for name, one in estimates.over(runs, pairs).items()}


def by_name(probe: pd.DataFrame, pairs: Pairs) -> dict[str, Estimate]:
    """Paired differences in a probe of one name over another, points."""
    return {f"{a} over {b}": readings.named(a, b)(probe) for a, b in pairs}


def scores(probe: pd.DataFrame) -> dict[str, Estimate]:
    """Mean of a probe's scores by name, percent."""
    return {
        str(name): stats.accuracy(rows["score"], rows["image"]).times(100)
        for name, rows in probe.groupby("name", sort=False)
    }


def medians(probe: pd.DataFrame) -> dict[str, Estimate]:
    """Median attention ratio of each way to define it."""
    groups = probe.groupby("name", sort=False)
    return {str(name): looking.median(rows) for name, rows in groups}


# Attention on right and wrong answers, at like sizes.


def by_answer(layer: pd.DataFrame) -> dict[str, Estimate]:
    """Median attention ratio by size group and answer."""
    return {
        f"{group}, {answer}": found
        for group, rows in results.by_group(layer).items()
        for answer in ("right", "wrong")
        if (found := looking.median(rows[rows["answer"] == answer])).n
    }


# Scorers, and costs.


def scorers(run: pd.DataFrame) -> dict[str, Estimate]:
    """A run's gain by two rules: equality, and whether the label is in the answer.

    The second is the rule of the authors' script for GQA.
    """
    kept = run.dropna(subset=["score"])

    def gain(variant: str) -> np.ndarray:
        was, now = (
            rescored(kept, column, "gqa", variant) for column in ("plain", "answer")
        )
        return now - was

    found = {"equality": gain("as said"), "label in answer": gain("upstream")}
    more = found["label in answer"] - found["equality"]
    found["label in answer over equality"] = more
    return {
        name: stats.bootstrap(one, images=kept["image"]).times(100)
        for name, one in found.items()
    }


def dearer(bench: costs.Measured, models: Sequence[str], dataset: str) -> pd.DataFrame:
    """What a method costs with tiles over without, in time and in operations."""
    frame = costs.methods(bench, dataset).set_index(["model", "method"])
    rows = []
    for model in models:
        for name in PAPER:
            keys = [(model, name + HIGH), (model, name)]
            if not set(keys) <= set(frame.index):
                continue
            flops = frame["flops"][keys[0]] / frame["flops"][keys[1]]
            taken = [np.asarray(frame["seconds"][key], float) for key in keys]
            named = (model, f"{name}{HIGH} over {name}", f"{flops:.2f}")
            rows.append((*named, times(*taken).format(2), len(taken[0])))
    columns = ["model", "compared", "FLOPs, ×", "CPU time, ×, 95 %", "questions timed"]
    return pd.DataFrame(rows, columns=columns)


def times(over: np.ndarray, under: np.ndarray) -> Estimate:
    """Ratio of two medians, bootstrapped over what was timed in each."""
    rng = np.random.default_rng(0)
    high, low = (stats.resampled(one, np.median, rng) for one in (over, under))
    return stats.interval(np.median(over) / np.median(under), high / low, len(over))


def half_width(one: pd.DataFrame, other: pd.DataFrame, n: int) -> float:
    """Half of a paired 95 % interval of two runs if only ``n`` questions were asked.

    Points; from the spread of the differences of questions like these.
    """
    return float(100 * 1.96 * (one["score"] - other["score"]).std() / np.sqrt(n))
