"""Many maps in one picture, a sheet in lines and columns, and what is said of each."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import matplotlib
import numpy as np
from PIL import Image

from analysis import looking
from analysis.explorer.store import Asked, Said, Saved
from vicrop import boxes, geometry
from vicrop.types import Box, Map, Region

T = TypeVar("T")
PROMPTS = ("question", "general", "ratio")
"""What an attention map is of: a prompt, or one prompt's over the other's."""

SCALE = 60_000
"""What a map's peak becomes in 16 bits, so that a billionth of it has its digits too:
ratios of one map can lie between a thousandth and a thousand."""


@dataclass(eq=False)
class Sheet:
    """Maps of one shape, in lines and columns.

    Attributes:
        values: (lines, columns, rows, cols) float32.
        region: of the original image that each covers.
        asked: the question.
        crop_px: side of the smallest crop, pixels.
    """

    values: np.ndarray
    region: Region
    asked: Asked
    crop_px: int

    @property
    def peaks(self) -> np.ndarray:
        """(lines, columns) each map's largest value."""
        return self.values.max((2, 3))

    @property
    def places(self) -> np.ndarray:
        """(lines, columns) each map's first cell of that value, counted row by row."""
        return self.values.reshape(*self.values.shape[:2], -1).argmax(2)

    def each(self, found: Callable[[Map], T | None]) -> list[list[T | None]]:
        """What is found of each map; nothing of one that is zero everywhere."""
        return [
            [found(Map(one, self.region)) if one.any() else None for one in line]
            for line in self.values
        ]

    def crops(self) -> list[list[Box | None]]:
        """The crop that each map would choose."""
        size, crop_px = self.asked.size, self.crop_px
        return self.each(lambda amap: boxes.select_box(amap, size, crop_px))

    def ratios(self) -> list[list[float | None]] | None:
        """Each map's attention ratio; None without a ground-truth box."""
        return self.each(self._ratio) if self.asked.boxes else None

    def _ratio(self, amap: Map) -> float | None:
        ratio = looking.attention_ratio(amap, self.asked.boxes[0], self.asked.size)
        return None if np.isnan(ratio) else ratio


def of_prompt(
    saved: Saved, said: Said, prompt: str, layers: Sequence[int] | None = None
) -> Sheet:
    """Attention maps: a line a layer; in the first column the mean over heads.

    Args:
        saved: what models looked at.
        said: which model and question.
        prompt: of ``PROMPTS``.
        layers: to be shown; None for all.
    """
    about, described = (_with_mean(saved.array(said, name)) for name in PROMPTS[:2])
    ratio = relative(about, described)
    values = {"question": about, "general": described, "ratio": ratio}[prompt]
    return _placed(saved, said, values, layers)


def of_words(saved: Saved, said: Said, layers: Sequence[int] | None = None) -> Sheet:
    """What each token behind the image attends to: a line a layer, a column a token."""
    return _placed(saved, said, saved.array(said, "words"), layers)


def _placed(
    saved: Saved, said: Said, values: np.ndarray, layers: Sequence[int] | None
) -> Sheet:
    """Maps over what the model sees, laid where it is in the image."""
    values = values if layers is None else values[list(layers)]
    asked = saved.index.asked[said.sample]
    placed = [
        [geometry.place(one, said.fit, asked.size)[0] for one in line]
        for line in values
    ]
    region = geometry.visible(said.fit, asked.size)
    return Sheet(np.array(placed, np.float32), region, asked, said.crop_px)


def of_methods(saved: Saved, said: Said) -> Sheet:
    """The methods' maps, all in one line."""
    asked = saved.index.asked[said.sample]
    values = np.stack([saved.array(said, method) for method in said.crops])[None]
    region = geometry.visible(said.fit, asked.size)
    return Sheet(values, region, asked, said.crop_px)


def _with_mean(heads: np.ndarray) -> np.ndarray:
    return np.concatenate([heads.mean(1, keepdims=True), heads], 1)


def relative(about: np.ndarray, described: np.ndarray) -> np.ndarray:
    """The question's attention over the general prompt's, cell by cell.

    Differs from ``paper.relative``: a single head may give a cell nothing at all for
    the general prompt, and the cell is then left at 0.
    """
    return np.divide(about, described, np.zeros_like(about), where=described > 0)


def shown_layers(count: int, chosen: int, every: int) -> list[int]:
    """Every so many layers, and the map's own."""
    return sorted({*range(0, count, every), chosen})


def scaled(values: np.ndarray, top: int) -> np.ndarray:
    """Each map's cells from 0 to ``top``, its own peak."""
    peaks = values.max((-2, -1), keepdims=True)
    return top * (values / np.where(peaks > 0, peaks, 1))


def flat(values: np.ndarray) -> np.ndarray:
    """(lines · rows, columns · cols): all maps beside and below each other."""
    lines, columns, rows, cols = values.shape
    return values.transpose(0, 2, 1, 3).reshape(lines * rows, columns * cols)


def sprite(values: np.ndarray) -> bytes:
    """A PNG file with a pixel a cell, in viridis, each map from 0 to its own peak.

    Args:
        values: (lines, columns, rows, cols).
    """
    pixels = np.rint(flat(scaled(values, 255))).astype(np.uint8)
    picture = Image.frombytes("P", pixels.shape[::-1], pixels.tobytes())
    colors = matplotlib.colormaps["viridis"](range(256), bytes=True)[:, :3]
    picture.putpalette(colors.tobytes(), "RGB")
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def packed(values: np.ndarray) -> str:
    """Cells, ``SCALE`` at their map's peak, as float16 in base 64, map by map."""
    return base64.b64encode(scaled(values, SCALE).astype("<f2").tobytes()).decode()
