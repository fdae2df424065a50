"""Tables of costs, to be read: `costs` has the numbers behind them."""

import numpy as np
import pandas as pd

from analysis.costs import counts
from analysis.costs.counts import Measured
from vicrop.run.stats import Estimate

DIGITS = {"flops": 3, "visual_tokens": 0}
"""Of costs in a table, where not one."""


def where(measured: Measured) -> pd.DataFrame:
    """The machine, versions and day of the measurement."""
    said = {name: value or "none" for name, value in measured.machine.items()}
    return pd.DataFrame({"what": said.keys(), "is": map(str, said.values())})


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


def on_gpu(measured: Measured) -> pd.DataFrame:
    """As ``readable`` at real size on a GPU; or that there was none."""
    if "gpu" in set(measured.ways["shape"]):
        return readable(counts.seconds(measured, "gpu"))
    return pd.DataFrame({"on a GPU": ["not measured: the machine has no GPU"]})


def memory(measured: Measured) -> pd.DataFrame:
    """Peak memory, MiB, and over a plain answer's: a row a model."""
    frame = counts.memory(measured)
    cells = [
        f"{mib:,.1f} ({over:.3f})"
        for mib, over in zip(frame.mib, frame.over_answer, strict=True)
    ]
    wide = frame.assign(cell=cells).pivot(
        index=["family", "shape"], columns="what", values="cell"
    )
    return wide[list(dict.fromkeys(frame.what))].reset_index()


def others(measured: Measured) -> pd.DataFrame:
    """Plain over ours of all that is not one question's way."""
    box = counts.medians(measured, "box_search", "loops", "ours", ["cells"])
    tiles = counts.medians(measured, "tiles", "plain", "ours", ["tiles"])
    runs = counts.medians(measured, "matrix", "plain", "ours", ["model"])
    found = {
        **{f"box search, {cells}×{cells} cells": one for cells, one in box.items()},
        **{f"rel-att-high, {tiles} tiles": one for tiles, one in tiles.items()},
        **{f"all runs of {model}": one for model, one in runs.items()},
        "all runs of all embedded models": counts.whole_matrix(measured),
    }
    return pd.DataFrame(
        {"what": name, "plain / ours": one.format(), "n": one.n}
        for name, one in found.items()
    )


def priced(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and all costs of each model's methods, the Pareto front in FLOPs marked.

    Args:
        frame: of ``costs.with_accuracy``.
    """
    on = pd.concat(
        counts.front(rows, "flops") for _, rows in frame.groupby("model", sort=False)
    )
    text = frame[["model", "method"]].assign(
        **{"accuracy, %": [one.format(1, scale=100) for one in frame.accuracy]},
        n=[one.n for one in frame.accuracy],
        **{
            said: rounded(frame[[name]], DIGITS.get(name, 1))[name]
            for name, said in counts.COSTS.items()
        },
        **{"questions timed": frame.questions},
    )
    return text.assign(front=["yes" if on[place] else "" for place in frame.index])
