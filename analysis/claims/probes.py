"""Small measurements that no run records: a question asked in several ways."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import crops, looking
from vicrop import attribution, boxes, geometry, scoring
from vicrop.adapters.adapter import Adapter
from vicrop.attribution import GENERAL_QUESTION
from vicrop.run.records import Sample
from vicrop.types import Box, Map
from vicrop.view import View

ZOOMS = 5
"""Views of a zoom, the whole image first."""


def zoom(
    vlm: Adapter, dataset: str, samples: Iterable[Sample], steps: int = ZOOMS
) -> pd.DataFrame:
    """How likely the right answer is as one zooms in on its object, question unchanged.

    Each view is a square around the object *instead of* the image, in equal ratios from
    the whole image to twice the object's side.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        samples: with a ground-truth box each.
        steps: views a sample.

    Returns:
        One row a sample and view: ``id``, ``name`` (``step 0`` is the whole image) and
        ``score``, the probability of the label's first token as the first said.

    Source: paper, section 1 (Figure 1), three images.
    """
    rows = []
    for sample, view in looking.views(vlm, dataset, list(samples)):
        for number, box in enumerate(_zooms(sample, view.image.size, steps)):
            shown = view if number == 0 else vlm.look(view.image.crop(box))
            said = chance(vlm, shown, sample.question, sample.labels[0])
            rows.append({"id": sample.id, "name": f"step {number}", "score": said})
    return pd.DataFrame(rows)


def _zooms(sample: Sample, size: tuple[int, int], steps: int) -> list[Box]:
    left, top, right, bottom = sample.boxes[0]
    last = min(2 * max(right - left, bottom - top), min(size))
    sides = np.geomspace(min(size), last, steps)
    return [boxes.around(sample.boxes[0], size, side) for side in sides]


def chance(vlm: Adapter, view: View, question: str, label: str) -> float:
    """Probability that an answer begins as a label does."""
    token = vlm.tokenizer(label, add_special_tokens=False)["input_ids"][0]
    scores = vlm.run([view.whole.ask(question)])[0].scores
    return float(scores[0].float().softmax(-1)[token])


CropsOf = Callable[[looking.Looked], Mapping[str, Box]]


def answered(
    vlm: Adapter, dataset: str, looked: Sequence[looking.Looked], crops_of: CropsOf
) -> pd.DataFrame:
    """Answers from [image, crop] for several crops of each question.

    Args:
        vlm: the model.
        dataset: key or folder that the questions are of.
        looked: see ``gaze.looks``.
        crops_of: the crops of a question, by name, such as ``layer_crops``.

    Returns:
        One row a sample and crop: ``id``, ``name``, ``score`` and ``coverage`` (share
        of the object in the crop).
    """
    rows = []
    views = looking.views(vlm, dataset, [one.sample for one in looked])
    for one, (sample, view) in zip(looked, views, strict=True):
        for name, box in crops_of(one).items():
            said = view.ask(sample.question, box).text
            inside = boxes.coverage(box, sample.boxes[0])
            score = _score(dataset, sample, said)
            rows.append((sample.id, name, score, inside))
    return pd.DataFrame(rows, columns=["id", "name", "score", "coverage"])


def layer_crops(vlm: Adapter) -> CropsOf:
    """The crop of each layer's relative attention, and of the mean over all layers.

    Source: paper, section 6 (Table 3, left), has the mean; single layers are ours.
    """

    def crops_of(one: looking.Looked) -> dict[str, Box]:
        maps = {layer_name(number): amap for number, amap in enumerate(one.maps)}
        mean = np.mean([amap.values for amap in one.maps], axis=0)
        maps[crops.ALL] = Map(mean, one.maps[0].region)
        return {
            name: boxes.select_box(amap, one.image_size, vlm.crop_px)
            for name, amap in maps.items()
        }

    return crops_of


def layer_name(layer: int) -> str:
    """What a layer's crop is called."""
    return f"layer {layer}"


