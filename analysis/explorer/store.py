"""What models looked at, on disk: JSON, arrays without pickle, images. No model."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from vicrop import geometry
from vicrop.run import jsonl
from vicrop.types import Box, Map, Region

INDEX, ARRAYS = "explorer.json", "maps.safetensors"
IMAGE_PX = 640
"""Longest side of a saved image, pixels: it is looked at, never given to a model."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(_Frozen):
    """A question about an image.

    Attributes:
        id: the sample's.
        question: that was answered.
        labels: what is right; empty where nobody has said it.
        boxes: of what the question is about, pixels of the original image; may be
            empty.
        size: (width, height) of the original image, pixels.
    """

    id: str
    question: str
    labels: tuple[str, ...] = ()
    boxes: tuple[Region, ...] = ()
    size: tuple[int, int]


class Cropped(_Frozen):
    """The crop that a method's map points to, and the answer with it."""

    box: Box
    text: str


class Said(_Frozen):
    """What a model said to a question.

    Attributes:
        sample: place of the question among those saved.
        model: its key.
        layer: of the map, counted from 0.
        crop_px: side of its smallest crop, pixels.
        fit: how it fits an image to its input.
        plain: the answer without a crop.
        plain_score: of it, in [0, 1]; None where nobody has said what is right.
        crops: by method.
        tokens: behind the image, as they are written.
    """

    sample: int
    model: str
    layer: int
    crop_px: int
    fit: str
    plain: str
    plain_score: float | None = None
    crops: dict[str, Cropped]
    tokens: tuple[str, ...]


class Index(_Frozen):
    """All that is no array and no image.

    Attributes:
        made: what it was made with; something else is made anew.
        asked: the questions.
        said: by question, then by model.
    """

    made: dict[str, Any]
    asked: tuple[Asked, ...]
    said: tuple[Said, ...]


@dataclass(eq=False)
class Saved:
    """What models looked at, as it is read from a folder.

    Attributes:
        index: questions and answers.
        arrays: float32 by ``key``: of ``question`` and ``general``, (layers, heads,
            rows, cols) attention to the image; of ``words``, (layers, tokens, rows,
            cols), mean over heads; of a method, (rows, cols).
        images: JPEG files, by question.
    """

    index: Index
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    images: list[bytes] = field(default_factory=list)

    @property
    def models(self) -> list[str]:
        """Keys of the models, in the order in which they were asked."""
        return list(dict.fromkeys(said.model for said in self.index.said))

    def missed(self, model: str) -> int:
        """How many questions a model answered wrongly without a crop."""
        scores = [said.plain_score for said in self.index.said if said.model == model]
        return sum(score is not None and score < 0.5 for score in scores)

    def array(self, said: Said, name: str) -> np.ndarray:
        """An array of one model and question (see ``arrays``)."""
        return self.arrays[key(said.sample, said.model, name)]

    def amap(self, said: Said, method: str) -> Map:
        """A method's map, and where it lies in the image."""
        region = geometry.visible(said.fit, self.index.asked[said.sample].size)
        return Map(self.array(said, method), region)

    def image(self, sample: int) -> Image.Image:
        """A question's image, in its original size."""
        with Image.open(io.BytesIO(self.images[sample])) as small:
            return small.resize(self.index.asked[sample].size)

    def answers(self) -> pd.DataFrame:
        """All answers, as a table to read."""
        return pd.DataFrame([self._row(said) for said in self.index.said])

    def _row(self, said: Said) -> dict[str, str]:
        asked = self.index.asked[said.sample]
        crops = {f"with {name}": crop.text for name, crop in said.crops.items()}
        return {
            "question": asked.question,
            "right": asked.labels[0] if asked.labels else "",
            "model": said.model,
            "without a crop": said.plain,
        } | crops


def key(sample: int, model: str, name: str) -> str:
    """The name of an array in the file."""
    return f"{sample}/{model}/{name}"


def jpeg(image: Image.Image) -> bytes:
    """A JPEG file of an image, no larger than is needed to look at it."""
    small, file = image.copy(), io.BytesIO()
    small.thumbnail((IMAGE_PX, IMAGE_PX))
    small.save(file, "JPEG", quality=85)
    return file.getvalue()


def write(saved: Saved, folder: Path) -> None:
    """Save; the index comes last, so that without it there is nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    # The file is the memory as it lies, so a view has to be laid out first.
    arrays = {name: np.ascontiguousarray(a) for name, a in saved.arrays.items()}
    save_file(arrays, folder / ARRAYS)
    for number, image in enumerate(saved.images):
        (folder / f"{number}.jpg").write_bytes(image)
    # Methods and models stay in their order, so keys are not sorted.
    jsonl.replace(folder / INDEX, [saved.index.model_dump_json(indent=1)])


def read(folder: Path) -> Saved:
    """Read what ``write`` saved.

    Raises:
        FileNotFoundError: if there is nothing.
        ValueError: if the files are torn or of another version.
    """
    if not (folder / INDEX).is_file():
        raise FileNotFoundError(
            f"no {INDEX} in {folder}; analysis.explorer.saved makes it"
        )
    try:
        index = Index.model_validate_json((folder / INDEX).read_bytes())
        arrays = load_file(folder / ARRAYS)
    except (ValueError, SafetensorError) as error:
        raise ValueError(
            f"{folder} cannot be read ({error}); delete it to make it anew"
        ) from error
    files = [folder / f"{number}.jpg" for number in range(len(index.asked))]
    return Saved(index, arrays, [file.read_bytes() for file in files])


def matching(folder: Path, made: Mapping[str, Any]) -> Saved | None:
    """What is saved in a folder, if it was made with these; else nothing."""
    try:
        found = read(folder)
    except (FileNotFoundError, ValueError):
        return None
    same = json.loads(json.dumps(made))  # tuples are lists there
    return found if found.index.made == same else None
