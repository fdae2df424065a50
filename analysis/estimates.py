"""Intervals of runs as tables to read, and gains of several runs at once."""

from collections.abc import Iterable, Mapping

import pandas as pd

from vicrop.run.stats import Estimate, difference, summary, verdict


def report(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Runs as a table to read: percentages with 95 % intervals, gains in points.

    Args:
        frames: tables of runs (see ``results.table``) by what they are called.
    """
    rows = []
    for name, frame in frames.items():
        made = summary(frame)
        rows.append(
            {
                "run": name,
                "n": made.n,
                "errors": made.errors,
                "no crop, %": made.plain.format(1, scale=100),
                "answer, %": made.score.format(1, scale=100),
                "gain, points": made.gain.format(1, sign=True, scale=100),
                "fixed": made.changes.fixed,
                "broken": made.changes.broken,
                "McNemar p": f"{made.changes.p:.1g}",
            }
        )
    return pd.DataFrame(rows)


def reports(runs: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """``report`` of several models, one below the other."""
    parts = []
    for model, frames in runs.items():
        part = report(frames)
        part.insert(0, "model", model)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def gains(frames: Mapping[str, pd.DataFrame]) -> dict[str, Estimate]:
    """Paired gain over the same model without a crop, by run."""
    return {name: summary(frame).gain for name, frame in frames.items()}


def against(frames: Mapping[str, pd.DataFrame], method: str) -> dict[str, Estimate]:
    """Paired gain of one method's answers over each other's, on the same samples.

    Args:
        frames: tables of runs by method, indexed by sample id.
        method: which of them.

    Samples that failed in either run are left out of that comparison.
    """
    ours = frames[method]["score"]
    return {
        name: difference(frame["score"], ours)
        for name, frame in frames.items()
        if name != method
    }


def over(
    frames: Mapping[str, pd.DataFrame], pairs: Iterable[tuple[str, str]]
) -> dict[str, Estimate]:
    """Paired gain of one run over another, for each pair (run, other) that is there."""
    return {
        f"{name} over {other}": against(
            {name: frames[name], other: frames[other]}, name
        )[other]
        for name, other in pairs
        if name in frames and other in frames
    }


def effects(estimates: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """Differences as a table to read: points with 95 % intervals, and on which side.

    Args:
        estimates: by model, then by what is compared.
    """
    rows = [
        (model, name, found.n, found.format(1, sign=True, scale=100), verdict(found))
        for model, named in estimates.items()
        for name, found in named.items()
    ]
    return pd.DataFrame(rows, columns=["model", "run", "n", "points", "effect"])
