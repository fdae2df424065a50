"""Which samples are answered together, and what is run for all of them at once.

Their images are read ahead.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from vicrop import attribution, geometry, images, pipeline
from vicrop.gate import Gate
from vicrop.pipeline import Chosen
from vicrop.run import datasets
from vicrop.run.folder import RunFolder
from vicrop.run.progress import ASKED_TO_END
from vicrop.run.records import RunConfig, Sample
from vicrop.types import Box, Shown
from vicrop.view import View, Views, answer, describe, see

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter
    from vicrop.run.task import Task

AUTO = 16
"""Images that ``batch_size="auto"`` begins with on a GPU; on a CPU it is one."""


AHEAD = 8
"""Images that wait, read, for being looked at."""


class Looker:
    """Looks at samples' images; neighbours that share an image share a View.

    Images are read and decoded in threads before they are asked for.

    Attributes:
        vlm: the model.
        config: of the run.
        views: of the images asked about last.
        tasks: runs that are told, in the end, what to know of the images.
    """

    def __init__(self, vlm: Adapter, config: RunConfig, coming: Sequence[Sample] = ()):
        self.vlm, self.config, self.views = vlm, config, Views()
        self.tasks: Sequence[Task] = ()
        self._told: dict[str, set[str]] = {}
        first = {sample.image_path: sample for sample in reversed(coming)}
        self._coming = deque(reversed(first.values()))
        self._read: dict[str, Future[Image.Image]] = {}
        self._pool = ThreadPoolExecutor(4, "vicrop-images")
        self._read_ahead()

    def __call__(self, sample: Sample) -> View:
        """The view of a sample's image.

        Raises:
            FileNotFoundError: if there is no image.
            ValueError: if it is none that can be looked at.
        """
        return self.views.get(sample.image_path, lambda: self._look(sample))

    def _look(self, sample: Sample) -> View:
        read = self._read.pop(sample.image_path, None)
        self._read_ahead()
        image = self._load(sample) if read is None else read.result()
        view = self.vlm.look(image, self.config.fit, self.config.geometry)
        if geometry.seen(view.fit, image.size) < geometry.LITTLE:
            self._tell(sample, "", "less than half is seen; --fit pad shows all")
        return view

    def _load(self, sample: Sample) -> Image.Image:
        path = datasets.image_path(self.config.dataset, sample)
        return images.load(path, partial(self._tell, sample))

    def _tell(self, sample: Sample, name: str, what: str) -> None:
        self._told.setdefault(what, set()).add(sample.image_path)

    def _read_ahead(self) -> None:
        while self._coming and len(self._read) < AHEAD:
            sample = self._coming.popleft()
            self._read[sample.image_path] = self._pool.submit(self._load, sample)

    def close(self) -> None:
        """Free all views, read no more, and note what was told, once a kind."""
        self._coming.clear()
        self._pool.shutdown(cancel_futures=True)
        self.views.close()
        for what, paths in self._told.items():
            for task in self.tasks:
                task.notes.append(f"images ({len(paths)}, as {min(paths)}): {what}")


class Batches:
    """Batches of samples, each about another image, that have been run together.

    What is run ahead for a batch is kept by the images' Views, where answering finds
    it; so records are made by the same code as one by one. Where memory does not
    suffice, the batch is halved, and those after it are no larger.

    Attributes:
        look: at samples' images.
        order: runs, in the order in which they ask.
        size: images in a batch.
    """

    def __init__(self, look: Looker, order: Sequence[Task], left: Sequence[Sample]):
        self.look, self.order, look.tasks = look, order, order
        self.size = _size(order[0])
        self._coming = deque(
            deque(group) for _, group in groupby(left, key=lambda s: s.image_path)
        )

    def __iter__(self) -> Iterator[list[Sample]]:
        while self._coming:
            self.look.views.max_views = self.size
            count = min(self.size, len(self._coming))
            yield from self._rounds([self._coming.popleft() for _ in range(count)])

    def _rounds(self, groups: list[deque[Sample]]) -> Iterator[list[Sample]]:
        """A question about each image, then the next about each, and so on."""
        while groups:
            batch = [group[0] for group in groups]
            if not self._is_run(batch):
                self._coming.extendleft(reversed(groups))
                return
            yield batch
            for group in groups:
                group.popleft()
            groups = [group for group in groups if group]

    def _is_run(self, batch: Sequence[Sample]) -> bool:
        """Run a batch; whether memory sufficed."""
        if len(batch) == 1:
            return True
        first, fits = self.order[0], True
        try:
            with first.timed():
                self._run(batch)
        except torch.OutOfMemoryError:
            fits = False
        except ASKED_TO_END:
            raise
        except BaseException as error:  # panics of Rust's libraries are no Exception
            # One by one, it is that sample's error alone, and recorded as such.
            self.look.views.close()
            first.notes.append(
                f"{len(batch)} images from sample {batch[0].id} on one by one, for "
                f"together they gave {type(error).__name__}: {error}"
            )
        if not fits:  # only here: inside `except`, its traceback keeps tensors alive
            self._halve(batch)
        return fits

    def _halve(self, batch: Sequence[Sample]) -> None:
        """Free all, and go on with smaller batches."""
        self.look.views.close()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.size = len(batch) // 2
        self.order[0].notes.append(
            f"out of memory with {len(batch)} images together; {self.size} from "
            f"sample {batch[0].id} on"
        )

    def _run(self, batch: Sequence[Sample]) -> None:
        """See, start, choose boxes and answer, each for the whole batch."""
        seen = [(sample, view) for sample in batch for view in self._view(sample)]
        if not self._begins_with_gradients():
            looks = [view.whole for _, view in seen]
            see(looks)
            for kind in self._kinds():
                if not kind.traced:
                    describe(looks, kind)
            asked = [view.whole.ask(self._first(sample)) for sample, view in seen]
            self.look.vlm.run(asked, words=any(kind.words for kind in self._kinds()))
        wanted = dict.fromkeys(
            (view, sample.question, shown)
            for sample, view in seen
            for shown in (None, *self._shown(sample, view))
        )
        answer(list(wanted), self.order[0].config.max_new_tokens)

    def _view(self, sample: Sample) -> list[View]:
        """Its view; none of an image that fails, which its record will say."""
        try:
            return [self.look(sample)]
        except (OSError, ValueError):
            return []

    def _first(self, sample: Sample) -> str:
        """What an image is asked first: a map's question, if all get a map."""
        if not self._kinds():
            return sample.question
        about = asked_about(sample, self.order[0].config)
        return about.short_question or about.question

    def _kinds(self) -> list[attribution.Attribution]:
        """Maps that the runs make of each image, not tile by tile."""
        config = self.order[0].config
        gate = gate_of(config)
        if config.boxes_from or (gate and gate.of_answer):
            return []
        methods = [task.config.method for task in self.order]
        return [attribution.get(one) for one in methods if one in attribution.MAPS]

    def _begins_with_gradients(self) -> bool:
        """Whether a pass for a gradient, made one by one, gives the others' starts."""
        whole = self.look.vlm.facts.connector is not None
        return any(k.from_pixels or (k.traced and whole) for k in self._kinds())

    def _shown(self, sample: Sample, view: View) -> list[Shown | None]:
        """What each run that has yet to answer a sample will show beside its image."""
        tasks = [task for task in self.order if task.lacks(sample)]
        return [choose(view, sample, task.config).shown for task in tasks]


