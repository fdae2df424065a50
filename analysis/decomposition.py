"""What a crop's gain is made of: a second image, a closer look, the right place."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis import estimates
from vicrop.run import stats
from vicrop.run.stats import Estimate

Runs = Mapping[str, pd.DataFrame]
"""One model's tables of runs by method (see ``results.tables``), rows by sample id."""

BLIND = ("random-crop", "center-crop")
"""Crops that nobody chose by the question."""

MAPS = ("rel-att", "grad-att", "pure-grad")

WHOLE = "all together"


def rungs(method: str, place: str = "random-crop") -> list[str]:
    """The runs from no crop to the human's, each with one thing more."""
    return ["no-crop", "full-twice", place, method, "human-crop"]


def steps(method: str, place: str = "random-crop") -> dict[str, tuple[str, str]]:
    """What each part of the gain is measured by: a run and the one under it.

    The parts of one method add up to ``WHOLE`` on samples that all its runs have.

    Args:
        method: key of the one that chooses the place.
        place: the blind crop that stands for any place.
    """
    names = ("second image", "any crop", "right place", "what is left")
    ladder = rungs(method, place)
    pairs = zip(ladder[1:], ladder[:-1], strict=True)
    return dict(zip(names, pairs, strict=True)) | {WHOLE: (ladder[-1], ladder[0])}


def common(runs: Runs, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Of the named runs that are there, the samples that none of them failed on."""
    there = {name: runs[name] for name in names if name in runs}
    scores = [frame["score"].rename(name) for name, frame in there.items()]
    if not there:
        return {}
    ids = pd.concat(scores, axis=1).dropna().index
    return {name: frame.loc[ids] for name, frame in there.items()}


def parts(runs: Runs, method: str, place: str = "random-crop") -> dict[str, Estimate]:
    """The gain of a human's crop over none, in parts, paired on the same samples.

    Args:
        runs: one model's.
        method: key of the one that chooses the place.
        place: the blind crop that stands for any place.

    Returns:
        By part, as ``steps`` names them; without those whose runs are missing.
    """
    same = common(runs, rungs(method, place))
    return {
        name: stats.difference(same[base]["score"], same[run]["score"])
        for name, (run, base) in steps(method, place).items()
        if run in same and base in same
    }


def every_part(runs: Runs, methods: Sequence[str] = MAPS) -> dict[str, Estimate]:
    """The parts with either blind crop and each method, all on the same samples."""
    there = [name for name in methods if name in runs]
    same = common(runs, ["no-crop", "full-twice", *BLIND, *there, "human-crop"])
    pairs = [("full-twice", "no-crop")]
    pairs += [(blind, "full-twice") for blind in BLIND]
    pairs += [(method, BLIND[0]) for method in there]
    pairs += [("human-crop", method) for method in there]
    pairs += [("human-crop", "no-crop")]
    return estimates.over(same, pairs)


def accuracies(runs: Runs, method: str) -> dict[str, Estimate]:
    """Accuracy on each rung that there is, on the samples that all of them have."""
    same = common(runs, rungs(method))
    return {name: stats.accuracy(frame["score"]) for name, frame in same.items()}


def portions(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Each part over the whole; nothing if the whole is not apart from 0."""
    whole = found.get(WHOLE)
    if whole is None or not whole.excludes(0):
        return {}
    return {
        name: part.value / whole.value for name, part in found.items() if name != WHOLE
    }


def part_table(found: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """Parts of several models as a table to read, each with its share of the whole."""
    table = estimates.effects(found).rename(columns={"run": "part"})
    shares = [
        f"{100 * portions(parts)[name]:.0f}".replace("-", "−")
        if name in portions(parts)
        else ""
        for parts in found.values()
        for name in parts
    ]
    return table.assign(**{"of the whole, %": shares})


def broken(models: Mapping[str, Runs]) -> pd.DataFrame:
    """Right answers that each run makes wrong, as a table to read.

    Where nothing is broken a bootstrap has no width; Wilson's interval still says how
    much could be.

    Args:
        models: runs by model; the one without a crop is left out.
    """
    rows = []
    for model, runs in models.items():
        for name, frame in runs.items():
            right = frame[(frame["plain_score"] >= 0.5) & frame["score"].notna()]
            if name == "no-crop" or right.empty:
                continue
            lost = right["score"] < 0.5
            share = stats.accuracy(lost).format(1, scale=100)
            rows.append((model, name, len(right), int(lost.sum()), share))
    names = ["model", "run", "right without a crop", "broken", "broken, %"]
    return pd.DataFrame(rows, columns=names)
