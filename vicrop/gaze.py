"""Where a model looks, layer by layer: the paper's Figure 3 and the layer's choice."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from vicrop import boxes, datasets, results, stats
from vicrop.adapters.base import Adapter
from vicrop.types import Sample
from vicrop.view import View

COVERED = 0.9
"""A crop counts as covering an object from this share of its area on."""


def by_layer(
    vlm: Adapter,
    dataset: str,
    samples: list[Sample],
    method: str = "rel-att",
    progress: bool = False,
) -> pd.DataFrame:
    """Attention ratio and crop coverage of every layer's map.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        samples: those without a ground-truth box are passed over.
        method: ``rel-att`` or ``raw-att``.
        progress: whether to show a bar.

    Returns:
        One row a sample and layer: ``id``, ``layer``, ``size`` (S), ``ratio``
        (attention ratio, see ``boxes.attention_ratio``) and ``coverage`` (share of the
        object in the crop that this layer's map would choose).
    """
    boxed = [sample for sample in samples if sample.boxes]
    rows = []
    pairs = tqdm(views(vlm, dataset, boxed), total=len(boxed), disable=not progress)
    for sample, view in pairs:
        size = view.image.size
        question = sample.short_question or sample.question
        for layer, amap in enumerate(view.layer_maps(question, method)):
            crop = boxes.select_box(amap, size, vlm.crop_px)
            rows.append(
                {
                    "id": sample.id,
                    "layer": layer,
                    "size": datasets.object_size(sample, size),
                    "ratio": boxes.attention_ratio(amap, sample.boxes[0], size),
                    "coverage": boxes.coverage(crop, sample.boxes[0]),
                }
            )
    return pd.DataFrame(rows)


def views(
    vlm: Adapter, dataset: str, samples: list[Sample]
) -> Iterator[tuple[Sample, View]]:
    """Samples with a view of their image, shared by those that follow each other."""
    path, view = None, None
    for sample in samples:
        if sample.image_path != path:
            path = sample.image_path
            view = vlm.look(datasets.image_path(dataset, sample))
        yield sample, view


def covered_share(frame: pd.DataFrame) -> pd.Series:
    """Share of samples whose object lies in the crop, by layer."""
    return (frame["coverage"] >= COVERED).groupby(frame["layer"]).mean()


def best_layer(frame: pd.DataFrame) -> int:
    """The layer whose map's crop covers most objects; of equals the lowest."""
    return int(covered_share(frame).idxmax())


def with_answers(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Add each sample's size ``group``, and whether its ``answer`` is right or wrong.

    Args:
        frame: as ``by_layer`` makes it.
        table: of a run (see ``results.table``); its plain answers count. Samples that
            failed there are left out.
    """
    score = frame["id"].map(table["plain_score"])
    answer = np.where(score >= 0.5, "right", "wrong")
    group = frame["size"].map(results.size_group)
    return frame.assign(answer=answer, group=group)[score.notna()]


def ratios(frame: pd.DataFrame, answer: str, layer: int) -> np.ndarray:
    """Attention ratios of the samples that were answered ``right`` or ``wrong``."""
    kept = frame[(frame["answer"] == answer) & (frame["layer"] == layer)]
    return kept["ratio"].dropna().to_numpy()


def ratio_by_layer(frame: pd.DataFrame) -> list[stats.Estimate]:
    """Median attention ratio of each layer, with its bootstrap interval."""
    return [_median(rows) for _, rows in frame.groupby("layer")]


def ratio_by_kind(frame: pd.DataFrame, dataset: str) -> dict[str, stats.Estimate]:
    """Median attention ratio by kind of question; n in the name."""
    kinds = results.by_kind(frame.set_index("id"), dataset)
    return {f"{kind}, n = {len(rows)}": _median(rows) for kind, rows in kinds.items()}


def covered_by_layer(frame: pd.DataFrame) -> list[stats.Estimate]:
    """Percent of samples whose object lies in each layer's crop."""
    return [
        stats.accuracy(rows["coverage"] >= COVERED).times(100)
        for _, rows in frame.groupby("layer")
    ]


def above(ratio: stats.Estimate) -> str:
    """How a ratio compares with 1, in words."""
    words = {"positive": "above 1", "none": "not apart from 1", "negative": "below 1"}
    return words[stats.verdict(ratio, null=1)]


def _median(frame: pd.DataFrame) -> stats.Estimate:
    # A map that does not contain its object (cut off by the processor) has no ratio.
    return stats.bootstrap(frame["ratio"].dropna().to_numpy(), np.median)
