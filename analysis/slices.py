"""Slices of data sets and runs: counted, split, and single samples to be shown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image

from vicrop import boxes, geometry, images, scoring
from vicrop.run import datasets
from vicrop.run.results import size_group
from vicrop.types import check_question

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter


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


def example(
    vlm: "Adapter", image: str, question: str, number: int = 0, dataset: str = "plates"
) -> tuple[Image.Image, str, tuple]:
    """An image and a question to show: the caller's, or one of a data set.

    Args:
        vlm: the model.
        image: path of an image; empty for one of the data set.
        question: the question; empty for the data set's.
        number: which of the small objects' questions that the model answers wrongly
            without a crop, from 0.
        dataset: where from.

    Returns:
        The image, the question and the ground-truth boxes (none for a caller's).
    """
    if image:
        return images.load(image), check_question(question), ()
    missed = 0
    for sample in datasets.load(dataset):
        picture = images.load(datasets.image_path(dataset, sample))
        size = datasets.object_size(sample, picture.size)
        if size_group(size) != "small":
            continue
        said = vlm.look(picture).ask(sample.question)
        missed += not scoring.score(dataset, said.text, sample.labels)
        if missed > number:
            return picture, question or sample.question, sample.boxes
    raise ValueError(f"{dataset} has only {missed} such samples, asked for {number}")
