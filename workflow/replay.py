"""Samples of a run to show on its page: which, and answered again with their maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vicrop import plots
from vicrop.run import datasets
from vicrop.run.records import RunConfig, Sample
from vicrop.types import Answer

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter


def examples(frame: pd.DataFrame, each: int = 2) -> list[str]:
    """Ids to show: the first fixed, broken, still wrong, still right, not scored.

    Args:
        frame: a run's table.
        each: at most so many of each sort.
    """
    was, now = frame["plain_score"] >= 0.5, frame["score"] >= 0.5
    tried, scored = frame["error"].isna(), frame["score"].notna()
    sorts = (~was & now, was & ~now, scored & ~was & ~now, was & now, ~scored)
    return [name for sort in sorts for name in frame.index[sort & tried][:each]]


def replay(
    config: RunConfig, vlm: "Adapter", ids: Sequence[str]
) -> list[tuple[Image.Image, Answer, Sample]]:
    """Answer single samples again, this time with image and map, to be shown."""
    from vicrop.run.loop import answer_sample  # torch

    known = {sample.id: sample for sample in datasets.load(config.dataset)}
    shown = []
    for sample in (known[name] for name in ids):
        file = datasets.image_path(config.dataset, sample)
        view = vlm.look(file, config.fit, config.geometry)
        shown.append((view.image, answer_sample(view, config, sample), sample))
    return shown


def gallery(shown: Sequence[tuple[Image.Image, Answer, Sample]]) -> Figure:
    """A row a sample: image; map with crop (red) and truth (dashed green); crop.

    Args:
        shown: a sample each: its picture, what was said of it, and itself.
    """
    rows = len(shown)
    figure, grid = plt.subplots(
        rows, 3, figsize=(9, 3.2 * rows), layout="constrained", squeeze=False
    )
    for axes, one in zip(grid, shown, strict=True):
        _row(axes, *one)
    plots.finish(figure)
    return figure


def _row(
    axes: Sequence[Axes], image: Image.Image, answer: Answer, sample: Sample
) -> None:
    """One of ``gallery``."""
    plots.show_image(image, axes[0]).set_xlabel(plots.text(sample.question, 36))
    if answer.amap is None:
        plots.show_image(image, axes[1])
    else:
        plots.show_map(image, answer.amap, axes[1])
        plots.name_seen(image, answer.amap, axes[1])
    label = f"label “{sample.labels[0]}”, " if sample.labels else ""
    said = f"{label}image alone “{answer.plain}”"
    axes[1].set_xlabel(plots.text(said, 36))
    plots.show_boxes(image, answer.box, sample.boxes, axes[1])
    plots.show_crop(image, answer, "with this crop", axes[2])
