"""What shortcuts save: box search, tiles, whole runs; and what each method costs."""

import itertools
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from unittest import mock

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks import counting, models, plain
from benchmarks.ways import QUESTION, Row, Rows, both, in_turn, map_of, photo, seconds
from vicrop import boxes, images, paths, pipeline
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets
from vicrop.run.batches import cheapest_first
from vicrop.run.records import Sample
from vicrop.types import Box, Map
from vicrop.view import Views
from workflow import matrix

MOST = 20  # tokens of an answer
TIMES = 100
QUESTIONS, TIMED, COUNTED = 10, 6, 3
HELD = ("plates", "plates-hd")


def box_search(rounds: int) -> Rows:
    """The box search by loops and by summed-area table, on maps of LLaVA's sizes.

    Of a photo; and of 4×4 tiles.
    """
    rng = np.random.default_rng(0)
    for cells, side in ((24, 1024), (96, 3600)):
        amap = Map(rng.random((cells, cells)), (0, 0, side, side))
        given = (amap, (side, side), 336)
        calls = {
            "loops": partial(plain.select_box, *given),
            # A hundred, as one is too short for the clock.
            "ours": lambda g=given: [boxes.select_box(*g) for _ in range(TIMES)],
        }
        times = in_turn(calls, 3 * rounds, f"{cells}×{cells} cells")
        for way, taken in times.items():
            one = [spent / (TIMES if way == "ours" else 1) for spent in taken]
            yield {"cells": cells, "way": way, "seconds": one}


def tiles(rounds: int) -> Rows:
    """rel-att tile by tile: ours, and the plain way's map of each tile."""
    vlm, eager = both(models.mid, "llava")
    for name, side in (("2×2", 1344), ("4×4", 3600)):
        image = photo(side, side)
        parts = [image.crop(box) for box in images.tile(image.size).boxes]
        calls = {
            "ours": map_of(vlm, image, "rel-att-high"),
            "plain": lambda p=parts: [plain.rel_att(eager, one, QUESTION) for one in p],
        }
        label = f"{name} tiles"
        for way, taken in in_turn(calls, 2, label, warm=0).items():
            yield {"family": "llava", "tiles": name, "way": way, "seconds": taken}


def whole_matrix(rounds: int) -> Rows:
    """All runs of each tiny model on `plates`: as the book makes them, and plainly."""
    # As in the data, several questions an image.
    everything = sorted(datasets.load("plates"), key=lambda asked: asked.image_path)
    samples = [sample for sample in everything if sample.boxes][:QUESTIONS]
    for family, key in models.TINY.items():
        vlm, eager = both(models.tiny, family)
        # Those that plain.py has, and the controls.
        known = (*plain.MAPS, *pipeline.CONTROLS)
        names = [name for name in methods_of(key, "plates") if name in known]
        calls = {
            "ours": partial(_all_ours, vlm, samples, names),
            "plain": partial(_all_plain, eager, samples, names),
        }
        times = in_turn(calls, 2, f"matrix, {key}", warm=0)
        shared = {"model": key, "questions": len(samples), "runs": len(names)}
        for way, taken in times.items():
            yield {**shared, "way": way, "seconds": taken}


def methods_of(model: str, dataset: str, *sizes: str) -> list[str]:
    """Methods of a model on a data set, in the matrix's order; of the book's own size.

    Or of these ``sizes``.
    """
    file = paths.ROOT / "workflow/matrix.yaml"
    runs = [run for one in sizes or ["embedded"] for run in matrix.chosen(file, one)[0]]
    mine = [run for run in runs if (run.model, run.dataset) == (model, dataset)]
    return list(dict.fromkeys(run.method for run in mine))


def _shown(sample: Sample, dataset: str = "plates") -> Image.Image:
    return images.load(datasets.image_path(dataset, sample))


def _all_ours(vlm: Adapter, samples: list[Sample], methods: list[str]) -> None:
    """Every method's answers, each image looked at once."""
    cropping, views = pipeline.ViCrop(vlm), Views()
    for sample in samples:
        view = views.get(sample.image_path, lambda s=sample: vlm.look(_shown(s)))
        for method in sorted(methods, key=cheapest_first):
            with suppress(ValueError):  # a map of zeros: a run records the error
                cropping.answer(view, sample.question, method, truth=sample.boxes)


def _all_plain(vlm: Adapter, samples: list[Sample], methods: list[str]) -> None:
    """Every method's answers, each from scratch."""
    for sample, method in itertools.product(samples, methods):
        image = _shown(sample)
        plain.generate(vlm, [image], sample.question, MOST)
        with suppress(ValueError):
            box = _plain_box(vlm, image, sample, method)
            if box is not None:
                plain.generate(vlm, [image, image.crop(box)], sample.question, MOST)


def _plain_box(
    vlm: Adapter, image: Image.Image, sample: Sample, method: str
) -> Box | None:
    """The plain way's crop; None where the method shows none."""
    if method in pipeline.CONTROLS:
        view, rng = vlm.look(image), np.random.default_rng(0)
        return pipeline.CONTROLS[method](view, sample.boxes, rng)
    return plain.box(vlm, image, sample.question, method)


def methods(rounds: int) -> Rows:
    """What each method costs a question, of the tiny models, with nothing kept."""
    for (family, key), dataset in itertools.product(models.TINY.items(), HELD):
        vlm = models.tiny(family)
        asked = datasets.load(dataset, 3 * QUESTIONS)
        samples = [sample for sample in asked if sample.boxes][:TIMED]
        step = _token_seconds(vlm, _shown(samples[0], dataset), samples[0].question)
        every = methods_of(key, dataset, "embedded", "studies")
        for method in tqdm(every, desc=f"methods, {key}"):
            yield {
                "model": key,
                "dataset": dataset,
                "method": method,
                "answer_token_seconds": step,
                **_cost(vlm, method, samples, dataset),
            }


def _cost(vlm: Adapter, method: str, samples: list[Sample], dataset: str) -> Row:
    """Means of a method's costs; every question's seconds."""
    asked = [_asked(vlm, method, sample, dataset) for sample in samples]
    asked = [call for call in asked if _gives_an_answer(call)]
    before = vlm.work
    taken = [seconds(call) for call in asked]
    work = vlm.work - before
    return {
        "questions": len(asked),
        "passes": work.passes / len(asked),
        "visual_tokens": work.image_tokens / len(asked),
        "seconds": taken,
        "flops": float(np.mean([counting.flops(call) for call in asked[:COUNTED]])),
        "peak_bytes": max(counting.peak_bytes(call) for call in asked[:COUNTED]),
    }


def _gives_an_answer(call: Callable[[], object]) -> bool:
    """Whether it fails, as for a map that is zero everywhere; and warms up."""
    try:
        call()
    except ValueError:
        return False
    return True


def _asked(
    vlm: Adapter, method: str, sample: Sample, dataset: str
) -> Callable[[], object]:
    """A question with a method, its image not seen before."""
    image, cropping = _shown(sample, dataset), pipeline.ViCrop(vlm)
    return lambda: cropping.answer(image, sample.question, method, truth=sample.boxes)


def _token_seconds(vlm: Adapter, image: Image.Image, question: str) -> float:
    """One decoding step: the median difference of answers of 9 tokens and of 1."""
    firsts = vlm.run([vlm.look(image).whole.ask(question)])
    with mock.patch.object(type(vlm), "end_ids", {-1}):
        long, short = (
            [seconds(lambda n=n: vlm.decode(firsts, n)) for _ in range(21)]
            for n in (9, 1)
        )
    return float(np.median(long) - np.median(short)) / 8
