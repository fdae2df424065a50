"""Three ways to an answer, side by side: told, ours, plain; their time, FLOPs, memory.

Each begins with an image that was not seen before. What is measured comes as rows of
the JSON.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from benchmarks import counting, models, plain
from vicrop import gate
from vicrop.adapters.adapter import Adapter
from vicrop.prompts import Prompt
from vicrop.types import Box, Map
from vicrop.view import View

Row = dict[str, object]
Rows = Iterator[Row]
Clock = Callable[[Callable[[], object]], float]

PHOTO = (1024, 768)
SIZES = {
    "llava": [(PHOTO, 336)],
    "instructblip": [(PHOTO, 224)],
    # A photo of its usual size with the smallest crop; a small one with the largest.
    "qwen2.5-vl": [(PHOTO, 224), ((448, 448), 448)],
}
"""(width, height) of the image and side of the crop, pixels."""
TOKENS = 4  # of an answer, as fast decoding is not the question here
QUESTION = (
    "what is the digit or letter that is on the red plate with the blue wall there ?"
)
OTHER = (
    "what is the color of the plate with the digit or letter that is in the image on "
    "the wall there ?"
)


@dataclass
class Case:
    """What is asked of a model.

    Attributes:
        family: of the model.
        shape: of its weights: ``real`` (none), ``gpu``, ``mid`` or ``embedded``.
        vlm: under SDPA, for ours and for told.
        eager: the same model as the plain procedure has it.
        image: upright RGB.
        crop: of all ways, so that their second images are of one size.
        method: a map's key.
        view: the last one of ours.
    """

    family: str
    shape: str
    vlm: Adapter
    eager: Adapter
    image: Image.Image
    crop: Box
    method: str
    view: View | None = None

    def told(self, question: str = QUESTION) -> list[int]:
        """The crop is handed over for free: the answer from both, in one pass."""
        pair = [self.image, self.image.crop(self.crop)]
        return plain.generate(self.vlm, pair, question, TOKENS)

    def ours(self, view: View | None = None, question: str = QUESTION) -> tuple:
        """The map, the plain answer and the answer with the crop."""
        if view is None:
            view = self.view = self.vlm.look(self.image)
        view.importance(question, self.method)
        return self._answers(view, question)

    def answers(self) -> tuple:
        """Ours without a map: the plain answer, and one with a crop from nowhere."""
        return self._answers(self.vlm.look(self.image), QUESTION)

    def _answers(self, view: View, question: str) -> tuple:
        plain = self.vlm.decode(self.vlm.run([view.whole.ask(question)]), TOKENS)
        crop = [self.vlm.look_at([view.part(self.crop)])]
        prompts = self.vlm.follow([view.whole.case(question, crop)])
        return plain[0], self.vlm.decode(self.vlm.run(prompts), TOKENS)[0]

    def plain(self, question: str = QUESTION) -> tuple:
        """The same, as the authors' code makes it."""
        return plain.answer(
            self.eager, self.image, question, self.method, TOKENS, self.crop
        )

    def further(self) -> tuple:
        """Ours for another question about the image that was asked about last."""
        return self.ours(self.view, OTHER)

    @property
    def ways(self) -> dict[tuple[str, str], Callable[[], object]]:
        """The call of each, by way and question; a further one goes on from ours."""
        return {
            ("told", "first"): self.told,
            ("answers", "first"): self.answers,
            ("ours", "first"): self.ours,
            ("ours", "further"): self.further,
            ("plain", "first"): self.plain,
        }

    @cached_property
    def tokens(self) -> dict[str, int]:
        """How long the prompt is."""
        seen = [self.vlm.look_at([self.image])]
        seen.append(self.vlm.look_at([self.image.crop(self.crop)]))
        image, crop = (self.vlm.token_count(one) for one in seen)
        words = self.vlm.words(QUESTION, seen).ids.shape[1] - image - crop
        return {
            "image_tokens": image,
            "crop_tokens": crop,
            "text_tokens": words,
            "answer_tokens": TOKENS,
        }

    def row(self, way: str, question: str, **found: object) -> Row:
        """What was found of a way, as the JSON has it."""
        names = {"real": models.KEYS, "embedded": models.TINY}.get(self.shape, {})
        nothing = {"flops": None, "flops_causal": None, "seconds": None}
        return {
            "family": self.family,
            "model": names.get(self.family, "random"),
            "shape": self.shape,
            "device": {"real": "meta", "gpu": "cuda"}.get(self.shape, "cpu"),
            "batch": 1,
            "method": self.method,
            "way": way,
            "question": question,
            **nothing,
            **found,
            **self.tokens,
        }


def cases(
    family: str,
    shape: str,
    size: tuple[int, int],
    pair: tuple[Adapter, Adapter],
    side: int = 0,
) -> Iterator[Case]:
    """The paper's methods on a picture of (width, height) and a crop of its middle.

    The crop's ``side`` is the model's own unless told, in pixels.
    """
    image = photo(*size)
    crop = middle(image, side or pair[0].crop_px)
    for method in plain.MAPS:
        yield Case(family, shape, *pair, image, crop, method)


