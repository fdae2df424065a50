"""Maps on disk, so that they can be studied without a model."""

import base64
import zlib
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from vicrop.run import jsonl
from vicrop.types import Map, Region


class SavedMap(BaseModel):
    """A map on disk: one line of ``maps.jsonl``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    def line(self) -> str:
        """The map as one line of JSON with its checksum, newline included."""
        return jsonl.seal(self.model_dump_json())

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read what ``line`` wrote.

        Raises:
            ValueError: if it is no map, or was changed.
        """
        return cls.model_validate_json(jsonl.unseal(line))
