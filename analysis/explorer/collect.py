"""Ask models where they look, by layer and head, and save it: what needs a model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from analysis import crops, looking, words
from analysis.explorer import store
from analysis.explorer.store import Asked, Cropped, Index, Said, Saved
from vicrop import adapters, boxes, images, scoring
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.decoder import Decoder
from vicrop.attribution import GENERAL_QUESTION
from vicrop.attribution.words import attention_of_words
from vicrop.methods import PAPER
from vicrop.prompts import Prompt
from vicrop.run import datasets
from vicrop.run.provenance import file_hash
from vicrop.run.records import Sample
from vicrop.types import check_question
from vicrop.view import View


class Question(NamedTuple):
    """A question and its image, ready to be asked.

    Attributes:
        picture: upright RGB.
        asked: what is saved of it.
        short: the question that the map is of.
        dataset: whose scores count; empty for a question of your own.
    """

    picture: Image.Image
    asked: Asked
    short: str
    dataset: str = ""

    def score(self, text: str) -> float | None:
        """Of an answer, in [0, 1]; None where nobody has said what is right."""
        if not self.dataset:
            return None
        known = self.asked
        return scoring.of_answer(self.dataset, text, known.labels, known.question)


def saved(
    folder: Path,
    models: Sequence[str],
    dataset: str = "plates",
    wrong: int = 3,
    right: int = 1,
    image: str = "",
    question: str = "",
    device: str = "cpu",
    dtype: str = "float32",
) -> Saved:
    """What models looked at, from a folder; asked and saved if it is not there.

    Args:
        folder: where to.
        models: keys; of the first one the questions are chosen (see ``choose``).
        dataset: where the questions are from, if ``image`` is empty.
        wrong: questions that the first model answers wrongly without a crop.
        right: questions that it answers rightly.
        image: path of an image of your own, with ``question`` about it.
        question: asked about ``image``.
        device: for the models.
        dtype: for the models.
    """
    source = image or str(datasets.folder(dataset) / "data.json")
    made = {
        "models": {name: _weights(name) for name in models},
        "from": [dataset, wrong, right] if not image else [question],
        "data": file_hash(Path(source)),
        "how": [device.split(":")[0], dtype],
    }
    found = store.matching(folder, made)
    if found is not None:
        return found
    vlms = {n: adapters.load(n, device=device, dtype=dtype) for n in models}
    if image:
        questions = [own(image, question)]
    else:
        questions = choose(vlms[models[0]], dataset, wrong, right)
    save(vlms, questions, folder, made)
    return store.read(folder)


def _weights(name: str) -> str:
    """What tells one model's weights from another's, without loading them."""
    spec = adapters.find(name)
    if spec.folder is None:
        return f"{spec.source}@{spec.revision}"
    return "".join(map(file_hash, spec.files))


def own(image: str, question: str) -> Question:
    """A question about an image of your own."""
    picture, question = images.load(image), check_question(question)
    asked = Asked(id=Path(image).stem, question=question, size=picture.size)
    return Question(picture, asked, question)


def choose(vlm: Adapter, dataset: str, wrong: int, right: int) -> list[Question]:
    """The data set's first small objects that a model misreads, then some it reads.

    Args:
        vlm: the model, which answers without a crop.
        dataset: key or folder.
        wrong: so many questions that it answers wrongly, fewer if there are fewer.
        right: so many that it answers rightly.

    Raises:
        ValueError: if none was found.
    """
    missed: list[Question] = []
    read: list[Question] = []
    small = crops.small_samples(dataset)
    for sample, view in looking.views(vlm, dataset, small):
        question = _question(sample, view.image, dataset)
        score = question.score(view.ask(sample.question).text)
        if score is not None:
            (read if score >= 0.5 else missed).append(question)
        if len(missed) >= wrong and len(read) >= right:
            break
    found = missed[:wrong] + read[:right]
    if not found:
        raise ValueError(f"no question of {dataset} was chosen; ask for more than 0")
    return found


def _question(sample: Sample, picture: Image.Image, dataset: str) -> Question:
    asked = Asked(
        id=sample.id,
        question=sample.question,
        labels=sample.labels,
        boxes=sample.boxes,
        size=picture.size,
    )
    return Question(picture, asked, looking.asked(sample), dataset)


def save(
    vlms: Mapping[str, Adapter],
    questions: Sequence[Question],
    folder: Path,
    made: Mapping[str, object],
) -> None:
    """Ask every model every question, and save what they looked at.

    Args:
        vlms: by key.
        questions: with their images.
        folder: where to.
        made: what tells this from something else that could be saved there.
    """
    said, arrays = [], {}
    for sample, question in enumerate(questions):
        for model, vlm in vlms.items():
            with vlm.look(question.picture) as view:
                crops_of, maps = _methods(view, question)
                said.append(_said(view, sample, model, question, crops_of))
                maps |= dict(_attention(view, question))
            for name, values in maps.items():
                arrays[store.key(sample, model, name)] = values
    asked = tuple(question.asked for question in questions)
    index = Index(made=dict(made), asked=asked, said=tuple(said))
    pictures = [store.jpeg(question.picture) for question in questions]
    store.write(Saved(index, arrays, pictures), folder)


def _said(
    view: View, sample: int, model: str, question: Question, found: dict[str, Cropped]
) -> Said:
    plain = view.ask(question.asked.question).text
    return Said(
        sample=sample,
        model=model,
        layer=view.vlm.layer,
        crop_px=view.vlm.crop_px,
        fit=view.fit,
        plain=plain,
        plain_score=question.score(plain),
        crops=found,
        tokens=tuple(words.texts(view.vlm, view.whole.ask(question.short))),
    )


def _methods(
    view: View, question: Question
) -> tuple[dict[str, Cropped], dict[str, np.ndarray]]:
    """Each method's crop with its answer, and its map."""
    found, maps = {}, {}
    for method in (*PAPER, "word-att"):
        amap = view.importance(question.short, method)
        box = boxes.select_box(amap, view.image.size, view.vlm.crop_px)
        answer = view.ask(question.asked.question, box)
        found[method] = Cropped(box=box, text=answer.text)
        maps[method] = amap.values
    return found, maps


def _attention(view: View, question: Question) -> Iterator[tuple[str, np.ndarray]]:
    """Each layer's attention: by token; then by head, asked it and in general."""
    (found,) = attention_of_words(view.vlm, [view.whole.ask(question.short)])
    yield "words", found[0]
    for name, text in (("question", question.short), ("general", GENERAL_QUESTION)):
        yield name, by_head(view.vlm, view.whole.prompt(text))


def by_head(vlm: Decoder, prompt: Prompt) -> np.ndarray:
    """Attention from the starting answer token to the image, layer by layer.

    Args:
        vlm: the model.
        prompt: about one image.

    Returns:
        (layers, heads, rows, cols) float32. Its mean over heads is what
        ``attribution.paper.attention_to_image`` gives: a connector's heads are averaged
        before it is multiplied in, as there.
    """
    (read,) = vlm.attend([prompt], range(len(vlm.attention)))
    layers, _, heads, keys = read.shape
    # Heads and layers take the place of images, so that each is folded by itself.
    chain, step = [read.reshape(-1, keys)], prompt.prefix.connector
    chain += [] if step is None else [step.mean(1)]
    return prompt.on_image(chain).reshape(layers, heads, *prompt.grid)
