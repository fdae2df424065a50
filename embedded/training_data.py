"""What the embedded models are trained on: labelled patches, and scenes as features.

A vision tower learns from pictures with a label for every patch. What comes behind it
learns from scenes and blind crops of them, which the frozen tower has seen already.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from embedded import scenes
from embedded.fit import Workers
from embedded.scenes import COLORS, TEXTURES, Plate, Scene
from embedded.words import GRID, IMAGE_PX, PATCH_PX

IGNORE = -100
NO_PLATE = len(COLORS)
COLOR_IDS = {color: number for number, color in enumerate(COLORS)}
CHAR_IDS = {char: number for number, char in enumerate(scenes.CHARS)}
TEXTURE_IDS = {texture: number for number, texture in enumerate(TEXTURES)}


# Pictures with a label for every patch.


@dataclass(frozen=True)
class Drawing:
    """How a batch is drawn: at what resolution, with which plates.

    ``scale`` is the drawn resolution over the model's: 2 is reduced (as a whole scene
    is), below 1 enlarged (as a small crop is). ``side`` is in model pixels.
    """

    scale: float
    side: tuple[float, float]
    plates: tuple[int, int]


def labelled_pictures(
    count: int, how: Drawing, rng: Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Normalised pixels (count, 3, 96, 96) and labels (count, patches) by name.

    Labels are ``color`` (``NO_PLATE`` for background), ``char``, ``texture`` and
    ``side`` (model pixels); ``IGNORE`` where a patch shows too little to tell.
    """
    drawn = [labelled_picture(how, rng) for _ in range(count)]
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


