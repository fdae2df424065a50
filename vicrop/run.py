"""One run: loop, resume, append. The only place that catches a sample's failure."""

import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image
from tqdm import tqdm

from vicrop import adapters, boxes, datasets, images, pipeline, provenance, scoring
from vicrop.adapters.base import Adapter
from vicrop.adapters.parts import Work
from vicrop.results import RunFolder, size_group
from vicrop.types import Answer, Record, RunConfig, Sample, check_question
from vicrop.view import View
from vicrop.views import Views


def run(
    config: RunConfig, progress: bool = True, vlm: Adapter | None = None
) -> RunFolder:
    """Answer every sample that has no record yet.

    Args:
        config: model, method, dataset and how much of it.
        vlm: the model, if it is loaded already.
        progress: whether to show a bar.

    Returns:
        The run's folder. Samples that failed are recorded with their error; see
        ``failures``.

    Raises:
        ValueError: for an unknown model, method or dataset, a method that the data do
            not fit, or if the folder holds records of another model, of other data or
            parameters.
    """
    return run_together([config], progress, vlm)[0]


def run_together(
    configs: Sequence[RunConfig], progress: bool = True, vlm: Adapter | None = None
) -> list[RunFolder]:
    """Runs that differ in their method only: each image is looked at once for all.

    Records are the same as those of ``run``, one by one. Seconds are counted for the
    run that needed them first.

    Raises:
        ValueError: as ``run``; or if the runs differ in more than their method.
    """
    configs = [_resolved(config) for config in configs]
    if (
        len({config.model_copy(update={"method": ""}).digest() for config in configs})
        > 1
    ):
        raise ValueError("runs made together may differ in their method only")
    wanted = [askable(config) for config in configs]
    vlm = load(configs[0]) if vlm is None else vlm
    weights = provenance.weights_hash(vlm)
    tasks = [
        Task.of(config, weights, samples)
        for config, samples in zip(configs, wanted, strict=True)
    ]
    look = Looker(vlm, configs[0])
    name = configs[0].run_id if len(configs) == 1 else f"{len(configs)} runs"
    total = sum(map(len, wanted))
    left = sum(len(task.left) for task in tasks)
    bar = tqdm(desc=name, total=total, initial=total - left, disable=not progress)
    order = sorted(tasks, key=lambda task: pipeline.cheapest_first(task.config.method))
    # In GQA and POPE, the questions about an image are not side by side.
    for sample in sorted(max(wanted, key=len), key=lambda asked: asked.image_path):
        for task in (task for task in order if sample.id in task.left):
            task.answer(look, sample)
            bar.update()
    bar.close()
    look.views.close()
    for task in tasks:
        task.close(vlm)
    return [task.folder for task in tasks]


def _resolved(config: RunConfig) -> RunConfig:
    """With keys in place of the authors' short ones."""
    keys = {
        "model": adapters.resolve(config.model),
        "method": pipeline.resolve(config.method),
    }
    return config.model_copy(update=keys)


class Looker:
    """Looks at samples' images; neighbours that share an image share a View."""

    def __init__(self, vlm: Adapter, config: RunConfig):
        self.vlm, self.config, self.views = vlm, config, Views()

    def __call__(self, sample: Sample) -> View:
        """The view of a sample's image."""
        return self.views.get(sample.image_path, lambda: self._look(sample))

    def _look(self, sample: Sample) -> View:
        file = datasets.image_path(self.config.dataset, sample)
        return self.vlm.look(file, self.config.fit, self.config.geometry)


@dataclass
class Task:
    """What is left to do of a run.

    Attributes:
        config: of the run.
        folder: where its records go.
        left: ids of samples without a record.
        seconds: spent on it so far.
        work: of the language model on it so far.
        answered: records made.
    """

    config: RunConfig
    folder: RunFolder
    left: set[str]
    seconds: float = 0.0
    work: Work = Work()
    answered: int = 0

    @classmethod
    def of(cls, config: RunConfig, weights: str, samples: list[Sample]) -> "Task":
        """Open a run's folder; ``weights`` is the model's hash."""
        folder = RunFolder.of(config)
        done = folder.open(provenance.identity(config, weights))
        return cls(config, folder, {sample.id for sample in samples} - done)

    def answer(self, look: Looker, sample: Sample) -> None:
        """Record one sample, or how it failed."""
        started, before = time.perf_counter(), look.vlm.work
        self.folder.append(record_of(look, self.config, sample))
        self.left.discard(sample.id)
        self.answered += 1
        self.seconds += time.perf_counter() - started
        self.work += look.vlm.work - before

    def close(self, vlm: Adapter) -> None:
        """Write down what is worth knowing of the run."""
        spent = {
            "answered": self.answered,
            "seconds": round(self.seconds, 3),
            **asdict(self.work),
        }
        errors = len(failures(self.folder))
        self.folder.write_meta(
            provenance.meta(self.config, vlm, self.folder.meta(), spent, errors)
        )


