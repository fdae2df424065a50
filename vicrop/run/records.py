"""What a run is made of and what it leaves: Sample, RunConfig, Record, SavedMap."""

import base64
import hashlib
import math
import os
import re
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vicrop import methods, paths
from vicrop.adapters import registry
from vicrop.run import jsonl
from vicrop.types import Box, Map, Region, check_question, known

OUTSIDE = re.compile(r"^/|^[A-Za-z]:|^data:|^[\w.+-]+://|(^|/)\.\.(/|$)")
"""In a path that leaves a folder: a root, a drive, an address, a step up."""


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class _Sealed(_Strict):
    """What is kept as one line of JSON with its checksum."""

    def line(self) -> str:
        """It as one line of JSON with its checksum, newline included."""
        return jsonl.seal(self.model_dump_json())

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read what ``line`` wrote.

        Raises:
            ValueError: if it is nothing of this kind, or was changed.
        """
        return cls.model_validate_json(jsonl.unseal(line))


class Sample(_Strict):
    """One question of the unified data format (``data.json``)."""

    id: Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]
    """Unique in its data set."""
    question: Annotated[str, Field(min_length=1)]
    """As it is asked."""
    labels: tuple[str, ...] = ()
    """Texts that count as right, ten people's for some metrics; none: unscored."""
    image_path: Annotated[str, Field(min_length=1)]
    """Relative to the data set's ``images/``, which it may not leave."""
    short_question: str | None = None
    """Asked for the map instead, where the data has one."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Ground truth, each [left, top, right, bottom], pixels of the upright image."""
    options: tuple[str, ...] = ()
    """Of a multiple choice."""
    meta: dict[str, Any] = {}
    """What else is worth keeping, such as ``category``; other fields are refused."""

    @field_validator(
        "labels", "short_question", "boxes", "options", "meta", mode="before"
    )
    @classmethod
    def _may_be_empty(cls, given: Any, info: ValidationInfo) -> Any:
        given = given.tolist() if isinstance(given, np.ndarray) else given
        if given in (None, "", [""]) or given != given:  # as tables write a gap
            return cls.model_fields[str(info.field_name)].default
        return given

    @field_validator("labels", mode="before")
    @classmethod
    def _are_texts(cls, given: Any) -> Any:
        # One by itself is read, but not the text of a list; whole numbers are.
        one = isinstance(given, (str, int)) and str(given)[:1] not in ("", "[")
        listed = [given] if one else given
        if not isinstance(listed, (list, tuple)):
            return given
        return [str(text) if type(text) is int else text for text in listed]

    @field_validator("question")
    @classmethod
    def _says_something(cls, question: str) -> str:
        return check_question(question)

    @field_validator("image_path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if OUTSIDE.search(path.replace("\\", "/")):
            raise ValueError("it leaves images/; put the picture there")
        return path

    @field_validator("boxes")
    @classmethod
    def _are_boxes(cls, boxes: tuple) -> tuple:
        for left, top, right, bottom in boxes:
            box = [left, top, right, bottom]
            if not (-math.inf < left < right < math.inf > bottom > top > -math.inf):
                raise ValueError(
                    f"box {box} is not [left, top, right, bottom] with left < right "
                    "and top < bottom, all finite; if it is [x, y, width, height], add "
                    "x and y to the others"
                )
            if max(box) <= 1 and any(side % 1 for side in box):
                raise ValueError(
                    f"box {box} looks normalised, for it lies in the first pixel; "
                    "multiply by the width and height of the upright image"
                )
        return boxes


def _resolved(run: str | None) -> str | None:
    """A run's folder from the root on."""
    return str(paths.run(Path(os.path.expanduser(run))).resolve()) if run else run


class RunConfig(_Strict):
    """One run: model × method × dataset, and how much of it.

    The one list of a run's parameters: the command line is made of it, with the text
    under each field as its help, and plans and pages pass it on.
    """

    model: Annotated[str, AfterValidator(registry.resolve)] = "tiny-llava"
    """Key (see `vicrop models`), folder or hub id."""
    family: str | None = None
    """Of a model without a key; default: read from its config.json."""
    method: Annotated[str, AfterValidator(methods.resolve)] = "rel-att"
    """Map or control, e.g. rel-att, no-crop."""
    dataset: Annotated[str, AfterValidator(paths.dataset)] = "plates"
    """Key, or a folder with data.json."""
    limit: Annotated[int, Field(ge=0)] = 0
    """Samples; 0 for all."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the subset and random boxes."""
    dtype: str = "float32"
    """float32, float16 or bfloat16."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, …"""
    layer: int | None = None
    """Of the map, from 0; default: the model's own."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 20
    """Of an answer, at most."""
    fit: Literal["squash", "centre-crop", "pad", "native"] | None = None
    """How images are fitted to the model's input; default: as its processor does."""
    geometry: Literal["exact", "upstream"] = "exact"
    """upstream: maps laid over the whole image, as the authors do."""
    options: dict[str, int] = {}
    """KEY=VALUE of the model's family, e.g. max_pixels=200704."""
    boxes_from: Annotated[str | None, AfterValidator(_resolved)] = None
    """Crop the boxes of this run, its name or folder, again; no map is made."""
    crop_policy: str = "single"
    """How the crop is shown, e.g. single, funnel, top-k, mask, blank, same-tokens."""
    crops: Annotated[int, Field(ge=1)] = 2
    """Of top-k and union; of components and wider ones of funnel, at most."""
    gate: Annotated[str | None, AfterValidator(_resolved)] = None
    """Run on validation data, its name or folder: crop where its gate says so."""
    gate_feature: str = "probability"
    """What it goes by: probability, margin, certainty, map-entropy or map-spread."""
    gate_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of repairable answers that the gate may miss."""
    shard: Annotated[int, Field(ge=0)] = 0
    """Which part, from 0."""
    shards: Annotated[int, Field(ge=1)] = 1
    """Parts that the run is cut into."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    """Images run together, fewer where memory does not suffice; auto: as it allows."""
    sample_timeout: Annotated[float, Field(ge=0)] = 0.0
    """Seconds after which a sample has failed; 0: never."""
    save_maps: bool = False
    """Keep the maps of all samples beside the records, not of the first alone."""

    @model_validator(mode="after")
    def _has_that_shard(self) -> Self:
        if self.shard >= self.shards:
            raise ValueError(
                f"shard {self.shard} is not one of {self.shards}, counted from 0"
            )
        return self

    @model_validator(mode="after")
    def _can_show_that(self) -> Self:
        method = self.method if self.boxes_from is None else "boxes_from"
        feature = known(self.gate_feature, methods.FEATURES, "gate_feature")
        gated = None if self.gate is None else feature
        methods.check_policy(method, self.crop_policy, gated)
        return self

    @property
    def run_id(self) -> str:
        """Name of the run's folder, which tells all that is not the default.

        Parameters that its records do not depend on are left out (``HOW``). Of letters,
        digits and ``_.-``, and at most ``LONGEST_NAME`` bytes long: of a longer one,
        the beginning and a digest.
        """
        seed = f"s{self.seed}"
        parts = [
            *(_called(self.model), self.method, _called(self.dataset)),
            f"n{self.limit}-{seed}" if self.limit else seed if self.seed else "",
            "" if self.layer is None else f"layer{self.layer}",
            self.fit or "",
            "" if self.geometry == "exact" else self.geometry,
            "" if self.dtype == "float32" else self.dtype,
            "" if self.max_new_tokens == 20 else f"tokens{self.max_new_tokens}",
            f"boxes-of-{Path(self.boxes_from).name}" if self.boxes_from else "",
            "" if self.crop_policy == "single" else self.crop_policy,
            "" if self.crops == 2 else f"crops{self.crops}",
            f"gate-of-{Path(self.gate).name}" if self.gate else "",
            "" if self.gate_feature == "probability" else self.gate_feature,
            "" if self.gate_alpha == 0.1 else f"alpha{self.gate_alpha}",
            *(f"{key}{value}" for key, value in sorted(self.options.items())),
        ]
        name = re.sub(r"[^\w.-]", "-", "__".join(filter(None, parts)))
        if len(name.encode()) <= LONGEST_NAME:
            return name
        short = name.encode()[: LONGEST_NAME - 9].decode(errors="ignore")
        return f"{short}-{_digest(name, 8)}"

    def identity(self) -> dict[str, Any]:
        """What the records depend on, by parameter; shards of a run share it."""
        return self.model_dump(mode="json", exclude=set(HOW))


LONGEST_NAME = 180
"""Bytes of a run's name; file systems take 255, and other endings are put to it."""


def _called(name: str) -> str:
    """A model or data set in a run's name: folders by their last part and a digest."""
    path = Path(name)
    return f"{path.name}-{_digest(name, 6)}" if path.is_absolute() else name


def _digest(text: str, letters: int) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:letters]