def _size(task: Task) -> int:
    """Images in a batch, to begin with."""
    auto = AUTO if task.vlm.device.type == "cuda" else 1
    return auto if task.config.batch_size == "auto" else task.config.batch_size


# The order in which runs ask, and the crop that each gives a sample.


def cheapest_first(method: str) -> int:
    """Sorts the methods that are asked about one image so that least is run twice."""
    kind = attribution.MAPS.get(method)
    if kind is None or not (kind.traced or kind.words):
        return 3
    return 0 if kind.from_pixels else 1 if kind.traced else 2


def choose(view: View, sample: Sample, config: RunConfig) -> Chosen:
    """What a run shows for a sample, and why.

    Raises:
        ValueError: as ``pipeline.choose``; for a swapped crop that no other question
            has, or one of another run's that is not there.
    """
    find = partial(_crop, view, asked_about(sample, config), config)
    how = config.crop_policy, config.crops, gate_of(config)
    return pipeline.choose(view, sample.question, find, *how)


def _crop(view: View, sample: Sample, config: RunConfig) -> pipeline.Crop:
    if config.boxes_from is not None:
        return recorded_box(config.boxes_from, sample), None
    # A sample's random box depends on the seed and its id, not on its place in the run.
    rng = np.random.default_rng((config.seed, zlib.crc32(sample.id.encode())))
    question = sample.short_question or sample.question
    return pipeline.crop_of(view, question, config.method, sample.boxes, rng)


def asked_about(sample: Sample, config: RunConfig) -> Sample:
    """The sample whose crop is shown: for ``swapped`` the next of the same image.

    Of one about other boxes, where the data tell.

    Raises:
        ValueError: if there is none.
    """
    if config.crop_policy != "swapped":
        return sample
    alike = _by_image(config.dataset)[sample.image_path]
    place = [one.id for one in alike].index(sample.id)
    for other in alike[place + 1 :] + alike[:place]:
        if not other.boxes or other.boxes != alike[place].boxes:
            return other
    raise ValueError(
        f"no other question about {sample.image_path} than sample {sample.id} is about "
        "something else, so there is no other's crop to swap in"
    )


@lru_cache(maxsize=4)
def _by_image(dataset: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in datasets.load(dataset):
        found.setdefault(sample.image_path, []).append(sample)
    return found


def gate_of(config: RunConfig) -> Gate | None:
    """A run's gate, if it has one."""
    if config.gate is None:
        return None
    return _gate(config.gate, config.gate_feature, config.gate_alpha)


@lru_cache(maxsize=8)
def _gate(folder: str, feature: str, alpha: float) -> Gate:
    return RunFolder(folder).gate(feature, alpha)


def recorded_box(folder: str, sample: Sample) -> Box:
    """The box that another run's record has for a sample.

    Raises:
        ValueError: if there is none.
    """
    box = _recorded(folder).get(sample.id)
    if box is None:
        raise ValueError(
            f"{folder} has no box for sample {sample.id}; boxes_from must name a run "
            "that crops, on the same data"
        )
    return box


@lru_cache(maxsize=8)
def _recorded(folder: str) -> dict[str, Box | None]:
    """Boxes of a run's records, by sample id; read once a process."""
    return {record.id: record.box for record in RunFolder(folder).records()}
