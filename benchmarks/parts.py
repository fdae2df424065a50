"""What is measured of told, ours and plain; each part returns rows for the JSON."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar
from unittest import mock

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from benchmarks import counting, models, plain, ways
from benchmarks.ways import METHODS, QUESTION, Case
from vicrop import attribution
from vicrop.adapters.adapter import Adapter
from vicrop.types import Map

K = TypeVar("K")
Row = dict[str, object]
Rows = Iterator[Row]

PHOTO = (1024, 768)
SIZES = {
    "llava": [(PHOTO, 336)],
    "instructblip": [(PHOTO, 224)],
    # A photo of its usual size with the smallest crop; a small one with the largest.
    "qwen2.5-vl": [(PHOTO, 224), ((448, 448), 448)],
}
"""(width, height) of the image and side of the crop, pixels."""


def seconds(call: Callable[[], object]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def gpu_time(call: Callable[[], object]) -> float:
    """Seconds until the GPU is done with a call."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turn(
    calls: dict[K, Callable[[], object]],
    rounds: int,
    label: str,
    warm: int = 1,
    clock: Callable[[Callable[[], object]], float] = seconds,
) -> dict[K, list[float]]:
    """Seconds of each way, a call of each in every round.

    Args:
        calls: of each way.
        rounds: how many.
        label: of the progress bar.
        warm: rounds before them that are not counted.
        clock: times a call.
    """
    taken: dict[K, list[float]] = {name: [] for name in calls}
    for number in tqdm(range(rounds + warm), desc=label, leave=False):
        for name, call in calls.items():
            spent = clock(call)
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


def seconds_of_ways(rounds: int) -> Rows:
    """Time of all ways: middling random models and the tiny ones, on the CPU."""
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


def gpu_seconds(rounds: int) -> Rows:
    """Time of all ways at real size, random weights; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return
    for family in models.KEYS:
        vlm, eager = models.on_gpu(family), plain.unfreeze(models.on_gpu(family))
        image = ways.photo(*PHOTO)
        crop = ways.middle(image, vlm.crop_px)
        for method in METHODS:
            case = Case(vlm, eager, image, crop, method)
            yield from _timed(family, "gpu", case, rounds)


def _timed(family: str, shape: str, case: Case, rounds: int) -> Rows:
    label, clock = f"{family}, {shape}, {case.method}", seconds
    if shape == "gpu":
        clock = gpu_time
    times = in_turn(_ways(case), rounds, label, clock=clock)
    for (way, question), taken in times.items():
        yield {
            "family": family,
            "model": models.TINY[family] if shape == "embedded" else "random",
            "shape": shape,
            "device": "cuda" if shape == "gpu" else "cpu",
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
        calls[f"{method} map"] = map_of(vlm, image, method)
    calls["plain way's rel-att map"] = _plainmap_of(eager, image, "rel-att")
    for what, call in tqdm(calls.items(), desc=f"memory, {family}", leave=False):
        most = peak(call)
        yield {"family": family, "shape": shape, "what": what, "peak_bytes": most}


def map_of(vlm: Adapter, image: Image.Image, method: str) -> Callable[[], Map]:
    """The call that makes a map of an image not seen before."""
    return lambda: vlm.look(image).importance(QUESTION, method)


def _plainmap_of(
    vlm: Adapter, image: Image.Image, method: str
) -> Callable[[], np.ndarray]:
    return lambda: plain.MAPS[method](vlm, image, QUESTION)
