"""Single samples to be shown: answered again with image and map, or found."""

from collections.abc import Sequence

from PIL import Image

from vicrop import images, scoring
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets
from vicrop.run.loop import answer_sample, load
from vicrop.run.records import RunConfig, Sample
from vicrop.run.results import size_group
from vicrop.types import Answer, check_question


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


def replays(
    picked: Sequence[tuple[str, str]], method: str, dataset: str
) -> dict[str, tuple[Image.Image, Answer, Sample]]:
    """``replay`` of samples of several models, each by "model, sample".

    Args:
        picked: models and ids.
        method: key.
        dataset: key.
    """
    shown: dict[str, tuple[Image.Image, Answer, Sample]] = {}
    for model in dict.fromkeys(model for model, _ in picked):
        ids = [name for other, name in picked if other == model]
        config = RunConfig(model=model, method=method, dataset=dataset)
        again = replay(config, load(config), ids)
        shown |= {f"{model}, {s.id}": (i, a, s) for i, a, s in again}
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
