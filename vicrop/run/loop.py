"""One run: loop, resume, append. The only place that catches a sample's failure."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

from vicrop import boxes, scoring
from vicrop.adapters import registry
from vicrop.run import checks, datasets, provenance
from vicrop.run.folder import RunFolder
from vicrop.run.progress import ASKED_TO_END, Progress, at_most, gently
from vicrop.run.records import Record, RunConfig, Sample
from vicrop.run.task import Task, check, opened
from vicrop.types import Answer, Map

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter
    from vicrop.run.batches import Looker
    from vicrop.view import View


def run(
    config: RunConfig,
    progress: bool = True,
    vlm: Adapter | None = None,
    again: bool = False,
) -> RunFolder:
    """Answer every sample that has no record yet.

    Args:
        config: model, method, dataset and how much of it.
        vlm: the model, if it is loaded already.
        progress: whether to say how far it is.
        again: whether samples that failed are tried again.

    Returns:
        The run's folder; of a finished run as it is, and its model is not loaded.
        Samples that failed are recorded with their error; see ``failures``.

    Raises:
        ValueError: for an unknown model, method or dataset, a method that the data do
            not fit, or if the folder holds records of another model, of other data or
            parameters.
        Refused: if another process is at this run.
        Stopped: after SIGTERM or SIGINT; what was recorded stays, and the same call
            goes on.
        OSError: if the records cannot be written.
    """
    if vlm is None and not again and _is_finished(config):
        made = RunFolder.of(config)
        told = [*made.records()] if progress else []
        Progress(made.name, len(told), {config.method: told}, progress).close()
        return made
    return run_together([config], progress, vlm, again)[0]


def _is_finished(config: RunConfig) -> bool:
    """Whether all is recorded, unchanged, and since the model's own files came here."""
    made = RunFolder.of(config)
    if any(checks.of_file(made)):
        return False
    check(config)
    files, recorded = registry.find(config.model).files, made.records_file.stat()
    # ctime: files that were copied or unpacked over others may have kept an old mtime.
    return all(file.stat().st_ctime <= recorded.st_mtime for file in files)


def run_together(
    configs: Sequence[RunConfig],
    progress: bool = True,
    vlm: Adapter | None = None,
    again: bool = False,
) -> list[RunFolder]:
    """Runs that differ in their method only: each image is looked at once for all.

    Records are the same as those of ``run``, one by one. Seconds are counted for the
    run that needed them first.

    Raises:
        ValueError: as ``run``; or if the runs differ in more than their method.
    """
    # Copies of a config may hold what nobody has checked.
    configs = [RunConfig(**config.model_dump()) for config in configs]
    _check_together(configs)
    # Later on, what has vanished fails its own samples only.
    begins = [not RunFolder.of(config).records_file.exists() for config in configs]
    wanted = [datasets.asked(*one) for one in zip(configs, begins, strict=True)]
    for config in configs:  # before a model is loaded, and again once its hash is known
        check(config)
    vlm = provenance.load(configs[0]) if vlm is None else vlm
    weights = provenance.weights_hash(vlm)
    for config in configs:
        check(config, weights)
    with ExitStack() as stack:
        tasks = [
            stack.enter_context(opened(config, vlm, weights, samples, again))
            for config, samples in zip(configs, wanted, strict=True)
        ]
        _answer_all(tasks, progress)
    return [task.folder for task in tasks]


def _check_together(configs: Sequence[RunConfig]) -> None:
    shared = [config.model_copy(update={"method": ""}) for config in configs]
    if any(other != shared[0] for other in shared):
        raise ValueError("runs made together may differ in their method only")
    main = threading.current_thread() is threading.main_thread()
    if configs[0].sample_timeout and not main:
        raise ValueError(
            f"sample_timeout is {configs[0].sample_timeout:g} s, but only the main "
            "thread of a process can be interrupted; leave it out here"
        )


