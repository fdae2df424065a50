"""The paper's tables and ours side by side: whose each number is stands in its row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from analysis import paper
from analysis.claims import ledger, readings
from analysis.claims.claims import tiled
from analysis.claims.readings import Answers, Evidence
from analysis.paper import GROUP_COUNTS, SEVEN, TABLE_1, TABLE_2, TABLE_5
from vicrop.methods import HIGH, PAPER
from vicrop.run import results, stats
from vicrop.run.stats import Estimate
from workflow import tables

PAPERS, OURS, HERE = "the paper's", "ours", "here"
"""Whose numbers; the last are of the paper's models, run by whoever has this book."""

TIGHT, SQUARE = "human-crop-tight", "smallest square"
"""The paper's human-CROP, and what it is called in a row."""


def short(model: str) -> str:
    """A model of the paper without the name of its language model."""
    return paper.MODELS[model].partition(" (")[0]


# Table 1: by size of the object.


def by_size(evidence: Evidence, models: Iterable[str], dataset: str) -> pd.DataFrame:
    """Accuracy by size of object, without and with a human crop: the paper's, ours.

    Args:
        evidence: the runs that are here; TextVQA with a human crop is shown if one of
            the paper's models has it.
        models: keys of ours, shown with the human crops that they have runs of.
        dataset: that those runs are of.
    """
    rows = []
    for model in dict.fromkeys(model for model, _ in TABLE_1.rows):
        rows += _block(PAPERS, short(model), SQUARE, _papers_sizes(model))
        key = ledger.MODELS.get(model, "")
        there = evidence.frame(Answers("textvqa", TIGHT), key)
        rows += _block(HERE, short(model), SQUARE, _our_sizes(there))
    for model in models:
        for crop, name in (("human-crop", "human-crop"), (TIGHT, SQUARE)):
            ours = evidence.frame(Answers(dataset, crop), model)
            rows += _block(OURS, model, name, _our_sizes(ours))
    return pd.DataFrame(rows).fillna("–")


Sizes = Mapping[str, tuple[str, ...]]
"""By size group: n, accuracy without the crop and with it, and the gain."""


def _block(whose: str, model: str, crop: str, sizes: Sizes) -> list[dict[str, str]]:
    names = ("n", "no crop, %", f"{crop}, %", "gain, points") if sizes else ()
    return [
        {"whose": whose, "model": model, "of": name}
        | {group: cells[place] for group, cells in sizes.items()}
        for place, name in enumerate(names)
    ]


def _papers_sizes(model: str) -> Sizes:
    found = {}
    for group, n in GROUP_COUNTS.items():
        crops = ("no-crop", "human-crop")
        right = [f"{TABLE_1.value(model, crop, group):.2f}" for crop in crops]
        gain = paper.points(TABLE_1.change(model, "human-crop", group))
        found[group] = str(n), *right, gain
    return found


def _our_sizes(frame: pd.DataFrame | None) -> Sizes:
    found = {}
    for group, rows in results.by_group(frame).items() if frame is not None else ():
        made = tables.summary(rows)
        plain, both = (one.format(1, scale=100) for one in (made.plain, made.score))
        gain = made.gain.format(1, sign=True, scale=100)
        found[group] = str(made.n), plain, both, gain
    return found


# Table 2: the methods on seven data sets.

NONE = "no record"

CELLS = ("n", "no crop, %", *PAPER, "failed")
"""Of a row of ``seven`` and ``drawn``; below a method stands its gain, in points."""


def seven(evidence: Evidence) -> pd.DataFrame:
    """The paper's Table 2: accuracy without a crop, and each method's gain.

    Args:
        evidence: the runs that are here; those of the paper's models and data sets
            among them stand below the paper's rows.
    """
    rows = []
    for theirs, key in ledger.MODELS.items():
        rows += [_row(PAPERS, theirs, name, _papers(theirs, name)) for name in SEVEN]
        found = {
            name: _measured(evidence, key, Answers(name, "no-crop")) for name in SEVEN
        }
        rows += [_row(HERE, theirs, name, told) for name, told in found.items() if told]
        missing = [name for name, told in found.items() if told is None]
        if missing:
            names = "all seven" if missing == list(SEVEN) else ", ".join(missing)
            cells = ("–", *[NONE] * (1 + len(PAPER)), "–")
            rows.append(_row(HERE, theirs, names, cells))
    return pd.DataFrame(rows)