def askable(config: RunConfig) -> list[Sample]:
    """The samples of a run: human crops are only given where there is a box.

    Raises:
        ValueError: if that leaves none.
    """
    samples = datasets.load(config.dataset, config.limit, config.seed)
    if config.method not in pipeline.NEEDS_TRUTH:
        return samples
    boxed = [sample for sample in samples if sample.boxes]
    if not boxed:
        raise ValueError(
            f"{config.method} needs ground-truth boxes and {config.dataset} has none; "
            "use a data set with boxes, or another method"
        )
    return boxed


def load(config: RunConfig) -> Adapter:
    """The model of a run."""
    return adapters.load(
        config.model,
        layer=config.layer,
        device=config.device,
        dtype=config.dtype,
        **config.options,
    )


def replay(
    config: RunConfig, vlm: Adapter, ids: Sequence[str]
) -> list[tuple[Image.Image, Answer, Sample]]:
    """Answer single samples again, this time with image and map, to be shown."""
    known = {sample.id: sample for sample in datasets.load(config.dataset)}
    shown = []
    for sample in (known[name] for name in ids):
        file = datasets.image_path(config.dataset, sample)
        view = vlm.look(file, config.fit, config.geometry)
        shown.append((view.image, answer_sample(view, config, sample), sample))
    return shown


def example(
    vlm: Adapter, image: str, question: str, number: int = 0, dataset: str = "plates"
) -> tuple[Image.Image, str, tuple]:
    """An image and a question to show: the caller's, or one of a data set.

    Args:
        vlm: the model.
        image: path of an image; empty for one of the data set.
        question: the question; empty for the data set's.
        number: which of the small objects' questions that the model answers wrongly
            without a crop, from 0.
        dataset: where from.

    Returns:
        The image, the question and the ground-truth boxes (none for a caller's).
    """
    if image:
        return images.load(image), check_question(question), ()
    missed = 0
    for sample in datasets.load(dataset):
        picture = images.load(datasets.image_path(dataset, sample))
        size = datasets.object_size(sample, picture.size)
        if size_group(size) != "small":
            continue
        said = vlm.look(picture).ask(sample.question)
        missed += not scoring.score(dataset, said.text, sample.labels)
        if missed > number:
            return picture, question or sample.question, sample.boxes
    raise ValueError(f"{dataset} has only {missed} such samples, asked for {number}")


def record_of(look: Looker, config: RunConfig, sample: Sample) -> Record:
    """One sample's record; with its error if it failed."""
    try:
        return answer_one(look(sample), config, sample)
    except Exception as error:
        return Record(
            id=sample.id,
            question=sample.question,
            labels=sample.labels,
            meta=sample.meta,
            error=f"{type(error).__name__}: {error}",
        )


def answer_one(view: View, config: RunConfig, sample: Sample) -> Record:
    """One sample's record."""
    datasets.check_boxes(sample, view.image.size)
    answer = answer_sample(view, config, sample)
    return _record(sample, answer, config.dataset, view.image.size)


def answer_sample(view: View, config: RunConfig, sample: Sample) -> Answer:
    """One sample's answers, box and map."""
    # A sample's random box depends on the seed and its id, not on its place in the run.
    rng = np.random.default_rng((config.seed, zlib.crc32(sample.id.encode())))
    return pipeline.ViCrop(view.vlm).answer(
        view,
        sample.question,
        config.method,
        short_question=sample.short_question,
        truth=sample.boxes,
        rng=rng,
        max_new_tokens=config.max_new_tokens,
    )


def _record(
    sample: Sample, answer: Answer, dataset: str, size: tuple[int, int]
) -> Record:
    plain_score, score = (
        scoring.score(
            dataset, scoring.prepared(dataset, text), sample.labels, sample.question
        )
        for text in (answer.plain, answer.text)
    )
    covered = None
    if answer.box is not None and sample.boxes:
        covered = round(boxes.coverage(answer.box, sample.boxes[0]), 6)
    return Record(
        id=sample.id,
        question=sample.question,
        labels=sample.labels,
        plain=answer.plain,
        answer=answer.text,
        plain_score=plain_score,
        score=score,
        box=answer.box,
        size=datasets.object_size(sample, size),
        coverage=covered,
        meta=sample.meta,
    )


def failures(folder: RunFolder) -> list[Record]:
    """Records of samples that failed."""
    return [record for record in folder.records() if record.error is not None]