def both(make: Callable[[str], Adapter], family: str) -> tuple[Adapter, Adapter]:
    """A model, and the same as the plain procedure has it."""
    return make(family), plain.unfreeze(make(family))


def photo(width: int, height: int) -> Image.Image:
    """A blotchy picture."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height))


def middle(image: Image.Image, side: int) -> Box:
    """A square of the picture's middle."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return Box(left, top, left + side, top + side)


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
    calls: dict[Any, Callable[[], object]],
    rounds: int,
    label: str,
    warm: int = 1,
    clock: Clock = seconds,
) -> dict[Any, list[float]]:
    """Seconds of each way, a call of each in every round.

    The first ``warm`` rounds, which come before the others, are not counted.
    """
    taken: dict[Any, list[float]] = {name: [] for name in calls}
    for number in tqdm(range(rounds + warm), desc=label, leave=False):
        for name, call in calls.items():
            spent = clock(call)
            if number >= warm:
                taken[name].append(spent)
    return taken


def real_flops(rounds: int) -> Rows:
    """FLOPs of all ways at real shapes, on the meta device."""
    with mock.patch.object(Prompt, "array", staticmethod(_numbers)):
        for family, sizes in tqdm(SIZES.items(), desc="real shapes"):
            pair = both(models.real, family)
            for size, side in sizes:
                known: dict[str, counting.Flops] = {}
                for case in cases(family, "real", size, pair, side):
                    yield from _counted(case, known)


def _numbers(values: torch.Tensor) -> np.ndarray:
    """Stands for what cannot be read off the meta device: any map will do."""
    return np.random.default_rng(0).random(tuple(values.shape), np.float32) + 0.1


def _counted(case: Case, known: dict[str, counting.Flops]) -> Rows:
    """A case's FLOPs; ``known`` keeps those of the ways that make no map."""
    for (way, question), call in case.ways.items():
        found = known.get(way) or counting.flops_on_meta(call)
        if way in ("told", "answers"):
            known[way] = found
        flops, causal = found.dense + found.full, found.dense + found.causal
        yield case.row(way, question, flops=flops, flops_causal=causal)


def seconds_of_ways(rounds: int) -> Rows:
    """Time of all ways: middling random models and the tiny ones, on the CPU."""
    for family in models.KEYS:
        for shape, make, times in (
            ("mid", models.mid, rounds),
            ("embedded", models.tiny, 4 * rounds),
        ):
            for case in cases(family, shape, (448, 448), both(make, family)):
                yield from _timed(case, times, seconds)


def gpu_seconds(rounds: int) -> Rows:
    """Time of all ways at real size, random weights; nothing where there is no GPU."""
    for family in models.KEYS if torch.cuda.is_available() else ():
        for case in cases(family, "gpu", PHOTO, both(models.on_gpu, family)):
            yield from _timed(case, rounds, gpu_time)


def _timed(case: Case, rounds: int, clock: Clock) -> Rows:
    label = f"{case.family}, {case.shape}, {case.method}"
    times = in_turn(case.ways, rounds, label, clock=clock)
    for (way, question), taken in times.items():
        yield case.row(way, question, seconds=taken)


def memory(rounds: int) -> Rows:
    """Most memory beside the weights: a plain answer, maps, the plain way's maps."""
    for family in models.KEYS:
        yield from _peaks(family, "mid", both(models.mid, family), counting.peak_bytes)
        pair, peak = both(models.real, family), counting.peak_bytes_on_meta
        unread = mock.patch.object(gate, "of_scores", lambda scores: {})
        with unread, mock.patch.object(Prompt, "array", staticmethod(_numbers)):
            yield from _peaks(family, "real", pair, peak)


def _peaks(
    family: str,
    shape: str,
    pair: tuple[Adapter, Adapter],
    peak: Callable[[Callable[[], object]], int],
) -> Rows:
    (vlm, eager), image = pair, photo(*PHOTO)
    calls: dict[str, Callable[[], object]] = {
        "plain answer": lambda: vlm.look(image).ask(QUESTION, max_new_tokens=TOKENS),
        **{f"{method} map": map_of(vlm, image, method) for method in plain.MAPS},
        "plain way's rel-att map": lambda: plain.rel_att(eager, image, QUESTION),
    }
    for what, call in tqdm(calls.items(), desc=f"memory, {family}", leave=False):
        most = peak(call)
        yield {"family": family, "shape": shape, "what": what, "peak_bytes": most}


def map_of(vlm: Adapter, image: Image.Image, method: str) -> Callable[[], Map]:
    """The call that makes a map of an image not seen before."""
    return lambda: vlm.look(image).importance(QUESTION, method)
