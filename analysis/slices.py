"""Slices of data sets and runs: counted, split, and single samples to be shown."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd
from PIL import Image

from vicrop import boxes, geometry, images
from vicrop.run import datasets
from vicrop.run.results import size_group


def in_view(name: str, fit: str) -> pd.Series:
    """Share of each object of a data set that a fit leaves to the model, by sample id.

    Args:
        name: key or folder of the data set; samples without an object are left out.
        fit: see ``geometry.region``.
    """
    shares = {}
    for sample in datasets.load(name):
        if sample.boxes:
            size = datasets.image_size(datasets.image_path(name, sample))
            seen = geometry.visible(fit, size)
            shares[sample.id] = boxes.coverage(seen, sample.boxes[0])
    return pd.Series(shares, dtype=float)


def image_of(name: str) -> dict[str, str]:
    """The picture of each of a data set's samples, by sample id."""
    return {sample.id: sample.image_path for sample in datasets.load(name)}


def counts(names: Sequence[str]) -> pd.DataFrame:
    """Questions and images of data sets, by size group and kind."""
    rows = []
    for name in names:
        samples = datasets.load(name)
        kinds = Counter(sample.meta["kind"] for sample in samples)
        groups = Counter(size_group(size) or "no object" for size in _sizes(name))
        files = len({sample.image_path for sample in samples})
        made = {"data set": name, "images": files, "questions": len(samples)}
        rows.append(made | dict(sorted(groups.items())) | dict(sorted(kinds.items())))
    return pd.DataFrame(rows)


def sizes(name: str) -> list[float]:
    """Object sizes S of a data set's questions that have a box."""
    return [size for size in _sizes(name) if size is not None]


def _sizes(name: str) -> list[float | None]:
    return [
        datasets.object_size(s, datasets.image_size(datasets.image_path(name, s)))
        for s in datasets.load(name)
    ]


def pictures(names: Sequence[str], each: int) -> list[tuple[str, Image.Image]]:
    """The first images of data sets, each with its name and size."""
    shown = []
    for name in names:
        files = dict.fromkeys(datasets.image_path(name, s) for s in datasets.load(name))
        for file in list(files)[:each]:
            image = images.load(file)
            shown.append((f"{name}, {image.width}×{image.height} px", image))
    return shown


def only(runs: dict[str, pd.DataFrame], ids: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The rows of some samples."""
    wanted = set(ids)
    return {name: rows[rows.index.isin(wanted)] for name, rows in runs.items()}


def size_bins(frame: pd.DataFrame, count: int) -> dict[str, pd.DataFrame]:
    """Equally filled bins of the object's side over the image's, in percent."""
    side = 100 * frame["size"] ** 0.5
    bins = pd.qcut(side, count)
    return {
        f"{interval.left:.1f}–{interval.right:.1f} %": frame[bins == interval]
        for interval in bins.cat.categories
    }


def by_kind(frame: pd.DataFrame, dataset: str) -> dict[str, pd.DataFrame]:
    """A table split by the kind of question that the data set gives."""
    kinds = {s.id: s.meta.get("kind", "") for s in datasets.load(dataset)}
    return {str(kind): rows for kind, rows in frame.groupby(frame.index.map(kinds))}
