"""What is measured, part by part; each returns rows for the JSON."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from unittest import mock

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from benchmarks import counting, loops, models, plain, ways
from benchmarks.ways import METHODS, QUESTION, Case
from vicrop import attribution, boxes, datasets, images, matrix, pipeline
from vicrop.adapters.base import Adapter
from vicrop.types import Box, Map, Sample
from vicrop.views import Views

K = TypeVar("K")
Row = dict[str, object]
Rows = Iterator[Row]

ROOT = Path(__file__).parents[1]
PHOTO = (1024, 768)
SIZES = {
    "llava": [(PHOTO, 336)],
    "instructblip": [(PHOTO, 224)],
    # A photo of its usual size with the smallest crop; a small one with the largest.
    "qwen2.5-vl": [(PHOTO, 224), ((448, 448), 448)],
}
"""(width, height) of the image and side of the crop, pixels."""


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes: CPU time, or with a GPU the time until it is done."""
    if not torch.cuda.is_available():
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turn(
    calls: dict[K, Callable[[], object]], rounds: int, label: str, warm: int = 1
) -> dict[K, list[float]]:
    """Seconds of each way, a call of each in every round.

    Args:
        calls: of each way.
        rounds: how many.
        label: of the progress bar.
        warm: rounds before them that are not counted.
    """
    taken: dict[K, list[float]] = {name: [] for name in calls}
    for number in tqdm(range(rounds + warm), desc=label, leave=False):
        for name, call in calls.items():
            spent = seconds(call)
            if number >= warm:
                taken[name].append(spent)
    return taken


def real_flops(rounds: int) -> Rows:
    """FLOPs of all ways at real shapes, on the meta device."""
    with mock.patch.object(attribution, "array", _numbers):
        for family, sizes in tqdm(SIZES.items(), desc="real shapes"):
            options = {"max_pixels": None} if family == "qwen2.5-vl" else {}
            vlm = models.real(family, **options)
            eager = plain.unfreeze(models.real(family, "eager", **options))
            for size, side in sizes:
                image = ways.photo(*size)
                crop, known = ways.middle(image, side), {}
                for method in METHODS:
                    case = Case(vlm, eager, image, crop, method)
                    yield from _counted(family, case, known)


def _ways(case: Case) -> dict[tuple[str, str], Callable[[], object]]:
    """The call of each way, by way and question; a further one goes on from ours."""
    return {
        ("told", "first"): case.told,
        ("answers", "first"): case.answers,
        ("ours", "first"): case.ours,
        ("ours", "further"): case.further,
        ("plain", "first"): case.plain,
    }


def _numbers(values: torch.Tensor) -> np.ndarray:
    """Stands for what cannot be read off the meta device: any map will do."""
    return np.random.default_rng(0).random(tuple(values.shape), np.float32) + 0.1


def _counted(family: str, case: Case, known: dict[str, counting.Flops]) -> Rows:
    """A case's FLOPs; ``known`` keeps those of the ways that make no map."""
    tokens = case.tokens
    for (way, question), call in _ways(case).items():
        found = known.get(way) or counting.flops_on_meta(call)
        if way in ("told", "answers"):
            known[way] = found
        yield {
            "family": family,
            "model": models.KEYS[family],
            "shape": "real",
            "device": "meta",
            "batch": 1,
            "method": case.method,
            "way": way,
            "question": question,
            "flops": found.dense + found.full,
            "flops_causal": found.dense + found.causal,
            "seconds": None,
            **tokens,
        }


def cpu_seconds(rounds: int) -> Rows:
    """Time of all ways: middling random models and the tiny ones."""
    for family in models.KEYS:
        for shape, make, times in (
            ("mid", models.mid, rounds),
            ("embedded", models.tiny, 4 * rounds),
        ):
            vlm, eager = make(family), plain.unfreeze(make(family))
            image = ways.photo(448, 448)
            crop = ways.middle(image, vlm.crop_px)
            for method in METHODS:
                case = Case(vlm, eager, image, crop, method)
                yield from _timed(family, shape, case, times)


def _timed(family: str, shape: str, case: Case, rounds: int) -> Rows:
    label = f"{family}, {shape}, {case.method}"
    for (way, question), taken in in_turn(_ways(case), rounds, label).items():
        yield {
            "family": family,
            "model": models.TINY[family] if shape == "embedded" else "random",
            "shape": shape,
            "device": "cuda" if torch.cuda.is_available() else "cpu",
            "batch": 1,
            "method": case.method,
            "way": way,
            "question": question,
            "flops": None,
            "flops_causal": None,
            "seconds": taken,
            **case.tokens,
        }


def memory(rounds: int) -> Rows:
    """Most memory beside the weights: a plain answer, maps, the plain way's maps."""
    for family in models.KEYS:
        image = ways.photo(*PHOTO)
        shown = models.mid(family), plain.unfreeze(models.mid(family))
        yield from _peaks(family, "mid", *shown, image, counting.peak_bytes)
        options = {"max_pixels": None} if family == "qwen2.5-vl" else {}
        vlm = models.real(family, **options)
        eager = plain.unfreeze(models.real(family, "eager", **options))
        with mock.patch.object(attribution, "array", _numbers):
            yield from _peaks(
                family, "real", vlm, eager, image, counting.peak_bytes_on_meta
            )


