"""The paper's tables with ours beside them: whose each number is stands in its row."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis import paper
from analysis.claims import ledger, measures
from analysis.claims.evidence import Evidence, Run
from analysis.paper import GROUP_COUNTS, METHODS, SEVEN, TABLE_1, TABLE_2, TABLE_5
from vicrop.run import results, stats

PAPERS, OURS, HERE = "the paper's", "ours", "here"
"""Whose numbers; the last are of the paper's models, run by whoever has this book."""

WHAT = ("n", "no crop, %", "{crop}, %", "gain, points")
"""What stands in each of a model's rows of ``by_size``."""

SQUARE = "smallest square"
"""The paper's human-CROP, ``human-crop-tight`` here."""


def short(model: str) -> str:
    """A model of the paper without the name of its language model."""
    return paper.MODELS[model].partition(" (")[0]


# Table 1: by size of the object.


def by_size(
    evidence: Evidence, runs: Mapping[str, pd.DataFrame], dataset: str
) -> pd.DataFrame:
    """Accuracy by size of object, without and with a human crop: the paper's, ours.

    Args:
        evidence: the runs that are here; TextVQA with a human crop is shown if one of
            the paper's models has it.
        runs: by model: the table of its run ``human-crop``.
        dataset: that those runs are of; the smallest square is looked for there too.
    """
    rows = []
    for model in dict.fromkeys(model for model, _ in TABLE_1.rows):
        rows += _block(PAPERS, short(model), _papers_sizes(model), SQUARE)
        key = MODELS.get(model, "")
        there = evidence.frame(Run("textvqa", "human-crop-tight"), key) if key else None
        if there is not None:
            rows += _block(HERE, short(model), _our_sizes(there), SQUARE)
    for model, frame in runs.items():
        rows += _block(OURS, model, _our_sizes(frame), "human-crop")
        tight = evidence.frame(Run(dataset, "human-crop-tight"), model)
        if tight is not None:
            rows += _block(OURS, model, _our_sizes(tight), SQUARE)
    return pd.DataFrame(rows).fillna("–")


Sizes = Mapping[str, tuple[str, ...]]
"""By size group: the cells of ``WHAT``."""


def _block(whose: str, model: str, sizes: Sizes, crop: str) -> list[dict[str, str]]:
    named = {"whose": whose, "model": model}
    return [
        named
        | {"of": name.format(crop=crop)}
        | {group: cells[place] for group, cells in sizes.items()}
        for place, name in enumerate(WHAT)
    ]


def _papers_sizes(model: str) -> Sizes:
    found = {}
    for group, n in GROUP_COUNTS.items():
        plain, human = (
            TABLE_1.value(model, crop, group) for crop in ("no-crop", "human-crop")
        )
        gain = paper.points(human - plain)
        found[group] = f"{n}", f"{plain:.2f}", f"{human:.2f}", gain
    return found


def _our_sizes(frame: pd.DataFrame) -> Sizes:
    found = {}
    for group, rows in results.by_group(frame).items():
        made = stats.summary(rows)
        plain, both = (one.format(1, scale=100) for one in (made.plain, made.score))
        gain = made.gain.format(1, sign=True, scale=100)
        found[group] = f"{made.n}", plain, both, gain
    return found


# Table 2: the methods on seven data sets.

MODELS = {"llava": "llava-1.5-7b", "instructblip": "instructblip-vicuna-7b"}
"""The paper's models, and their keys here."""

NONE = "no record"

CELLS = ("n", "no crop, %", *METHODS, "failed")
"""Of a row of ``seven`` and ``drawn``; below a method stands its gain, in points."""


def seven(evidence: Evidence) -> pd.DataFrame:
    """The paper's Table 2: accuracy without a crop, and each method's gain.

    Args:
        evidence: the runs that are here; those of the paper's models and data sets
            among them stand below the paper's rows.
    """
    rows = []
    for theirs, key in MODELS.items():
        rows += [_papers(theirs, name) for name in SEVEN]
        rows += _here(evidence, theirs, key)
    return pd.DataFrame(rows)


