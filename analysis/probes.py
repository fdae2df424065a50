"""Probes: what no run records and pages measure beside, once for all of them.

``of(model).table("zoom")`` is read where it was measured before, and measured with the
model loaded, then kept, where not. ``python -m analysis.probes --model KEY`` measures
all tables, so that pages need neither torch nor the model.

In all of them ``dataset`` is the key or folder that the samples are of, and samples
have a ground-truth box. Scores are in [0, 1].
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import typer
from tqdm import tqdm

from analysis import crops, looking, phrasing, words
from analysis.figures import examples
from vicrop import boxes, paths, scoring
from vicrop.adapters import registry
from vicrop.run import datasets, provenance
from vicrop.run.records import Sample
from vicrop.types import Box, Map
from workflow import tables

if TYPE_CHECKING:  # what was measured before is read without torch
    from vicrop.adapters.adapter import Adapter
    from vicrop.view import View

TEXTS = ("id", "image", "name", "token", "role", "answer")
"""Columns in which nothing is a number or missing."""
VALIDATION, CHOSEN_ON = "plates-val", 80
"""Where variants of word-att are compared, and on how many small questions."""
FEW = 60
"""Small questions that pure-grad's steps are measured on, two gradients each."""
EVERY = 160
"""Questions of all sizes that ``pairs`` asks, the first of the data set."""