def labelled_picture(
    how: Drawing, rng: Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One canvas at the drawn resolution and its (GRID, GRID) labels."""
    side_px = round(IMAGE_PX * how.scale)
    period = scenes.log_uniform(rng, 4, 14 if how.scale >= 1 else 48) * how.scale
    texture, canvas = scenes.background(rng, (side_px, side_px), period)
    count = int(rng.integers(how.plates[0], how.plates[1] + 1))
    sides = [
        max(3, round(scenes.log_uniform(rng, *how.side) * how.scale))
        for _ in range(count)
    ]
    labels = _blank(texture)
    covered = np.zeros((GRID, GRID))
    found = scenes.place(rng, sides, (side_px, side_px), gap=1, overhang=0.35)
    for left, top, side in found:
        color = str(rng.choice(list(COLORS)))
        char = scenes.CHARS[rng.integers(len(scenes.CHARS))]
        plate = Plate(left, top, side, color, char)
        scenes.paste(canvas, plate, rng)
        _label(labels, covered, plate, how.scale)
    return canvas, labels


def _blank(texture: str) -> dict[str, np.ndarray]:
    shape = (GRID, GRID)
    return {
        "color": np.full(shape, NO_PLATE),
        "char": np.full(shape, IGNORE),
        "texture": np.full(shape, TEXTURE_IDS[texture]),
        "side": np.zeros(shape, np.float32),
    }


def overlap(plate: Plate, scale: float) -> np.ndarray:
    """(GRID, GRID) area of each patch that a plate covers, in model pixels squared."""
    edges = np.arange(GRID) * PATCH_PX
    left, top, right, bottom = (edge / scale for edge in plate.box)
    across = np.minimum(edges + PATCH_PX, right) - np.maximum(edges, left)
    down = np.minimum(edges + PATCH_PX, bottom) - np.maximum(edges, top)
    return np.clip(down, 0, None)[:, None] * np.clip(across, 0, None)[None]


def _label(
    labels: dict[str, np.ndarray],
    covered: np.ndarray,
    plate: Plate,
    scale: float,
) -> None:
    """Write a plate's labels into the patches it covers most."""
    area = overlap(plate, scale)
    mine = area > covered
    covered[mine] = area[mine]
    side = plate.side / scale
    whole = plate.inside((0, 0, IMAGE_PX * scale, IMAGE_PX * scale)) > 0.9
    # Thresholds in model pixels squared, of a patch's 64; found by trial.
    labels["color"][mine] = np.where(area >= 6, COLOR_IDS[plate.color], IGNORE)[mine]
    readable = (area >= 12) & whole & (side >= 6)
    labels["char"][mine] = np.where(readable, CHAR_IDS[plate.char], IGNORE)[mine]
    labels["texture"][mine] = IGNORE
    labels["side"][mine] = side


# Scenes and crops of them, as the frozen tower sees them; cached on disk.

CHUNK = 500
CROP_SIDE = (24, 260)  # log-uniform, pixels of the 448-pixel scene
LEGIBLE_PX = 44  # plates that a description names, and that are asked about first
SCENE_PX = scenes.PLATES.sizes[0][0]


@dataclass(frozen=True)
class Source:
    """Training scenes of one stage: which seeds, drawn how.

    ``first`` and ``count`` are multiples of ``CHUNK``.
    """

    first: int
    count: int
    spec: scenes.SceneSpec

    def chunks(self) -> range:
        """Numbers of the files that hold them."""
        return range(self.first // CHUNK, (self.first + self.count) // CHUNK)


EASIER = replace(scenes.PLATES, side=(20 / SCENE_PX, 160 / SCENE_PX))
FIRST = Source(first=0, count=12_000, spec=EASIER)
SMALLER = Source(first=12_000, count=6_000, spec=scenes.PLATES)

Shown = tuple[str, list[Plate]]
"""A texture and the plates that can be seen whole; sides as in a 448-pixel scene."""


def random_crop(rng: Generator) -> tuple[int, int, int]:
    """(left, top, side) of a square placed blindly in a scene."""
    side = round(scenes.log_uniform(rng, *CROP_SIDE))
    left, top = rng.integers(0, SCENE_PX - side + 1, 2)
    return int(left), int(top), side


def planned(index: int, spec: scenes.SceneSpec) -> tuple[Scene, tuple[int, int, int]]:
    """A training scene, not painted, and its random crop's place."""
    seed = scenes.scene_seed("train", index)
    scene = scenes.plan(spec, np.random.default_rng(seed))
    return scene, random_crop(np.random.default_rng((seed, 1)))


def pictures(index: int, spec: scenes.SceneSpec) -> np.ndarray:
    """A training scene and its random crop, both at 96 px (2, 96, 96, 3)."""
    left, top, side = planned(index, spec)[1]
    whole = Image.fromarray(scenes.draw(spec, scenes.scene_seed("train", index))[1])
    part = whole.crop((left, top, left + side, top + side))
    small = [
        np.asarray(image.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC))
        for image in (whole, part)
    ]
    return np.stack(small)


def normalised(pixels: np.ndarray) -> Tensor:
    """8-bit pixels (batch, rows, cols, 3) as a processor gives them, channels first."""
    return ((torch.from_numpy(pixels).float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)


See = Callable[[Tensor], Tensor]
"""Normalised pixels (batch, 3, 96, 96) -> features (batch, patches, width)."""


@torch.no_grad()
def cache(see: See, source: Source, folder: Path, workers: Workers) -> None:
    """Write float16 features of scenes and their crops, in resumable chunks.

    Args:
        see: what is cached of the pixels.
        source: the scenes.
        folder: one for each ``see``, as the files are named by their scenes alone.
        workers: that share the chunks.
    """
    chunks = source.chunks()[workers.rank :: workers.count]
    for chunk in tqdm(chunks, desc="features", disable=not workers.first):
        file = folder / f"features-{chunk:02d}.safetensors"
        if file.exists():
            continue
        start = chunk * CHUNK
        parts = []
        for first in range(start, start + CHUNK, 25):
            few = range(first, min(first + 25, start + CHUNK))
            pixels = np.concatenate([pictures(i, source.spec) for i in few])
            seen = see(normalised(pixels))
            parts.append(seen.half().unflatten(0, (-1, 2)))
        part_file = file.with_suffix(".part")
        save_file({"features": torch.cat(parts)}, part_file)
        part_file.replace(file)
    workers.wait()


class Pool:
    """Training scenes: features (scenes, 2, patches, width) and what they show."""

    def __init__(self, source: Source, folder: Path):
        files = [
            safe_open(folder / f"features-{chunk:02d}.safetensors", "pt")
            for chunk in source.chunks()
        ]
        self.features = torch.cat([file.get_tensor("features") for file in files])
        numbers = range(source.first, source.first + source.count)
        self.scenes = [planned(number, source.spec) for number in numbers]

    def __len__(self) -> int:
        return len(self.scenes)

    def show(self, index: int, cropped: bool) -> tuple[Tensor, Shown, Scene]:
        """Features (patches, width) of a scene or its crop, and what is in view."""
        scene, crop = self.scenes[index]
        plates = in_crop(scene, crop) if cropped else list(scene.plates)
        return self.features[index, int(cropped)], (scene.texture, plates), scene


def in_crop(scene: Scene, crop: tuple[int, int, int]) -> list[Plate]:
    """Plates that a crop shows whole, their sides as if the crop were a scene."""
    left, top, side = crop
    box = (left, top, left + side, top + side)
    return [
        Plate(p.left, p.top, round(p.side * SCENE_PX / side), p.color, p.char)
        for p in scene.plates
        if p.inside(box) >= 0.95
    ]


def patch_labels(scene: Scene) -> dict[str, np.ndarray]:
    """(patches,) colour, character and texture ids; ``IGNORE`` where there is none."""
    labels = {name: np.full((GRID, GRID), IGNORE) for name in ("color", "char")}
    labels["texture"] = np.full((GRID, GRID), TEXTURE_IDS[scene.texture])
    for plate in scene.plates:
        mine = overlap(plate, SCENE_PX / IMAGE_PX) >= 10
        labels["color"][mine] = COLOR_IDS[plate.color]
        labels["texture"][mine] = IGNORE
        if plate.side >= LEGIBLE_PX:
            labels["char"][mine] = CHAR_IDS[plate.char]
    return {name: label.flatten() for name, label in labels.items()}


# What of them is shown and asked, and when.


@dataclass(frozen=True)
class Phase:
    """What a model is shown and asked until a step of a stage.

    Attributes:
        until: step at which the phase ends.
        smallest: plates below this side (scene pixels) are not asked about.
        small_first: whether the four smallest plates are asked about, not any four.
        describe: share of scenes with a description among their turns.
        crops: share of scenes shown as a random crop only.
        pairs: share of batches of [scene, random crop of it].
        color: share of questions that name a character and ask for its plate's colour.
        varied: whether descriptions are in random order (see ``scenes.describe``).
    """

    until: int
    smallest: int = 0
    small_first: bool = False
    describe: float = 0.5
    crops: float = 0.3
    pairs: float = 0.0
    color: float = 0.15
    varied: bool = False

    @property
    def kinds(self) -> dict[str, float]:
        """Shares of the kinds of question ("read": digit or letter)."""
        return {"read": 0.85 - self.color, "color": self.color, "exists": 0.15}


def phase_at(phases: Sequence[Phase], step: int) -> Phase:
    """The phase that a step belongs to."""
    return next(phase for phase in phases if step < phase.until)


def description(phase: Phase, shown: Shown, rng: Generator) -> str:
    """What is said of a picture in general: the plates that can be read."""
    texture, plates = shown
    legible = [plate for plate in plates if plate.side >= LEGIBLE_PX]
    return scenes.describe(texture, legible, rng if phase.varied else None)