def fault_of(error: ValidationError) -> str:
    """The first thing that is wrong with a run's parameters, in one line."""
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    place = ".".join(map(str, first["loc"]))
    said = first["type"] == "value_error" or not place
    return reason if said else f"{place} is {first['input']!r:.80}: {reason}"


for _kind in (Sample, RunConfig):
    _kind.__doc__ = f"{str(_kind.__doc__).rstrip()}\n\n    Attributes:" + "".join(
        f"\n        {name}: {field.description}"
        for name, field in _kind.model_fields.items()
    )

HOW = (
    *("family", "device", "shard", "shards"),
    *("batch_size", "sample_timeout", "save_maps"),
)
"""What of a run's settings says how it is made, not what its records are."""


class Record(_Sealed):
    """What happened to one sample: one line of ``records.jsonl``.

    Either ``error`` is set, or ``answer`` is, and scores if there are labels.

    Attributes:
        id: of the sample.
        question: as it was asked.
        labels: answers that count as right.
        image: the sample's ``image_path``, which tells answers about one picture;
            None in records of before.
        plain: the answer without a crop.
        answer: the method's answer.
        plain_score: of ``plain``, in [0, 1].
        score: of ``answer``, in [0, 1].
        box: the crop; None if there was none.
        size: object size S, area of the first ground-truth box over the image's area.
        coverage: share of the first ground-truth box that lies in the crop; of several
            crops, in the one that holds most.
        meta: the sample's, category and the like, so that records can be read alone.
        further: crops that were given beside the first.
        features: how sure the plain answer is, and how clear the map (see ``gate``).
        gated: whether a gate kept the plain answer.
        error: why the sample failed; None if it did not.
    """

    id: str
    question: str
    labels: tuple[str, ...]
    image: str | None = None
    plain: str | None = None
    answer: str | None = None
    plain_score: float | None = None
    score: float | None = None
    box: Box | None = None
    size: float | None = None
    coverage: float | None = None
    meta: dict[str, Any] = {}
    further: tuple[Box, ...] = ()
    features: dict[str, float] = {}
    gated: bool = False
    error: str | None = None

    def line(self) -> str:
        """As of any; what records of before had not is left out where it is empty."""
        later = ("further", "features", "gated")
        empty = {name for name in later if not getattr(self, name)}
        return jsonl.seal(self.model_dump_json(exclude=empty))


class SavedMap(_Sealed):
    """A map on disk, to be studied without a model: one line of ``maps.jsonl``."""

    id: str
    """The sample's."""
    shape: tuple[int, int]
    region: Region | None
    values: str
    """Of the cells, row by row: little-endian float32, deflated, in base 64."""

    @classmethod
    def of(cls, name: str, amap: Map) -> Self:
        """The map of a sample."""
        raw = zlib.compress(amap.values.astype("<f4").tobytes())
        text = base64.b64encode(raw).decode()
        return cls(id=name, shape=amap.shape, region=amap.region, values=text)

    def map(self) -> Map:
        """The map, to the last bit."""
        raw = zlib.decompress(base64.b64decode(self.values))
        return Map(np.frombuffer(raw, "<f4").reshape(self.shape), self.region)