def _peaks(
    family: str,
    shape: str,
    vlm: Adapter,
    eager: Adapter,
    image: Image.Image,
    peak: Callable[[Callable[[], object]], int],
) -> Rows:
    def plain_answer() -> list[int]:
        return vlm.generate(vlm.look(image).prompt(QUESTION), ways.TOKENS)

    calls: dict[str, Callable[[], object]] = {"plain answer": plain_answer}
    for method in METHODS:
        calls[f"{method} map"] = _map_of(vlm, image, method)
    calls["plain way's rel-att map"] = _plain_map_of(eager, image, "rel-att")
    for what, call in tqdm(calls.items(), desc=f"memory, {family}", leave=False):
        most = peak(call)
        yield {"family": family, "shape": shape, "what": what, "peak_bytes": most}


def _map_of(vlm: Adapter, image: Image.Image, method: str) -> Callable[[], Map]:
    return lambda: vlm.look(image).importance(QUESTION, method)


def _plain_map_of(
    vlm: Adapter, image: Image.Image, method: str
) -> Callable[[], np.ndarray]:
    return lambda: plain.MAPS[method](vlm, image, QUESTION)


def box_search(rounds: int) -> Rows:
    """The box search by loops and by summed-area table, on maps of LLaVA's sizes.

    Of a photo; and of 4×4 tiles.
    """
    rng = np.random.default_rng(0)
    for cells, side in ((24, 1024), (96, 3600)):
        amap = Map(rng.random((cells, cells)), (0, 0, side, side))
        given = (amap, (side, side), 336)
        calls = {
            "loops": partial(loops.select_box, *given),
            "ours": partial(_often, given),
        }
        times = in_turn(calls, 3 * rounds, f"{cells}×{cells} cells")
        for way, taken in times.items():
            one = [spent / (TIMES if way == "ours" else 1) for spent in taken]
            yield {"cells": cells, "way": way, "seconds": one}


TIMES = 100


def _often(given: tuple) -> None:
    """A hundred searches, as one is too short for the clock."""
    for _ in range(TIMES):
        boxes.select_box(*given)


def tiles(rounds: int) -> Rows:
    """rel-att tile by tile: ours, and the plain way's map of each tile."""
    vlm, eager = models.mid("llava"), plain.unfreeze(models.mid("llava"))
    for name, side in (("2×2", 1344), ("4×4", 3600)):
        image = ways.photo(side, side)
        parts = [image.crop(box) for box in images.tile(image.size).boxes]
        calls = {
            "ours": _map_of(vlm, image, "rel-att-high"),
            "plain": partial(_each, eager, parts),
        }
        label = f"{name} tiles"
        for way, taken in in_turn(calls, 2, label, warm=0).items():
            yield {"family": "llava", "tiles": name, "way": way, "seconds": taken}


def _each(vlm: Adapter, parts: list[Image.Image]) -> list[np.ndarray]:
    return [plain.rel_att(vlm, part, QUESTION) for part in parts]


def whole_matrix(rounds: int) -> Rows:
    """All runs of each tiny model on `plates`: as the book makes them, and plainly."""
    # As in the data, several questions an image.
    everything = sorted(datasets.load("plates"), key=lambda asked: asked.image_path)
    samples = [sample for sample in everything if sample.boxes][:QUESTIONS]
    for family, key in models.TINY.items():
        vlm, eager = models.tiny(family), plain.unfreeze(models.tiny(family))
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


QUESTIONS = 10


def methods_of(model: str, dataset: str) -> list[str]:
    """Methods that the book runs with a model on a data set, in its matrix's order."""
    runs, _ = matrix.chosen(ROOT / "workflow/matrix.yaml", "embedded")
    return list(
        dict.fromkeys(
            run.method for run in runs if (run.model, run.dataset) == (model, dataset)
        )
    )


def _boxed(dataset: str) -> list[Sample]:
    """Questions with a box, which human crops need."""
    return [s for s in datasets.load(dataset, 3 * QUESTIONS) if s.boxes][:QUESTIONS]


def _shown(sample: Sample, dataset: str = "plates") -> Image.Image:
    return images.load(datasets.image_path(dataset, sample))


def _all_ours(vlm: Adapter, samples: list[Sample], methods: list[str]) -> None:
    """Every method's answers, each image looked at once."""
    cropping, views = pipeline.ViCrop(vlm), Views()
    for sample in samples:
        view = views.get(sample.image_path, lambda s=sample: vlm.look(_shown(s)))
        for method in sorted(methods, key=pipeline.cheapest_first):
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


MOST = 20


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
        samples = _boxed(dataset)
        step = _token_seconds(vlm, _shown(samples[0], dataset), samples[0].question)
        for method in tqdm(methods_of(key, dataset), desc=f"methods, {key}"):
            yield {
                "model": key,
                "dataset": dataset,
                "method": method,
                "answer_token_seconds": step,
                **_cost(vlm, method, samples, dataset),
            }


HELD = ("plates", "plates-hd")


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
        "flops": float(np.mean([counting.flops(call) for call in asked])),
        "peak_bytes": max(counting.peak_bytes(call) for call in asked[:3]),
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
    prompt = vlm.look(image).prompt(question)
    vlm.start(prompt)
    with mock.patch.object(type(vlm), "end_ids", {-1}):
        long, short = (
            [seconds(lambda n=n: vlm.generate(prompt, n)) for _ in range(21)]
            for n in (9, 1)
        )
    return float(np.median(long) - np.median(short)) / 8
