"""Samples of a run to show on its page: which, and with their maps."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vicrop import images, methods, plots
from vicrop.run import datasets, provenance
from vicrop.run.folder import RunFolder
from vicrop.run.loop import answer_sample
from vicrop.run.records import Record, RunConfig, Sample
from vicrop.types import Answer, Map

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter


def examples(
    frame: pd.DataFrame, each: int = 2, kept: Collection[str] = ()
) -> list[str]:
    """Ids to show: the first fixed, broken, still wrong, still right, not scored.

    Args:
        frame: a run's table.
        each: at most so many of each sort.
        kept: ids whose maps are there, of which alone is chosen; all if there are none.
    """
    frame = frame[frame.index.isin(kept)] if kept else frame
    was, now = frame["plain_score"] >= 0.5, frame["score"] >= 0.5
    tried, scored = frame["error"].isna(), frame["score"].notna()
    sorts = (~was & now, was & ~now, scored & ~was & ~now, was & now, ~scored)
    return [name for sort in sorts for name in frame.index[sort & tried][:each]]


def replay(
    config: RunConfig, ids: Sequence[str], vlm: "Adapter | None" = None
) -> list[tuple[Image.Image, Answer, Sample]]:
    """Single samples with image, answers and map, to be shown.

    As they are recorded; where record or map lacks, answered again.

    Args:
        config: of the run.
        ids: of the samples.
        vlm: the model, if it is loaded already; else it is loaded where it is needed.
    """
    folder = RunFolder.of(config)
    records, maps = {one.id: one for one in folder.records()}, folder.maps()
    known = {sample.id: sample for sample in datasets.load(config.dataset)}
    shown = []
    for name in ids:
        file = datasets.image_path(config.dataset, known[name])
        answer = _recorded(config, records.get(name), maps.get(name))
        if answer is None:
            vlm = vlm or provenance.load(config)
            view = vlm.look(file, config.fit, config.geometry)
            answer = answer_sample(view, config, known[name])
        shown.append((images.load(file), answer, known[name]))
    return shown


def _recorded(
    config: RunConfig, record: Record | None, amap: Map | None
) -> Answer | None:
    """What was said of a sample; None unless all is there that its picture shows."""
    if record is None or record.answer is None or record.plain is None:
        return None
    of_map = config.method.removesuffix(methods.HIGH) in methods.MAPS
    if record.box and of_map and not config.boxes_from and amap is None:
        return None
    return Answer(record.answer, record.plain, record.box, amap)


def gallery(shown: Sequence[tuple[Image.Image, Answer, Sample]]) -> Figure:
    """A row a sample: image; map with crop (red) and truth (dashed green); crop.

    Args:
        shown: a sample each: its picture, what was said of it, and itself.
    """
    rows = len(shown)
    # Small and dense: its letters are to be read on a phone too.
    figure = plt.figure(figsize=(5.5, 2.2 * rows), dpi=140, layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False)
    for axes, one in zip(grid, shown, strict=True):
        _row(axes, *one)
    plots.finish(figure)
    return figure


def _row(
    axes: Sequence[Axes], image: Image.Image, answer: Answer, sample: Sample
) -> None:
    """One of ``gallery``."""
    plots.show_image(image, axes[0]).set_xlabel(plots.text(sample.question, 26))
    if answer.amap is None:
        plots.show_image(image, axes[1])
    else:
        plots.show_map(image, answer.amap, axes[1])
        plots.name_seen(image, answer.amap, axes[1])
    label = f"label “{sample.labels[0]}”, " if sample.labels else ""
    said = f"{label}image alone “{answer.plain}”"
    axes[1].set_xlabel(plots.text(said, 26))
    plots.show_boxes(image, answer.box, sample.boxes, axes[1])
    plots.show_crop(image, answer, "with this crop", axes[2])