def _answer_all(tasks: Sequence[Task], shown: bool) -> None:
    """Answer what is left of several runs, image by image."""
    from vicrop.run.batches import Batches, Looker, cheapest_first  # torch

    config, vlm = tasks[0].config, tasks[0].vlm
    samples = datasets.in_order(
        {s.id: s for task in tasks for s in task.writer.samples.values()}.values()
    )
    left = [sample for sample in samples if any(t.lacks(sample) for t in tasks)]
    order = sorted(tasks, key=lambda task: cheapest_first(task.config.method))
    with (
        gently() as stop,
        closing(Looker(vlm, config, left)) as look,
        closing(_progress(tasks, shown)) as bar,
    ):
        for batch in Batches(look, order, left):
            for sample in batch:
                for task in (task for task in order if task.lacks(sample)):
                    record = task.answer(partial(record_of, look, task.config, sample))
                    bar.add(task.config.method, record)
                stop.check()


def _progress(tasks: Sequence[Task], shown: bool) -> Progress:
    first = tasks[0]
    name = first.folder.name if len(tasks) == 1 else f"{len(tasks)} runs"
    total = sum(len(task.writer.samples) for task in tasks)
    before = {task.config.method: task.folder.records() for task in tasks}
    device = first.vlm.device
    return Progress(
        name, total, before, shown, lambda: provenance.peak_memory_mb(device)
    )


def record_of(
    look: Looker, config: RunConfig, sample: Sample
) -> tuple[Record, Map | None]:
    """One sample's record, with its error if it failed; and its map."""
    try:
        with at_most(config.sample_timeout):
            return answer_one(look(sample), config, sample)
    except ASKED_TO_END:
        raise
    except BaseException as error:  # panics of Rust's libraries are no Exception
        return _failed(sample, config.dataset, error), None


def _failed(sample: Sample, dataset: str, error: BaseException) -> Record:
    """The record of a sample that failed; whatever failed, this does not."""
    said = f"{type(error).__name__}: {error}"
    return Record(
        id=sample.id,
        question=sample.question,
        labels=sample.labels,
        image=sample.image_path,
        size=_size(sample, dataset),
        meta=sample.meta,
        error=said.encode(errors="backslashreplace").decode(),
    )


def _size(sample: Sample, dataset: str) -> float | None:
    """A failed sample's object size, so that it fails in its group; None if unknown."""
    try:
        size = datasets.image_size(datasets.image_path(dataset, sample))
        return datasets.object_size(datasets.clipped(sample, size), size)
    except ASKED_TO_END:
        raise
    except BaseException:  # what is wrong stands in the record already
        return None


def answer_one(
    view: View, config: RunConfig, sample: Sample
) -> tuple[Record, Map | None]:
    """One sample's record and map."""
    sample = datasets.clipped(sample, view.image.size)
    answer = answer_sample(view, config, sample)
    return _record(sample, answer, config.dataset, view.image.size), answer.amap


def answer_sample(view: View, config: RunConfig, sample: Sample) -> Answer:
    """One sample's answers, box and map."""
    from vicrop.pipeline import answer_chosen  # torch
    from vicrop.run.batches import choose

    chosen = choose(view, sample, config)
    return answer_chosen(view, sample.question, chosen, config.max_new_tokens)


def _record(
    sample: Sample, answer: Answer, dataset: str, size: tuple[int, int]
) -> Record:
    plain_score, score = (
        scoring.of_answer(dataset, text, sample.labels, sample.question)
        for text in (answer.plain, answer.text)
    )
    covered = None
    if answer.box is not None and sample.boxes:
        crops, target = (answer.box, *answer.further), sample.boxes[0]
        covered = round(max(boxes.coverage(crop, target) for crop in crops), 6)
    return Record(
        id=sample.id,
        question=sample.question,
        labels=sample.labels,
        image=sample.image_path,
        plain=answer.plain,
        answer=answer.text,
        plain_score=plain_score,
        score=score,
        box=answer.box,
        size=datasets.object_size(sample, size),
        coverage=covered,
        meta=sample.meta,
        further=answer.further,
        features=dict(answer.features),
        gated=answer.gated,
    )


def failures(folder: RunFolder) -> list[Record]:
    """Records of samples that failed."""
    return [record for record in folder.records() if record.error is not None]
