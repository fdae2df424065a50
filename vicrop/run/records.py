"""What a run is made of and what it leaves: Sample, RunConfig, Record."""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vicrop.run import jsonl
from vicrop.types import Box, check_question


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sample(_Strict):
    """One question of the unified data format (``data.json``).

    Attributes:
        id: unique in its data set.
        question: as it is asked.
        labels: answers that count as right; what ten people said, for some metrics.
        image_path: relative to the data set's ``images/``, which it may not leave.
        short_question: asked for the map instead, where the data has one.
        boxes: ground truth, each (left, top, right, bottom), pixels.
        options: of a multiple choice.
        meta: what else is worth keeping, such as ``category``.
    """

    id: Annotated[str, Field(min_length=1)]
    question: Annotated[str, Field(min_length=1)]
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    image_path: Annotated[str, Field(min_length=1)]
    short_question: str | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    options: tuple[str, ...] = ()
    meta: dict[str, Any] = {}

    @field_validator("question")
    @classmethod
    def _says_something(cls, question: str) -> str:
        return check_question(question)

    @field_validator("image_path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = path.replace("\\", "/").split("/")
        if not parts[0] or ".." in parts or ":" in parts[0]:
            raise ValueError(
                f"{path!r} leaves the data set's images/ folder; give a path relative "
                "to it"
            )
        return path

    @field_validator("boxes")
    @classmethod
    def _are_boxes(cls, boxes: tuple) -> tuple:
        for left, top, right, bottom in boxes:
            if not all(map(math.isfinite, (left, top, right, bottom))):
                raise ValueError(f"box {[left, top, right, bottom]} is not finite")
            if not (0 <= left < right and 0 <= top < bottom):
                raise ValueError(
                    f"box {[left, top, right, bottom]} is not [left, top, right, "
                    "bottom] with 0 <= left < right and 0 <= top < bottom"
                )
        return boxes


class RunConfig(_Strict):
    """One run: model × method × dataset, and how much of it.

    Attributes:
        model: key in the registry.
        method: key of a map or a control.
        dataset: key, or a folder with a ``data.json``.
        limit: samples; 0 means all.
        seed: picks the subset when ``limit`` > 0, and the random boxes.
        dtype: of the model.
        device: that it runs on.
        layer: of the map, counted from 0; None for the model's own.
        max_new_tokens: of an answer, at most.
        fit: how images are fitted to the model's input; None for its processor's way.
        geometry: ``upstream`` lays maps over the whole image, as the authors' code
            does.
        options: of the model's family, such as Qwen2.5-VL's ``max_pixels``.
        boxes_from: folder of a run whose boxes are cropped again; no map is made then.
        shard: which part of the run, counted from 0.
        shards: parts that the run is cut into.
        batch_size: images that are run together; halved where memory does not suffice.
        sample_timeout: seconds after which a sample has failed; 0 for never.
        save_maps: whether the maps are kept beside the records.
    """

    model: str = "tiny-llava"
    method: str = "rel-att"
    dataset: str = "plates"
    limit: Annotated[int, Field(ge=0)] = 0
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    layer: int | None = None
    max_new_tokens: Annotated[int, Field(ge=1)] = 20
    fit: Literal["squash", "centre-crop", "pad", "native"] | None = None
    geometry: Literal["exact", "upstream"] = "exact"
    options: dict[str, int] = {}
    boxes_from: str | None = None
    shard: Annotated[int, Field(ge=0)] = 0
    shards: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    sample_timeout: Annotated[float, Field(ge=0)] = 0.0
    save_maps: bool = False

    @model_validator(mode="after")
    def _has_that_shard(self) -> Self:
        if self.shard >= self.shards:
            raise ValueError(
                f"shard {self.shard} is not one of {self.shards}, counted from 0"
            )
        return self

    @property
    def run_id(self) -> str:
        """Name of the run's folder; a subset's differs from the whole's."""
        name = f"{self.model}__{self.method}__{self.dataset}"
        name = name.replace("/", "-")
        name += f"__n{self.limit}-s{self.seed}" if self.limit else ""
        name += f"__layer{self.layer}" if self.layer is not None else ""
        name += f"__{self.fit}" if self.fit else ""
        name += f"__{self.geometry}" if self.geometry != "exact" else ""
        name += f"__boxes-of-{self._source}" if self.boxes_from else ""
        options = sorted(self.options.items())
        return name + "".join(f"__{key}{value}" for key, value in options)

    @property
    def _source(self) -> str:
        """Whose boxes are taken, as short as it can be told."""
        return (self.boxes_from or "").rstrip("/").rpartition("/")[2]

    def digest(self) -> str:
        """SHA-256 of what the answers depend on, to tell whether records belong to it.

        Shards of a run share it, and so do runs in batches of other sizes.
        """
        text = json.dumps(self.model_dump(exclude=set(HOW)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


HOW = ("shard", "shards", "batch_size", "sample_timeout", "save_maps")
"""What of a run's settings says how it is made, not what its records are."""


class Record(_Strict):
    """What happened to one sample: one line of ``records.jsonl``.

    Either ``error`` is set, or ``answer`` and ``score`` are.

    Attributes:
        id: of the sample.
        question: as it was asked.
        labels: answers that count as right.
        plain: the answer without a crop.
        answer: the method's answer.
        plain_score: of ``plain``, in [0, 1].
        score: of ``answer``, in [0, 1].
        box: the crop; None if there was none.
        size: object size S, area of the first ground-truth box over the image's area.
        coverage: share of the first ground-truth box that lies in the crop.
        meta: the sample's, category and the like, so that records can be read alone.
        error: why the sample failed; None if it did not.
    """

    id: str
    question: str
    labels: tuple[str, ...]
    plain: str | None = None
    answer: str | None = None
    plain_score: float | None = None
    score: float | None = None
    box: Box | None = None
    size: float | None = None
    coverage: float | None = None
    meta: dict[str, Any] = {}
    error: str | None = None

    def line(self) -> str:
        """The record as one line of JSON with its checksum, newline included."""
        return jsonl.seal(self.model_dump_json())

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read what ``line`` wrote.

        Raises:
            ValueError: if it is no record, or was changed.
        """
        return cls.model_validate_json(jsonl.unseal(line))
