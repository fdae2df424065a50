"""What this project set out to reach in cost, and whether it did."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from analysis.costs import counts


@dataclass(frozen=True)
class Goal:
    """A figure to be reached.

    Attributes:
        figure: what is measured.
        sign: ``≤`` or ``≥``.
        aim: what it was to be.
        value: how it is found; the worst of all cases.
    """

    figure: str
    sign: str
    aim: float
    value: Callable[[counts.Measured], float]

    def reached(self, measured: counts.Measured) -> bool:
        """Whether the measured value, not rounded, is there."""
        value = self.value(measured)
        return value <= self.aim if self.sign == "≤" else value >= self.aim


def _flops(name: str, family: str, method: str) -> Callable[[counts.Measured], float]:
    def value(measured: counts.Measured) -> float:
        frame = counts.flops(measured)
        mine = frame[frame.model.str.startswith(family) & (frame["map"] == method)]
        return float(mine[name].min() if "plain" in name else mine[name].max())

    return value


def _cpu(method: str) -> Callable[[counts.Measured], float]:
    def value(measured: counts.Measured) -> float:
        frame = counts.seconds(measured, "mid")
        mine = frame[frame.model.str.startswith("llava") & (frame["map"] == method)]
        return mine["plain / ours"].iloc[0].value

    return value


def _search(cells: int) -> Callable[[counts.Measured], float]:
    return lambda m: (
        counts.medians(m, "box_search", "loops", "ours", ["cells"])[str(cells)].value
    )


def _map_memory(measured: counts.Measured) -> float:
    frame = counts.memory(measured)
    return float(frame[frame.what == "rel-att map"].over_answer.max())


GOALS = (
    *(
        Goal(
            f"FLOPs, ours / told: {family}, {method}",
            "≤",
            aim,
            _flops("ours / told", family, method),
        )
        for family, method, aim in (
            ("llava", "rel-att", 1.02),
            ("llava", "grad-att", 1.02),
            ("llava", "pure-grad", 1.9),
            ("instructblip", "rel-att", 1.2),
            ("instructblip", "grad-att", 1.35),
            ("qwen2.5-vl", "rel-att", 1.05),
            ("qwen2.5-vl", "grad-att", 1.05),
        )
    ),
    *(
        Goal(
            f"FLOPs, plain / ours: llava, {method}",
            "≥",
            aim,
            _flops("plain / ours", "llava", method),
        )
        for method, aim in (("rel-att", 2.5), ("grad-att", 2.4), ("pure-grad", 1.9))
    ),
    *(
        Goal(
            f"CPU time, plain / ours: middling llava, {method}", "≥", aim, _cpu(method)
        )
        for method, aim in (("rel-att", 2.5), ("grad-att", 2.7), ("pure-grad", 2.1))
    ),
    Goal(
        "further question, FLOPs, ours / told: llava, rel-att",
        "≤",
        0.55,
        _flops("further, ours / told", "llava", "rel-att"),
    ),
    Goal(
        "further question, FLOPs, plain / ours: llava, rel-att",
        "≥",
        4.7,
        _flops("further, plain / ours", "llava", "rel-att"),
    ),
    Goal(
        "whole embedded matrix, CPU time, plain / ours",
        "≥",
        3,
        lambda m: counts.whole_matrix(m).value,
    ),
    Goal("box search, loops / ours: 24×24 cells", "≥", 24, _search(24)),
    Goal("box search, loops / ours: 96×96 cells", "≥", 350, _search(96)),
    Goal(
        "peak memory, rel-att's map / a plain answer, any family",
        "≤",
        1.05,
        _map_memory,
    ),
)
"""The aims of this project, set from a prototype's figures before it was built."""


def table(measured: counts.Measured) -> pd.DataFrame:
    """Each aim, what was measured, and whether it is reached; nothing is rounded up."""
    return pd.DataFrame(
        {
            "figure": goal.figure,
            "aim": f"{goal.sign} {goal.aim:g}",
            "measured": f"{goal.value(measured):.4f}",
            "reached": "yes" if goal.reached(measured) else "no",
        }
        for goal in GOALS
    )
