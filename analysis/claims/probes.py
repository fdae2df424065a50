"""Probes: what no run records and a page measures itself, with the model loaded.

In all of them ``dataset`` is the key or folder that the samples are of, and samples
have a ground-truth box. Scores are in [0, 1].
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from analysis import costs, crops, looking, words
from analysis.claims.evidence import Answers, Evidence
from vicrop import adapters, attribution, boxes, scoring
from vicrop.adapters.adapter import Adapter
from vicrop.attribution import GENERAL_QUESTION
from vicrop.run import datasets
from vicrop.run.records import Sample
from vicrop.types import Box, Map
from vicrop.view import View


def measured(
    models: Sequence[str],
    dataset: str,
    n: int,
    bench: costs.Measured,
    device: str = "cpu",
    dtype: str = "float32",
) -> Evidence:
    """Finished runs, and the probes of some models that the claims need.

    Those that need the run ``no-crop`` (for what was answered rightly) or ``rel-att``
    (whose crops are shown alone) are left out where it is missing.

    Args:
        models: keys, to be loaded.
        dataset: key, with ground-truth boxes.
        n: questions of a probe; 0 for all.
        bench: measured costs, of models that it has.
        device: of the models.
        dtype: of the models.
    """
    runs = Evidence()
    found: dict[tuple[str, str], pd.DataFrame] = {}
    for model in models:
        vlm = adapters.load(model, device=device, dtype=dtype)
        said = [runs.frame(Answers(dataset, m), model) for m in ("no-crop", "rel-att")]
        for name, table in of_model(vlm, dataset, n, *said).items():
            found[model, name] = table
        spent = costs.methods(bench).query("model == @model")
        if {"no-crop", "rel-att"} <= set(spent["method"]):
            found[model, "cost"] = spent
    return Evidence(found)


def of_model(
    vlm: Adapter,
    dataset: str,
    n: int,
    plain: pd.DataFrame | None = None,
    cropped: pd.DataFrame | None = None,
) -> dict[str, pd.DataFrame]:
    """A model's, by name; of small objects, if not of all sizes (see ``measured``)."""
    samples = crops.small_samples(dataset, n)
    looked = looking.looks(vlm, dataset, samples)
    small = looking.layer_table(looked, vlm.crop_px)
    every = looking.by_layer(vlm, dataset, datasets.load(dataset, n))
    said = layer_answers(vlm, dataset, looked, [vlm.layer])
    made = {
        "layers": small,
        "layers, all sizes": every,
        "map's layer, all sizes": every[every["layer"] == vlm.layer],
        "chosen layer": said.replace({layer_name(vlm.layer): crops.ONE}),
        "zoom": zoom(vlm, dataset, samples),
        "words": words.of_map(words.looks(vlm, dataset, samples)[1], "word-att"),
    }
    if plain is not None:
        at = looking.with_answers(small, plain)
        made["map's layer"] = at[at["layer"] == vlm.layer]
    if cropped is not None:
        made["crop alone"] = alone(vlm, dataset, samples, cropped)
    return made


# A question asked in several ways.

ZOOMS = 5
"""Views of a zoom, the whole image first."""


def zoom(vlm: Adapter, dataset: str, samples: Iterable[Sample]) -> pd.DataFrame:
    """How likely the right answer is as one zooms in on its object, question unchanged.

    Each view is a square around the object *instead of* the image, in equal ratios from
    the whole image to twice the object's side.

    Returns:
        One row a sample and view: ``id``, ``image``, ``name`` (``step 0`` is the whole
        image), ``score``: the probability of the label's first token as the first said.

    Source: paper, section 1 (Figure 1), three images.
    """
    rows = []
    for sample, view in looking.views(vlm, dataset, list(samples)):
        for number, box in enumerate(_zooms(sample, view.image.size)):
            shown = view if number == 0 else vlm.look(view.image.crop(box))
            said = chance(vlm, shown, sample.question, sample.labels[0])
            rows.append((sample.id, sample.image_path, f"step {number}", said))
    return pd.DataFrame(rows, columns=SCORED)


SCORED = ["id", "image", "name", "score"]


def _zooms(sample: Sample, size: tuple[int, int]) -> list[Box]:
    left, top, right, bottom = sample.boxes[0]
    last = min(2 * max(right - left, bottom - top), min(size))
    sides = np.geomspace(min(size), last, ZOOMS)
    return [boxes.around(sample.boxes[0], size, side) for side in sides]


def chance(vlm: Adapter, view: View, question: str, label: str) -> float:
    """Probability that an answer begins as a label does."""
    token = vlm.tokenizer(label, add_special_tokens=False)["input_ids"][0]
    scores = vlm.run([view.whole.ask(question)])[0].scores
    return float(scores[0].float().softmax(-1)[token])


