"""Pictures with a label for every patch: what the vision tower is first trained on."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from embedded import scenes
from embedded.models import GRID, IMAGE_PX, PATCH_PX

IGNORE = -100
NO_PLATE = len(scenes.COLORS)
COLOR_IDS = {color: number for number, color in enumerate(scenes.COLORS)}
CHAR_IDS = {char: number for number, char in enumerate(scenes.CHARS)}
TEXTURE_IDS = {texture: number for number, texture in enumerate(scenes.TEXTURES)}


@dataclass(frozen=True)
class View:
    """How a batch is drawn: at what resolution, with which plates.

    ``scale`` is the drawn resolution over the model's: 2 is reduced (as a whole scene
    is), below 1 enlarged (as a small crop is). ``side`` is in model pixels.
    """

    scale: float
    side: tuple[float, float]
    plates: tuple[int, int]


def batch(count: int, view: View, rng: Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Normalised pixels (count, 3, 96, 96) and labels (count, patches) by name.

    Labels are ``color`` (``NO_PLATE`` for background), ``char``, ``texture`` and
    ``side`` (model pixels); ``IGNORE`` where a patch shows too little to tell.
    """
    drawn = [picture(view, rng) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([canvas for canvas, _ in drawn]))
    pixels = pixels.permute(0, 3, 1, 2)
    if pixels.shape[-1] != IMAGE_PX:
        pixels = F.interpolate(
            pixels,
            size=(IMAGE_PX, IMAGE_PX),
            mode="bicubic",
            antialias=True,
            align_corners=False,
        )
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    pixels = pixels + torch.from_numpy(noise) * float(rng.uniform(0, 0.02))
    labels = {
        name: torch.from_numpy(np.stack([label[name] for _, label in drawn])).flatten(1)
        for name in drawn[0][1]
    }
    return (pixels.clamp(0, 1) - 0.5) / 0.25, labels


def picture(view: View, rng: Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One canvas at the drawn resolution and its (GRID, GRID) labels."""
    side_px = round(IMAGE_PX * view.scale)
    period = scenes.log_uniform(rng, 4, 14 if view.scale >= 1 else 48) * view.scale
    texture, canvas = scenes.background(rng, (side_px, side_px), period)
    count = int(rng.integers(view.plates[0], view.plates[1] + 1))
    sides = [
        max(3, round(scenes.log_uniform(rng, *view.side) * view.scale))
        for _ in range(count)
    ]
    labels = _blank(texture)
    covered = np.zeros((GRID, GRID))
    found = scenes.place(rng, sides, (side_px, side_px), gap=1, overhang=0.35)
    for left, top, side in found:
        color = str(rng.choice(list(scenes.COLORS)))
        char = scenes.CHARS[rng.integers(len(scenes.CHARS))]
        plate = scenes.Plate(left, top, side, color, char)
        scenes.paste(canvas, plate, rng)
        _label(labels, covered, plate, view.scale)
    return canvas, labels


def _blank(texture: str) -> dict[str, np.ndarray]:
    shape = (GRID, GRID)
    return {
        "color": np.full(shape, NO_PLATE),
        "char": np.full(shape, IGNORE),
        "texture": np.full(shape, TEXTURE_IDS[texture]),
        "side": np.zeros(shape, np.float32),
    }


def overlap(plate: scenes.Plate, scale: float) -> np.ndarray:
    """(GRID, GRID) area of each patch that a plate covers, in model pixels squared."""
    edges = np.arange(GRID) * PATCH_PX
    left, top, right, bottom = (edge / scale for edge in plate.box)
    across = np.minimum(edges + PATCH_PX, right) - np.maximum(edges, left)
    down = np.minimum(edges + PATCH_PX, bottom) - np.maximum(edges, top)
    return np.clip(down, 0, None)[:, None] * np.clip(across, 0, None)[None]


def _label(
    labels: dict[str, np.ndarray],
    covered: np.ndarray,
    plate: scenes.Plate,
    scale: float,
) -> None:
    """Write a plate's labels into the patches it covers most."""
    area = overlap(plate, scale)
    mine = area > covered
    covered[mine] = area[mine]
    side = plate.side / scale
    whole = plate.inside((0, 0, IMAGE_PX * scale, IMAGE_PX * scale)) > 0.9
    # Thresholds in model pixels squared, of a patch's 64: see tiny.md's trial.
    labels["color"][mine] = np.where(area >= 6, COLOR_IDS[plate.color], IGNORE)[mine]
    readable = (area >= 12) & whole & (side >= 6)
    labels["char"][mine] = np.where(readable, CHAR_IDS[plate.char], IGNORE)[mine]
    labels["texture"][mine] = IGNORE
    labels["side"][mine] = side