def drawn(
    evidence: Evidence, models: Sequence[str], parts: Sequence[Run]
) -> pd.DataFrame:
    """``seven`` of embedded models on drawn scenes: ours.

    Args:
        evidence: the runs that are here.
        models: keys; a part without any record of a model is left out.
        parts: of the data, each as its run without a crop.
    """
    rows = [
        {f"model ({OURS})": model, "data": ", ".join((part.dataset, part.group))}
        | dict(zip(CELLS, found, strict=True))
        for model in models
        for part in parts
        if (found := _measured(evidence, model, part)) is not None
    ]
    return pd.DataFrame(rows)


def _row(whose: str, model: str, data: str, cells: Sequence[str]) -> dict[str, str]:
    named = {"whose": whose, "model": short(model), "data": data}
    return named | dict(zip(CELLS, cells, strict=True))


def _papers(model: str, name: str) -> dict[str, str]:
    n = TABLE_5.value("all", "questions", name)
    gains = [paper.points(TABLE_2.change(model, method, name)) for method in METHODS]
    plain = f"{TABLE_2.value(model, 'no-crop', name):.2f}"
    cells = (f"{n:.0f}", plain, *gains, "–")
    return _row(PAPERS, model, name, cells)


def _here(evidence: Evidence, theirs: str, model: str) -> list[dict[str, str]]:
    """A row a data set that has a record, and one for all that have none."""
    rows, missing = [], []
    for name in SEVEN:
        found = _measured(evidence, model, Run(name, "no-crop"))
        if found is None:
            missing.append(name)
        else:
            rows.append(_row(HERE, theirs, name, found))
    if missing:
        names = "all seven" if missing == list(SEVEN) else ", ".join(missing)
        cells = ("–", *[NONE] * (1 + len(METHODS)), "–")
        rows.append(_row(HERE, theirs, names, cells))
    return rows


def tiled(dataset: str) -> bool:
    """Whether a data set is of large pictures, looked at tile by tile."""
    return dataset in ("vstar", "plates-hd")


def methods(dataset: str) -> list[str]:
    """The runs behind a row's gains."""
    high = "-high" if tiled(dataset) else ""
    return [f"{method}{high}" for method in METHODS]


def _measured(evidence: Evidence, model: str, part: Run) -> tuple[str, ...] | None:
    """The cells of a row; None without any record."""
    needs = [part, *(_with(part, method) for method in methods(part.dataset))]
    plain, *frames = (evidence.frame(need, model) for need in needs)
    if plain is None and all(frame is None for frame in frames):
        return None
    told = ("–", NONE) if plain is None else _plain(plain)
    gains = [_gain(frame, plain) for frame in frames]
    lost = sum(evidence.failed(need, model) for need in needs)
    return (*told, *gains, str(lost))


def _plain(frame: pd.DataFrame) -> tuple[str, str]:
    right = stats.accuracy(frame["plain_score"])
    return str(right.n), right.format(1, scale=100)


def _with(part: Run, method: str) -> Run:
    return Run(part.dataset, method, group=part.group)


def _gain(frame: pd.DataFrame | None, plain: pd.DataFrame | None) -> str:
    """A gain, with its n where it is not of the questions of the plain answers."""
    if frame is None:
        return NONE
    said = measures.gain(frame).format(1, sign=True)
    if plain is not None and set(frame.index) == set(plain.index):
        return said
    known = plain is not None and set(frame.index) <= set(plain.index)
    return f"{said}, n = {len(frame)}{'' if known else ', other questions'}"


def missing(evidence: Evidence) -> str:
    """The commands that make the records that ``seven`` lacks."""
    lacking: dict[tuple[str, str], list[str]] = {}
    for model in MODELS.values():
        for name in SEVEN:
            for method in ("no-crop", *methods(name)):
                if evidence.folder(Run(name, method), model) is None:
                    lacking.setdefault((model, name), []).append(method)
    return "; ".join(ledger.for_runs(lacking)) or "nothing: all are here"