def layer_answers(
    vlm: Adapter,
    dataset: str,
    looked: Sequence[looking.Looked],
    layers: Collection[int] = (),
) -> pd.DataFrame:
    """Answers with the crop of each layer's map, and of the mean over all layers.

    Args:
        vlm: the model.
        dataset: key.
        looked: see ``looking.looks``.
        layers: only these, if any.

    Returns:
        One row a sample and crop: ``id``, ``image``, ``name`` and ``score``.

    Source: paper, section 6 (Table 3, left), has the mean; single layers are ours.
    """
    rows = []
    views = looking.views(vlm, dataset, [one.sample for one in looked])
    for (sample, size, maps), (_, view) in zip(looked, views, strict=True):
        chosen = layers or range(len(maps))
        named = {layer_name(number): maps[number] for number in chosen}
        named[crops.ALL] = crops.mean_of(maps)
        for name, amap in named.items():
            crop = boxes.select_box(amap, size, vlm.crop_px)
            said = view.ask(sample.question, crop).text
            score = _score(dataset, sample, said)
            rows.append((sample.id, sample.image_path, name, score))
    return pd.DataFrame(rows, columns=SCORED)


def layer_name(layer: int) -> str:
    """What a layer's crop is called."""
    return f"layer {layer}"


def alone(
    vlm: Adapter, dataset: str, samples: Iterable[Sample], run: pd.DataFrame
) -> pd.DataFrame:
    """Answers from a run's crops *instead of* the image; its own are beside them.

    Args:
        vlm: the model.
        dataset: key.
        samples: those of which the run has no crop are passed over.
        run: a run's table (see ``results.table``).

    Returns:
        One row a sample and way: ``id``, ``image``, ``name`` (``crop alone``, ``image
        and crop``, ``image alone``) and ``score``.
    """
    kept = run[run["error"].isna() & run["box"].notna()]
    rows = []
    asked = [sample for sample in samples if sample.id in kept.index]
    for sample, view in looking.views(vlm, dataset, asked):
        there = kept.loc[sample.id]
        shown = vlm.look(view.image.crop(Box(*there["box"])))
        said = _score(dataset, sample, shown.ask(sample.question).plain)
        ways = {
            "crop alone": said,
            "image and crop": there["score"],
            "image alone": there["plain_score"],
        }
        rows += [(sample.id, sample.image_path, *way) for way in ways.items()]
    return pd.DataFrame(rows, columns=SCORED)


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

    Returns:
        One row a sample and way: ``id``, ``image``, ``name`` and ``ratio``.

    Source: paper, section 4, leaves the rounding open. An author's answer in an issue
    of their code has the largest cell where the paper has the sum.
    """
    rows = [
        (sample.id, sample.image_path, *found)
        for sample, view in looking.views(vlm, dataset, list(samples))
        for found in _ratios(vlm, view, sample)
    ]
    return pd.DataFrame(rows, columns=["id", "image", "name", "ratio"])


def _ratios(vlm: Adapter, view: View, sample: Sample) -> Iterator[tuple[str, float]]:
    target, size = sample.boxes[0], view.image.size
    about, general, *others = (
        attribution.paper.attention_to_image(vlm, [view.whole.ask(text)])[0][0]
        for text in (looking.asked(sample), GENERAL_QUESTION, *PROMPTS)
    )
    ours = view.placed(attribution.paper.relative(about, general))
    yield DEFINED, looking.attention_ratio(ours, target, size)
    yield ROUNDED, cell_ratio(ours, target, size, np.sum)
    yield POOLED, cell_ratio(ours, target, size, np.max)
    yield RAW, looking.attention_ratio(view.placed(about), target, size)
    for text, other in zip(PROMPTS, others, strict=True):
        amap = view.placed(attribution.paper.relative(about, other))
        yield f"“{text}”", looking.attention_ratio(amap, target, size)


def cell_ratio(
    amap: Map,
    target: Sequence[float],
    size: tuple[int, int],
    pool: Callable[..., np.ndarray],
) -> float:
    """A pool of the cells that a box touches, over its mean at all places.

    Args:
        amap: importance map.
        target: (left, top, right, bottom), original pixels.
        size: (width, height) of the image, pixels.
        pool: takes ``axis``, such as ``np.sum``.

    Returns:
        NaN if the map's region does not contain the box.
    """
    inside = looking.in_cells(amap, target, size)
    if inside is None:
        return math.nan
    across, down = (slice(math.floor(low), math.ceil(high)) for low, high in inside)
    cells = amap.values[down, across]
    windows = np.lib.stride_tricks.sliding_window_view(amap.values, cells.shape)
    return float(pool(cells) / pool(windows, axis=(2, 3)).mean())