def alone(
    vlm: Adapter, dataset: str, samples: Iterable[Sample], run: pd.DataFrame
) -> pd.DataFrame:
    """Answers from a run's crops *instead of* the image; its own are beside them.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        samples: those of which the run has no crop are passed over.
        run: a run's table (see ``results.table``).

    Returns:
        One row a sample and way: ``id``, ``name`` (``crop alone``, ``image and crop``,
        ``image alone``) and ``score``.
    """
    kept = run[run["error"].isna() & run["box"].notna()]
    rows = []
    for sample, view in looking.views(vlm, dataset, list(samples)):
        if sample.id not in kept.index:
            continue
        there = kept.loc[sample.id]
        shown = vlm.look(view.image.crop(Box(*there["box"])))
        said = _score(dataset, sample, shown.ask(sample.question).plain)
        for name, score in (
            ("crop alone", said),
            ("image and crop", there["score"]),
            ("image alone", there["plain_score"]),
        ):
            rows.append({"id": sample.id, "name": name, "score": score})
    return pd.DataFrame(rows, columns=["id", "name", "score"])


def _score(dataset: str, sample: Sample, said: str) -> float:
    said = scoring.prepared(dataset, said)
    return scoring.score(dataset, said, sample.labels, sample.question)


# The attention ratio, defined otherwise.

PROMPTS = ("Describe the image.", "What is in this image?")
"""General prompts that are not the paper's."""

DEFINED, ROUNDED, POOLED, RAW = (
    "as we define it",
    "box rounded to whole cells",
    "largest cell instead of the sum",
    "raw attention, not divided",
)


def ratios(vlm: Adapter, dataset: str, samples: Iterable[Sample]) -> pd.DataFrame:
    """The attention ratio at the map's layer, in each of the ways it may be meant.

    Args:
        vlm: the model.
        dataset: key or folder that the samples are of.
        samples: with a ground-truth box each.

    Returns:
        One row a sample and way: ``id``, ``name`` and ``ratio``.

    Source: paper, section 4, leaves the rounding open. An author's answer in an issue
    of their code has the largest cell where the paper has the sum.
    """
    rows = []
    for sample, view in looking.views(vlm, dataset, list(samples)):
        rows += [(sample.id, *found) for found in _ratios(vlm, view, sample)]
    return pd.DataFrame(rows, columns=["id", "name", "ratio"])


def _ratios(vlm: Adapter, view: View, sample: Sample) -> Iterator[tuple[str, float]]:
    asked, size, target = looking.asked(sample), view.image.size, sample.boxes[0]
    about = _attention(vlm, view, asked)
    ours = _placed(view, attribution.relative(about, _attention(vlm, view)))
    yield DEFINED, looking.attention_ratio(ours, target, size)
    cells = whole_cells(ours, target, size)
    yield ROUNDED, cell_ratio(ours.values, cells, np.sum)
    yield POOLED, cell_ratio(ours.values, cells, np.max)
    yield RAW, looking.attention_ratio(_placed(view, about), target, size)
    for text in PROMPTS:
        other = attribution.relative(about, _attention(vlm, view, text))
        yield f"“{text}”", looking.attention_ratio(_placed(view, other), target, size)


def _attention(vlm: Adapter, view: View, text: str = GENERAL_QUESTION) -> np.ndarray:
    return attribution.attention_to_image(vlm, [view.whole.ask(text)])[0][0]


def _placed(view: View, values: np.ndarray) -> Map:
    return Map(*geometry.place(values, view.fit, view.image.size))


def whole_cells(
    amap: Map, target: Sequence[float], size: tuple[int, int]
) -> tuple[slice, slice]:
    """(rows, cols) of a map's cells that a box touches; empty where it lies outside."""
    rows, cols = amap.shape
    left, top, right, bottom = amap.region or (0, 0, *size)
    x = (np.array(target[0::2], float) - left) * cols / (right - left)
    y = (np.array(target[1::2], float) - top) * rows / (bottom - top)
    if min(x[0], y[0]) < 0 or x[1] > cols or y[1] > rows:
        return slice(0, 0), slice(0, 0)
    return (
        slice(int(np.floor(y[0])), int(np.ceil(y[1]))),
        slice(int(np.floor(x[0])), int(np.ceil(x[1]))),
    )


def cell_ratio(
    values: np.ndarray,
    cells: tuple[slice, slice],
    pool: Callable[..., np.ndarray],
) -> float:
    """A pool of the cells over its mean at all places; NaN where there are none.

    Args:
        values: (rows, cols) importance.
        cells: (rows, cols), see ``whole_cells``.
        pool: takes ``axis``, such as ``np.sum``.
    """
    shape = tuple(one.stop - one.start for one in cells)
    if 0 in shape:
        return float("nan")
    windows = np.lib.stride_tricks.sliding_window_view(values, shape)
    return float(pool(values[cells]) / pool(windows, axis=(2, 3)).mean())
