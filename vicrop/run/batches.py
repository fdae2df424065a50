"""Which samples are answered together, and what is run for all of them at once.

Their images are read ahead.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any

import torch

from vicrop import attribution, images, pipeline
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets
from vicrop.run.records import RunConfig, Sample
from vicrop.run.task import Task
from vicrop.view import View, Views, answer, describe, see

AUTO = 16
"""Images that ``batch_size="auto"`` begins with on a GPU; on a CPU it is one."""


class Ahead:
    """Loads what will be asked for, in its order, in threads.

    Decoding lets other threads run, and so does waiting for a disk.

    Attributes:
        load: what is asked for, by its key.
        depth: at most so many wait, loaded.
    """

    def __init__(self, load: Callable[[str], Any], keys: Iterable[str], depth: int):
        self.load, self.depth = load, depth
        self._coming = deque(keys)
        self._waiting: dict[str, Future] = {}
        self._pool = ThreadPoolExecutor(min(depth, 4), "vicrop-images")
        self._fill()

    def __call__(self, key: str) -> Any:
        """What is at a key; of one that was not to come, loaded now.

        Raises:
            Exception: what loading it raised.
        """
        future = self._waiting.pop(key, None)
        self._fill()
        return self.load(key) if future is None else future.result()

    def _fill(self) -> None:
        while self._coming and len(self._waiting) < self.depth:
            key = self._coming.popleft()
            self._waiting[key] = self._pool.submit(self.load, key)

    def close(self) -> None:
        """Load no more."""
        self._coming.clear()
        self._pool.shutdown(cancel_futures=True)


class Looker:
    """Looks at samples' images; neighbours that share an image share a View.

    Attributes:
        vlm: the model.
        config: of the run.
        views: of the images asked about last.
    """

    def __init__(self, vlm: Adapter, config: RunConfig, coming: Sequence[Sample] = ()):
        self.vlm, self.config, self.views = vlm, config, Views()
        first: dict[str, Sample] = {}
        for sample in coming:
            first.setdefault(sample.image_path, sample)
        self._files = first
        self._images = Ahead(self._load, first, depth=8)

    def __call__(self, sample: Sample) -> View:
        """The view of a sample's image.

        Raises:
            FileNotFoundError: if there is no image.
            ValueError: if it is none that can be looked at.
        """
        return self.views.get(sample.image_path, lambda: self._look(sample))

    def _look(self, sample: Sample) -> View:
        self._files[sample.image_path] = sample  # whom an error is about
        image = self._images(sample.image_path)
        return self.vlm.look(image, self.config.fit, self.config.geometry)

    def _load(self, path: str):
        return images.load(datasets.image_path(self.config.dataset, self._files[path]))

    def close(self) -> None:
        """Free all views and read no more."""
        self._images.close()
        self.views.close()


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
        self.look, self.order = look, order
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
        except Exception as error:
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
            asked = [v.whole.ask(s.short_question or s.question) for s, v in seen]
            self.look.vlm.run(asked)
        wanted = dict.fromkeys(
            (view, sample.question, box)
            for sample, view in seen
            for box in (None, *self._boxes(sample, view))
        )
        answer(list(wanted), self.order[0].config.max_new_tokens)

    def _view(self, sample: Sample) -> list[View]:
        """Its view; none of an image that fails, which its record will say."""
        try:
            return [self.look(sample)]
        except (OSError, ValueError):
            return []

    def _kinds(self) -> list[attribution.Attribution]:
        """Maps of the runs that are not made tile by tile."""
        methods = [task.config.method for task in self.order]
        return [attribution.get(one) for one in methods if one in attribution.MAPS]

    def _begins_with_gradients(self) -> bool:
        """Whether a pass for a gradient, made one by one, gives the others' starts."""
        whole = self.look.vlm.facts.connector is not None
        return any(
            kind.from_pixels or (kind.traced and whole) for kind in self._kinds()
        )

    def _boxes(self, sample: Sample, view: View) -> list:
        """What each run that has yet to answer a sample will crop."""
        tasks = [task for task in self.order if task.lacks(sample)]
        return [pipeline.choose(view, sample, task.config)[0] for task in tasks]


def _size(task: Task) -> int:
    """Images in a batch, to begin with."""
    asked = task.config.batch_size
    if asked != "auto":
        return asked
    return AUTO if task.vlm.device.type == "cuda" else 1
