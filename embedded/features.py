"""Training scenes as features of the frozen vision tower, cached on disk.

The crops are drawn blind: uniformly placed, of a random side, knowing neither plates
nor questions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from embedded import dense, scenes
from embedded.fit import Workers
from embedded.models import IMAGE_PX
from embedded.scenes import COLORS, TEXTURES, Plate, Scene

CHUNK = 500
CROP_SIDE = (24, 260)  # log-uniform, pixels of the 448-pixel scene
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


def pictures(
    index: int, spec: scenes.SceneSpec
) -> tuple[Scene, tuple[int, int, int], np.ndarray]:
    """A training scene, its random crop's place, and both (2, 96, 96, 3) at 96 px."""
    seed = scenes.scene_seed("train", index)
    scene, pixels = scenes.draw(spec, seed)
    left, top, side = random_crop(np.random.default_rng((seed, 1)))
    whole = Image.fromarray(pixels)
    part = whole.crop((left, top, left + side, top + side))
    small = [
        np.asarray(image.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC))
        for image in (whole, part)
    ]
    return scene, (left, top, side), np.stack(small)


See = Callable[[Tensor], Tensor]
"""Normalised pixels (batch, 3, 96, 96) -> features (batch, patches, width)."""


def cache_features(
    tower: nn.Module, source: Source, folder: Path, workers: Workers
) -> None:
    """Write what a CLIP tower makes of scenes and their crops (see ``cache``)."""

    def see(pixels: Tensor) -> Tensor:
        return tower(pixel_values=pixels).last_hidden_state[:, 1:]

    cache(see, source, folder, workers)


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
        made = [pictures(i, source.spec) for i in range(start, start + CHUNK)]
        parts = []
        for start in range(0, CHUNK, 25):
            pixels = np.concatenate([pixels for *_, pixels in made[start : start + 25]])
            ready = (torch.from_numpy(pixels).float() / 255 - 0.5) / 0.25
            seen = see(ready.permute(0, 3, 1, 2))
            parts.append(seen.half().unflatten(0, (-1, 2)))
        part_file = file.with_suffix(".part")
        shown = torch.tensor([_numbers(scene, crop) for scene, crop, _ in made])
        save_file({"features": torch.cat(parts), "shown": shown}, part_file)
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
        shown = torch.cat([file.get_tensor("shown") for file in files]).tolist()
        self.scenes = [_scene(numbers) for numbers in shown]

    def __len__(self) -> int:
        return len(self.scenes)

    def show(self, index: int, cropped: bool) -> tuple[Tensor, Shown, Scene]:
        """Features (patches, width) of a scene or its crop, and what is in view."""
        scene, crop = self.scenes[index]
        plates = in_crop(scene, crop) if cropped else list(scene.plates)
        return self.features[index, int(cropped)], (scene.texture, plates), scene


_MOST = scenes.PLATES.plates[1]


def _numbers(scene: Scene, crop: tuple[int, int, int]) -> list[int]:
    """A scene and its crop as a fixed number of integers."""
    plates = [
        (p.left, p.top, p.side, dense.COLOR_IDS[p.color], dense.CHAR_IDS[p.char])
        for p in scene.plates
    ]
    plates += [(-1,) * 5] * (_MOST - len(plates))
    flat = [number for plate in plates for number in plate]
    return [dense.TEXTURE_IDS[scene.texture], *crop, *flat]


def _scene(numbers: list[int]) -> tuple[Scene, tuple[int, int, int]]:
    """What ``_numbers`` wrote."""
    texture, left, top, side, *flat = numbers
    colors, chars = list(COLORS), scenes.CHARS
    plates = tuple(
        Plate(
            flat[n], flat[n + 1], flat[n + 2], colors[flat[n + 3]], chars[flat[n + 4]]
        )
        for n in range(0, len(flat), 5)
        if flat[n] >= 0
    )
    scene = Scene((SCENE_PX, SCENE_PX), TEXTURES[texture], plates)
    return scene, (left, top, side)


def in_crop(scene: Scene, crop: tuple[int, int, int]) -> list[Plate]:
    """Plates that a crop shows whole, their sides as if the crop were a scene."""
    left, top, side = crop
    box = (left, top, left + side, top + side)
    return [
        Plate(p.left, p.top, round(p.side * SCENE_PX / side), p.color, p.char)
        for p in scene.plates
        if p.inside(box) >= 0.95
    ]
