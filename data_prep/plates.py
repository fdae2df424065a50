"""Draw the embedded data sets: ``python -m data_prep.plates``.

Same seeds, same bytes. Test questions are ``plates``, ``plates-hd`` (large pictures)
and ``plates-wide`` (wide and tall ones); the map's layer is chosen on ``plates-val``;
the models are trained on other seeds again.
"""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.random import Generator
from PIL import Image
from tqdm import tqdm

from data_prep.unified import place
from embedded import scenes
from embedded.scenes import Question, Scene
from vicrop import paths
from vicrop.run.results import size_group

JPEG_QUALITY = 92


@dataclass(frozen=True)
class Recipe:
    """What one data set holds: its scenes, and how many questions of which kind.

    ``quota`` counts questions by size group of the plate that is asked about, and
    ``exists`` questions, half of them about a colour that is not there.
    """

    spec: scenes.SceneSpec
    split: str
    quota: tuple[tuple[str, int], ...]
    first: int = 0

    def digest(self) -> str:
        """Changes with everything that the data set depends on."""
        parts = (repr(self), JPEG_QUALITY, _source_hash())
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def _quota(*counts: int) -> tuple[tuple[str, int], ...]:
    return tuple(zip(("small", "medium", "large", "exists"), counts, strict=True))


RECIPES = {
    "plates": Recipe(scenes.PLATES, "test", _quota(150, 25, 35, 20)),
    "plates-hd": Recipe(scenes.PLATES_HD, "test", _quota(70, 5, 10, 5), first=500_000),
    "plates-wide": Recipe(
        scenes.PLATES_WIDE, "test", _quota(80, 15, 20, 15), first=700_000
    ),
    "plates-val": Recipe(scenes.PLATES, "val", _quota(200, 60, 60, 40)),
}


SMOKE = {"small": 7, "medium": 3, "large": 3, "exists": 1}
"""Questions of each sort that try every page out."""


def _source_hash() -> str:
    """Of the code that draws and asks: if it changes, it is another data set."""
    digest = hashlib.sha256()
    for file in (scenes.__file__, __file__):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def make(
    name: str, root: Path, progress: bool = True, recipe: Recipe | None = None
) -> Path:
    """Draw one data set, unless it is already there as this recipe makes it.

    Args:
        name: key of ``RECIPES``.
        root: folder of the data sets.
        progress: whether to show a bar.
        recipe: another than the name's own.

    Returns:
        Its folder, whole: it appears only once everything in it is written.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(RECIPES)}")
    recipe, out = recipe or RECIPES[name], root / name
    if _recipe_of(out) == recipe.digest():
        return out
    rows, indices = choose(recipe)
    counts = Counter(row["meta"]["kind"] for row in rows)
    note = {"recipe": recipe.digest(), "images": len(indices), "questions": counts}
    with place.alone(out), place.folder(out) as part:
        folder = part / "images"
        folder.mkdir()
        jobs = [(recipe, index, folder / f"{index:06d}.jpg") for index in indices]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(_draw, jobs, chunksize=8)
            for _ in tqdm(drawn, desc=name, total=len(jobs), disable=not progress):
                pass
        (part / "data.json").write_text(json.dumps(rows, indent=1))
        (part / "prep.json").write_text(json.dumps(note, indent=1))
    return out


def _recipe_of(folder: Path) -> str | None:
    note = folder / "prep.json"
    return json.loads(note.read_text())["recipe"] if note.exists() else None


def choose(recipe: Recipe) -> tuple[list[dict], list[int]]:
    """The questions that fill the quota, and the scenes that they need.

    Scenes are taken in the order of their seeds, and every plate that still fits the
    quota is asked about, so that the choice depends on sizes only.
    """
    left = dict(recipe.quota)
    rows: list[dict] = []
    indices: list[int] = []
    index = recipe.first
    while any(left.values()):
        seed = scenes.scene_seed(recipe.split, index)
        scene = scenes.plan(recipe.spec, np.random.default_rng(seed))
        asked = _ask(scene, left, np.random.default_rng((seed, 2)))
        rows += [_row(index, n, scene, question) for n, question in enumerate(asked)]
        indices += [index] if asked else []
        index += 1
    return rows, indices


def _ask(scene: Scene, left: dict[str, int], rng: Generator) -> list[Question]:
    """Questions about one scene; counts them off ``left``."""
    asked = []
    for plate in scene.plates:
        group = size_group(plate.side**2 / (scene.size[0] * scene.size[1]))
        if left[group]:
            left[group] -= 1
            asked.append(scenes.ask("read", plate, rng))
    if left["exists"] and asked:
        left["exists"] -= 1
        plate = scene.plates[rng.integers(len(scene.plates))]
        present = scenes.ask("exists", plate, rng)
        absent = scenes.ask_absent(scene, rng)
        asked.append(present if left["exists"] % 2 else absent)
    return asked


def _row(index: int, number: int, scene: Scene, asked: Question) -> dict:
    """One sample of the unified format."""
    meta = {"kind": asked.kind, "texture": scene.texture}
    row = {
        "id": f"{index:06d}-{number}",
        "question": asked.text,
        "labels": [asked.answer],
        "image_path": f"{index:06d}.jpg",
        "meta": meta,
    }
    return row | ({"boxes": [asked.plate.box]} if asked.plate else {})


def _draw(job: tuple[Recipe, int, Path]) -> None:
    recipe, index, file = job
    _, pixels = scenes.draw(recipe.spec, scenes.scene_seed(recipe.split, index))
    # Full colour resolution: halved, as JPEG's default is, small plates would bleed.
    Image.fromarray(pixels).save(file, quality=JPEG_QUALITY, subsampling=0)


def with_quota(name: str, quota: Mapping[str, int] = SMOKE) -> Recipe:
    """A data set's recipe, for other numbers of questions."""
    return dataclasses.replace(RECIPES[name], quota=tuple(quota.items()))


def main(
    names: Annotated[list[str] | None, typer.Argument()] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few questions.")] = False,
) -> None:
    """Draw the data sets NAMES (all, if none is given) into the data folder."""
    for name in names or RECIPES:
        recipe = with_quota(name) if smoke else None
        typer.echo(f"{name}: {make(name, paths.data(), recipe=recipe)}")


if __name__ == "__main__":
    typer.run(main)
