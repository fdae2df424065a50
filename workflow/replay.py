"""Samples of a run to show on its page: which, and answered again with their maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from PIL import Image

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
