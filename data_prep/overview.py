"""All data sets side by side: what is published, what the paper has, what is here."""

import pandas as pd

import data_prep
from vicrop import paths
from vicrop.run import datasets, scores

PAPER = {
    "vstar": (191, 191),
    "docvqa": (5349, 1286),
    "textvqa": (5000, 3166),
    "pope": (8910, 500),
    "aokvqa": (1145, 1122),
    "gqa": (10781, 398),
    "vqav2": (50000, 14206),
}
"""Questions and images of the paper's Table 5."""


def table() -> pd.DataFrame:
    """A row for each data set that ``vicrop prep`` makes from originals."""
    return pd.DataFrame([_row(key) for key in data_prep.MODULES])


def _row(key: str) -> dict[str, str]:
    facts = data_prep.get(key)
    here = is_here(key)
    return {
        "key": key,
        "data": facts.title,
        "questions": _number(facts.questions),
        "images": _number(facts.images),
        "in the paper": " / ".join(map(_number, PAPER[key])) if key in PAPER else "–",
        "metric": scores.metric_name(key),
        "here": f"{len(datasets.load(key)):,} questions" if here else "no",
    }


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def is_here(key: str) -> bool:
    """Whether a data set has been made."""
    return (paths.data() / key / "data.json").is_file()


def with_boxes() -> list[str]:
    """Data sets that are here and have ground-truth boxes, the drawn ones first."""
    here = [key for key in datasets.MAKERS if is_here(key)]
    return [key for key in here if any(s.boxes for s in datasets.load(key))]


def published() -> dict[str, tuple[int, float]]:
    """Questions that ``vicrop prep`` asks of each data set, and its download, GB.

    Of files whose size is known.
    """
    found = {}
    for key in data_prep.MODULES:
        facts = data_prep.get(key)
        files = [*facts.files, *([facts.pictures] if facts.pictures else [])]
        size = sum(file.gigabytes or 0 for file in files or facts.mirror)
        found[key] = facts.limit or facts.questions or 0, size
    return found