def drawn(
    evidence: Evidence, models: Sequence[str], parts: Sequence[Answers]
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


def _papers(model: str, name: str) -> tuple[str, ...]:
    n = TABLE_5.value("all", "questions", name)
    gains = [paper.points(TABLE_2.change(model, method, name)) for method in PAPER]
    plain = f"{TABLE_2.value(model, 'no-crop', name):.2f}"
    return (f"{n:.0f}", plain, *gains, "–")


def _measured(evidence: Evidence, model: str, part: Answers) -> tuple[str, ...] | None:
    """The cells of a row; None without any record."""
    runs = [replace(part, method=one) for one in ("no-crop", *tiled(part.dataset))]
    plain, *frames = (evidence.frame(run, model) for run in runs)
    if plain is None and all(frame is None for frame in frames):
        return None
    n, right = "–", NONE
    if plain is not None:
        found = stats.accuracy(plain["plain_score"], plain["image"])
        n, right = str(found.n), found.format(1, scale=100)
    asked = (evidence.rows(run, model) for run in runs)
    lost = sum(rows["error"].notna().sum() for rows in asked if rows is not None)
    return (n, right, *(_gain(frame, plain) for frame in frames), str(lost))


def _gain(frame: pd.DataFrame | None, plain: pd.DataFrame | None) -> str:
    """A gain, with its n where it is not of the questions of the plain answers."""
    if frame is None:
        return NONE
    said = readings.gain(frame).format(1, sign=True)
    if plain is not None and set(frame.index) == set(plain.index):
        return said
    known = plain is not None and set(frame.index) <= set(plain.index)
    return f"{said}, n = {len(frame)}{'' if known else ', other questions'}"


def missing(evidence: Evidence) -> str:
    """The commands that make the records that ``seven`` lacks."""
    lacking: dict[tuple[str, str], list[str]] = {}
    for model in ledger.MODELS.values():
        for name in SEVEN:
            for method in ("no-crop", *tiled(name)):
                if evidence.folder(Answers(name, method), model) is None:
                    lacking.setdefault((model, name), []).append(method)
    return "; ".join(ledger.for_runs(lacking)) or "nothing: all are here"


# Table 3: which layer, and tiles or none.


def choices(evidence: Evidence, layers: Mapping[str, Estimate]) -> pd.DataFrame:
    """The paper's Table 3 as differences: the mean of all layers, and tiles.

    Args:
        evidence: the runs that are here.
        layers: by model of ours, the accuracy with rel-att's crop of the mean of all
            layers less that with the map's layer's, points.
    """
    rows = [
        (PAPERS, short(model), method, *_papers_choices(model, method))
        for model in paper.BOTH
        for method in PAPER
    ]
    for model, mean in layers.items():
        for method in PAPER:
            told = mean.format(1, sign=True) if method == "rel-att" else "–"
            rows.append((OURS, model, method, told, _tiled(evidence, model, method)))
    names = ["whose", "model", "map", "mean of all layers − one", "tiles − none"]
    return pd.DataFrame(rows, columns=names)


def _papers_choices(model: str, method: str) -> list[str]:
    pairs = [("mean of all layers", "selected layer"), ("with tiles", "without tiles")]
    return [
        paper.points(paper.TABLE_3.apart(model, method, *pair))
        if method != "pure-grad" or "with tiles" in pair  # it reads no layer
        else "–"
        for pair in pairs
    ]


def _tiled(evidence: Evidence, model: str, method: str) -> str:
    """What tiles add on small objects of large pictures."""
    with_tiles, without = (
        evidence.frame(Answers("plates-hd", name, group="small"), model)
        for name in (f"{method}{HIGH}", method)
    )
    if with_tiles is None or without is None:
        return NONE
    return readings.over(with_tiles, without).format(1, sign=True)


# All of the paper's figures and tables.

REAL, TOY, REDRAWN, NOT = "● real", "◐ toy", "◇ redrawn", "○ not made"
"""What is here of a figure or table: measured of the paper's own models, of toy models
only, drawn anew, or nothing."""

SHOWN: tuple[tuple[str, str, str, str], ...] = (
    ("Figure 1", "zooming in on an object, view by view", TOY, ""),
    ("Figure 2", "where models look when right, and when wrong", TOY, ""),
    ("Figure 3", "attention on the object, layer by layer", TOY, ""),
    ("Figure 4", "a diagram of the method", REDRAWN, ""),
    ("Figures 5–8", "examples of crops, some failures", TOY, ""),
    (
        "Table 1",
        "accuracy by size, and a human's crop",
        TOY,
        "human-crop-tight textvqa",
    ),
    ("Table 2", "three methods on seven data sets", TOY, "rel-att textvqa"),
    ("Table 3", "which layer; tiles or none", TOY, "rel-att-high vstar"),
    ("Table 4", "outside tools, and seconds", TOY, ""),
    ("Table 5", "the data sets", REDRAWN, ""),
    ("Table 6", "a model trained at higher resolution", NOT, ""),
    ("Table 7", "a model trained to search", NOT, ""),
    ("Appendix A", "with the text that OCR found in the prompt", NOT, ""),
)
"""Its place, what it shows, what is here without the paper's models, and the run of
one of them that makes it real."""


def shown(evidence: Evidence) -> pd.DataFrame:
    """A row a figure or table of the paper: what it shows, and what of it is here."""
    rows = [
        (place, REAL if run and _has(evidence, *run.split()) else here, what)
        for place, what, here, run in SHOWN
    ]
    return pd.DataFrame(rows, columns=["in the paper", "here", "what it shows"])


def _has(evidence: Evidence, method: str, dataset: str) -> bool:
    need = Answers(dataset, method)
    return any(evidence.folder(need, model) for model in ledger.MODELS.values())