@dataclass(frozen=True)
class Probes:
    """A model's tables, each measured when it is first asked for.

    Attributes:
        model: key.
        dataset: key or folder, with ground-truth boxes.
        n: small questions of it; 0 for all.
        device: where the model runs.
        dtype: of its weights.
    """

    model: str
    dataset: str = "plates"
    n: int = 0
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def folder(self) -> Path:
        """Where they are kept: other weights, data or numbers have another one.

        Raises:
            FileNotFoundError: if the data set has not been made.
        """
        data = datasets.folder(self.dataset)
        files = [data / "data.json", *registry.find(self.model).files]
        digests = [provenance.file_hash(file)[:8] for file in files]
        dtype = self.dtype.removeprefix("float32")
        parts = [self.model, data.name, str(self.n or ""), dtype, *digests]
        return paths.results() / "probes" / "__".join(filter(None, parts))

    def table(self, name: str) -> pd.DataFrame:
        """A table of ``TABLES``, as its function gives it.

        Raises:
            KeyError: for a name that none has.
            FileNotFoundError: if it needs a run that is not there.
        """
        file = self.folder / f"{name}.csv"
        if not file.exists():
            _write(file, TABLES[name](self).to_csv(index=False))
        return pd.read_csv(file, converters=dict.fromkeys(TEXTS, str))

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """Its ``layer`` and ``chosen_pair``, number of ``layers`` and ``crop_px``."""
        file = self.folder / "about.json"
        if not file.exists():
            vlm = self.vlm
            told = {
                "layer": vlm.layer,
                "layers": len(vlm.attention),
                "connector": vlm.facts.connector is not None,
                "chosen_pair": looking.chosen_pair(vlm),
                "crop_px": vlm.crop_px,
            }
            _write(file, json.dumps(told, indent=1))
        return json.loads(file.read_text(encoding="utf-8"))

    # What tables are measured with.

    @cached_property
    def vlm(self) -> Adapter:
        """The model, loaded."""
        from vicrop import adapters  # torch

        return adapters.load(self.model, device=self.device, dtype=self.dtype)

    @cached_property
    def samples(self) -> list[Sample]:
        """The questions about small objects."""
        return crops.small_samples(self.dataset, self.n)

    @cached_property
    def looked(self) -> list[looking.Looked]:
        """Every layer's map of each of them."""
        return looking.looks(self.vlm, self.dataset, self.samples)

    @cached_property
    def words(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What every token prefers, and every map."""
        return words.looks(self.vlm, self.dataset, self.samples)


def of(model: str, dataset: str = "plates", n: int = 0, **how: str) -> Probes:
    """The probes of a model; ``how`` are the ``device`` and ``dtype`` of its passes."""
    return Probes(model, dataset, n, **how)


def _write(file: Path, text: str) -> None:
    """A whole file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def _pairs(one: Probes) -> pd.DataFrame:
    some = datasets.load(one.dataset, EVERY)
    return looking.by_pair(one.vlm, one.dataset, some)


def _alone(one: Probes) -> pd.DataFrame:
    run = tables.load(one.model, "rel-att", one.dataset)
    return alone(one.vlm, one.dataset, one.samples, run)


def _examples(one: Probes) -> pd.DataFrame:
    run = tables.load(one.model, "rel-att", one.dataset)
    return examples.maps(one.vlm, one.dataset, run)


def _phrased(one: Probes) -> pd.DataFrame:
    texts = phrasing.asked_of(one.dataset, one.samples)
    return phrasing.measure(one.vlm, one.dataset, one.looked, texts)


def _steps(one: Probes) -> pd.DataFrame:
    from analysis import steps  # torch

    some = crops.small_samples(one.dataset, one.n or FEW)
    return crops.measure(one.vlm, one.dataset, some, steps.filter_maps)


def _variants(one: Probes) -> pd.DataFrame:
    """On validation scenes: a choice must not see what it is judged by."""
    some = crops.small_samples(VALIDATION, CHOSEN_ON)
    return crops.measure(one.vlm, VALIDATION, some, words.variant_maps)


TABLES: dict[str, Callable[[Probes], pd.DataFrame]] = {
    "tokens": lambda one: one.words[0],
    "maps": lambda one: one.words[1],
    "layers": lambda one: looking.layer_table(one.looked, one.vlm.crop_px),
    "pairs": _pairs,
    "layer answers": lambda one: layer_answers(one.vlm, one.dataset, one.looked),
    "zoom": lambda one: zoom(one.vlm, one.dataset, one.samples),
    "alone": _alone,
    "ratios": lambda one: ratios(one.vlm, one.dataset, one.samples),
    "windows": lambda one: crops.windows(one.vlm, one.looked),
    "averaged": lambda one: crops.averaged(one.vlm, one.looked),
    "phrasing": _phrased,
    "steps": _steps,
    "variants": _variants,
    "examples": _examples,
}
"""What is measured, by name: each is the function of the same name here, or of

``words.looks`` (tokens, maps; small objects), ``looking.layer_table`` (layers; small),
``looking.by_pair`` (pairs; all sizes), ``crops.windows``, ``crops.averaged``,
``phrasing.measure``, ``steps.filter_maps`` (pure-grad's steps) and
``words.variant_maps`` (of word-att, on validation scenes), the last two as
``crops.measure`` gives them, and ``examples.maps`` (examples).
"""


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
        closer = _zooms(sample, view.image.size)[1:]
        shown = [view, *(vlm.look(view.image.crop(box)) for box in closer)]
        said = chances(vlm, shown, sample.question, sample.labels[0])
        for number, chance in enumerate(said):
            rows.append((sample.id, sample.image_path, f"step {number}", chance))
    return pd.DataFrame(rows, columns=SCORED)


SCORED = ["id", "image", "name", "score"]


def _zooms(sample: Sample, size: tuple[int, int]) -> list[Box]:
    left, top, right, bottom = sample.boxes[0]
    last = min(2 * max(right - left, bottom - top), min(size))
    sides = np.geomspace(min(size), last, ZOOMS)
    return [boxes.around(sample.boxes[0], size, side) for side in sides]


def chances(
    vlm: Adapter, shown: Sequence[View], question: str, label: str
) -> list[float]:
    """Probability that the answer about each view begins as a label does."""
    from vicrop.view import see  # torch

    token = vlm.tokenizer(label, add_special_tokens=False)["input_ids"][0]
    see([view.whole for view in shown])
    firsts = vlm.run([view.whole.ask(question) for view in shown])
    return [float(one.scores[0].float().softmax(-1)[token]) for one in firsts]


def layer_answers(
    vlm: Adapter,
    dataset: str,
    looked: Sequence[looking.Looked],
) -> pd.DataFrame:
    """Answers with the crop of each layer's map, and of the mean over all layers.

    Args:
        vlm: the model.
        dataset: key.
        looked: see ``looking.looks``.

    Returns:
        One row a sample and crop: ``id``, ``image``, ``name`` and ``score``.

    Source: paper, section 6 (Table 3, left), has the mean; single layers are ours.
    """
    from vicrop.view import answer  # torch

    rows = []
    views = looking.views(vlm, dataset, [one.sample for one in looked])
    for (sample, size, maps), (_, view) in zip(looked, views, strict=True):
        named = {layer_name(number): amap for number, amap in enumerate(maps)}
        named[crops.ALL] = crops.mean_of(maps)
        made = [boxes.select_box(amap, size, vlm.crop_px) for amap in named.values()]
        said = answer([(view, sample.question, crop) for crop in made])
        for name, text in zip(named, said, strict=True):
            score = _score(dataset, sample, text)
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
    from vicrop import attribution  # torch

    target, size = sample.boxes[0], view.image.size
    about, general, *others = (
        attribution.paper.attention_to_image(vlm, [view.whole.ask(text)])[0][0]
        for text in (looking.asked(sample), attribution.GENERAL_QUESTION, *PROMPTS)
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


def main(
    model: Annotated[list[str], typer.Option(help="Keys.")],
    dataset: Annotated[str, typer.Option(help="Key or folder.")] = "plates",
    n: Annotated[int, typer.Option(help="Small questions; 0: all.", min=0)] = 0,
    device: str = "cpu",
    dtype: str = "float32",
    table: Annotated[list[str], typer.Option(help="Only these.")] = [],  # noqa: B006
) -> None:
    """Measure what pages ask of models beside their runs, and keep it."""
    for key in model:
        one = of(key, dataset, n, device=device, dtype=dtype)
        for name in tqdm(table or TABLES, desc=key):
            one.table(name)
        typer.echo(f"{one.folder}: {one.about}")


if __name__ == "__main__":
    typer.run(main)
