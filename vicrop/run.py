"""One run: loop, resume, append. The only place that catches a sample's failure."""

import hashlib
import importlib.metadata
import json
import platform
import resource
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from vicrop import adapters, boxes, datasets, images, pipeline, scoring
from vicrop.adapters.base import Adapter
from vicrop.results import RunFolder, size_group
from vicrop.types import Answer, Record, RunConfig, Sample, check_question
from vicrop.view import View

PACKAGES = ("vicrop", "torch", "transformers", "numpy", "pillow")


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
    config = config.model_copy(
        update={
            "model": adapters.resolve(config.model),
            "method": pipeline.resolve(config.method),
        }
    )
    samples = askable(config)
    vlm = load(config) if vlm is None else vlm
    folder = RunFolder.of(config)
    done = folder.open(_identity(config, vlm))
    left = [sample for sample in samples if sample.id not in done]
    started = time.perf_counter()
    for record in tqdm(
        answer_all(vlm, config, left),
        desc=config.run_id,
        total=len(samples),
        initial=len(samples) - len(left),
        disable=not progress,
    ):
        folder.append(record)
    seconds = time.perf_counter() - started
    folder.write_meta(_meta(config, vlm, folder, len(left), seconds))
    return folder


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


def answer_all(
    vlm: Adapter, config: RunConfig, samples: list[Sample]
) -> Iterator[Record]:
    """Records in the samples' order; neighbours that share an image share a View."""
    path, view = None, None
    for sample in samples:
        try:
            if sample.image_path != path:
                path, view = None, None
                file = datasets.image_path(config.dataset, sample)
                view = vlm.look(file, config.fit, config.geometry)
                path = sample.image_path
            yield answer_one(view, config, sample)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            yield Record(
                id=sample.id,
                question=sample.question,
                labels=sample.labels,
                error=message,
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
        scoring.score(dataset, text, sample.labels, sample.question)
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
    )


def failures(folder: RunFolder) -> list[Record]:
    """Records of samples that failed."""
    return [record for record in folder.records() if record.error is not None]


def weights_hash(vlm: Adapter) -> str:
    """SHA-256 over the model's parameters, names and values."""
    digest = hashlib.sha256()
    for name, value in sorted(vlm.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _identity(config: RunConfig, vlm: Adapter) -> dict[str, str]:
    """Hashes of what the records depend on."""
    return {
        "parameters": config.digest(),
        "weights": weights_hash(vlm),
        "data": file_hash(datasets.folder(config.dataset) / "data.json"),
    }


def _meta(
    config: RunConfig, vlm: Adapter, folder: RunFolder, answered: int, seconds: float
) -> dict:
    """What is worth knowing of a run beside its records."""
    before = folder.meta()
    errors = len(failures(folder))
    return {
        **before,
        "config": json.loads(config.model_dump_json()),
        "layer": vlm.layer,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "answered": before.get("answered", 0) + answered,
        "seconds": round(before.get("seconds", 0) + seconds, 3),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "errors": errors,
        "finished": True,
    }
