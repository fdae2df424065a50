"""Attention ratios in all layers, right and wrong answers apart (paper, Figure 3)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis import FEWEST, looking, paper
from vicrop.adapters.adapter import Adapter
from vicrop.run import results, stats
from vicrop.run.records import Sample
from vicrop.run.stats import Estimate

ANSWERS = ("right", "wrong")


def by_pair(
    vlm: Adapter, dataset: str, samples: list[Sample], method: str = "rel-att"
) -> pd.DataFrame:
    """``gaze.by_layer`` at each layer of the connector too.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        samples: those without a ground-truth box are passed over.
        method: see ``gaze.by_layer``.

    Returns:
        As ``gaze.by_layer``, with ``connector``, the connector's layer k, and ``pair``,
        l = m + k·L of the language model's layer m and its number of layers L.

    Source: paper, section 4, the axis of Figure 3.
    """
    parts = [
        looking.by_layer(one, dataset, samples, method).assign(connector=number)
        for number, one in enumerate(vlm.by_connector())
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(pair=frame["layer"] + len(vlm.attention) * frame["connector"])


def chosen(vlm: Adapter) -> int:
    """The pair of layers that the model's map is read at."""
    return vlm.layer + len(vlm.attention) * vlm.connector_layer


def means(frame: pd.DataFrame) -> dict[str, list[Estimate]]:
    """Mean attention ratio of each pair of layers, by answer; n in the name.

    Args:
        frame: as ``by_pair`` makes it, with answers (see ``gaze.with_answers``).
    """
    return {
        f"{answer}, n = {_count(frame, answer)}": [
            stats.bootstrap(values) for values in _ratios(frame, answer).values()
        ]
        for answer in ANSWERS
        if _count(frame, answer)
    }


def _count(frame: pd.DataFrame, answer: str) -> int:
    """Samples with such an answer and a ratio: a map may not contain its object."""
    return frame[frame["answer"] == answer].dropna(subset=["ratio"])["id"].nunique()


def _ratios(frame: pd.DataFrame, answer: str) -> dict[int, np.ndarray]:
    """Ratios of such answers at every pair of layers, also where there are none."""
    known = frame[frame["answer"] == answer].dropna(subset=["ratio"])
    return {
        int(pair): known.loc[known["pair"] == pair, "ratio"].to_numpy()
        for pair in sorted(frame["pair"].unique())
    }


def apart(frame: pd.DataFrame) -> dict[int, Estimate]:
    """Mean ratio of wrong answers less that of right ones, by pair of layers.

    Of no samples where there are not both.
    """
    right, wrong = (_ratios(frame, answer) for answer in ANSWERS)
    return {pair: stats.between(wrong[pair], right[pair]) for pair in right}


def counted(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """In how many layers a mean lies above 1, and wrong apart from right: to be read.

    Args:
        frames: by model, see ``means``; every size of object, then the small ones.
    """
    rows = [_papers()]
    for model, frame in frames.items():
        for size in ("all", "small"):
            part = frame if size == "all" else frame[frame["group"] == size]
            rows.append({"model": model, "objects": size, **_counts(part)})
    return pd.DataFrame(rows)


HEADS = (
    "layers",
    "right, n",
    "right > 1",
    "wrong, n",
    "wrong > 1",
    "wrong < right",
    "wrong > right",
)


def _papers() -> dict[str, str]:
    """The paper's row: its curves have no values, and it has no test of them."""
    pairs = [m * k for m, k in paper.FIGURE_3_LAYERS.values()]
    layers = f"{min(pairs)} to {max(pairs)}"
    said = (layers, "–", "most", "–", "most", *["no test"] * 2)
    row = {"model": f"the paper's {len(pairs)}", "objects": "all"}
    return row | dict(zip(HEADS, said, strict=True))


def _counts(frame: pd.DataFrame) -> dict[str, str]:
    said: list[str] = [str(frame["pair"].nunique())]
    for answer in ANSWERS:
        made = [stats.bootstrap(values) for values in _ratios(frame, answer).values()]
        sides = [stats.verdict(one, null=1) for one in made]
        said += [str(_count(frame, answer)), str(sides.count("positive"))]
    sides = [stats.verdict(one) for one in apart(frame).values()]
    said += [str(sides.count("negative")), str(sides.count("positive"))]
    return dict(zip(HEADS, said, strict=True))


def at_chosen(frames: Mapping[str, tuple[pd.DataFrame, int]]) -> pd.DataFrame:
    """Wrong beside right answers at the layer of each model's map, to be read.

    Groups without ``FEWEST`` answers of both kinds are not compared.

    Args:
        frames: by model: see ``means``, and the pair of layers.
    """
    rows = []
    for model, (frame, pair) in frames.items():
        for group, part in {"all": frame, **results.by_group(frame)}.items():
            at = part[part["pair"] == pair].dropna(subset=["ratio"])
            right, wrong = (
                stats.bootstrap(at.loc[at["answer"] == name, "ratio"])
                for name in ANSWERS
            )
            row = {"model": model, "objects": group}
            row |= {"right": _mean(right), "wrong": _mean(wrong)}
            row |= {"wrong minus right": "too few", "effect": "–"}
            if min(right.n, wrong.n) >= FEWEST:
                change = apart(at)[pair]
                row["wrong minus right"] = change.format(1, sign=True)
                row["effect"] = stats.verdict(change)
            rows.append(row)
    return pd.DataFrame(rows)


def _mean(ratio: Estimate) -> str:
    enough = ratio.n >= FEWEST
    return f"{ratio.format(1)}, n = {ratio.n}" if enough else f"n = {ratio.n}"
