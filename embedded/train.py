"""Train the embedded models: ``python -m embedded.train`` (or ``make train``).

Processes of one thread each; interrupted, it goes on from its last checkpoint.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import typer
from torch import nn
from transformers import LlavaForConditionalGeneration

from embedded import (
    cards,
    curriculum,
    features,
    language,
    models,
    qformer,
    qwen,
    qwen_language,
    qwen_tower,
    vision,
)
from embedded.fit import Workers, fit
from vicrop import paths
from vicrop.run import datasets
from vicrop.types import Stock

SEED = 2025


def work(rank: int, processes: int, key: str, folder: Path, meet: str) -> None:
    """All stages of a model, as process ``rank``."""
    torch.set_num_threads(1)
    if processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{meet}", rank=rank, world_size=processes
        )
    RECIPES[key].train(folder, Workers(rank, processes))
    if processes > 1:
        dist.destroy_process_group()


def train_llava(folder: Path, workers: Workers) -> None:
    """Vision alone, then the projector, then the language model; the first saves."""
    _train_llava("tiny-llava", folder, folder, workers, curriculum.LOOK_LATE)


def train_unmasked(folder: Path, workers: Workers) -> None:
    """tiny-llava's tower and projector, then its language stages without its mask."""
    _train_llava("tiny-llava-unmasked", folder, folder / "unmasked", workers, 0.0)


def _train_llava(
    key: str, seen: Path, folder: Path, workers: Workers, look_late: float
) -> None:
    """Stages that see have their checkpoints in ``seen``, the others in ``folder``."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(SEED)
    model = models.llava()
    seeing = vision.Dense(model.model.vision_tower)
    vision.sine_positions(seeing.tower)
    fit("vision", vision.SCHEDULE, seeing, seeing.loss, seen, workers, SEED)
    seeing.tower.requires_grad_(False)
    pool = load_pool(seeing.tower, features.FIRST, seen, workers)
    torch.manual_seed(SEED)
    projector = model.model.multi_modal_projector
    text: Stock = model.config.text_config
    naming = language.Naming(projector, text.hidden_size)
    loss = naming.loss_on(pool)
    fit("align", curriculum.ALIGN, naming, loss, seen, workers, SEED)
    language.start_language_model(model, naming.words.weight)
    answering = language.Answering(model)
    loss = answering.loss_on(pool, "language", look_late)
    fit("language", curriculum.LANGUAGE, answering, loss, folder, workers, SEED)
    pool = load_pool(seeing.tower, features.SMALLER, seen, workers)
    loss = answering.loss_on(pool, "refine", look_late)
    fit("refine", curriculum.REFINE, answering, loss, folder, workers, SEED)
    loss = answering.loss_on(pool, "describe", look_late)
    fit("describe", curriculum.DESCRIBE, answering, loss, folder, workers, SEED)
    if workers.first:
        model.save_pretrained(folder / key)
        models.llava_processor().save_pretrained(folder / key)


def train_instructblip(folder: Path, workers: Workers) -> None:
    """A Q-Former and a language model behind tiny-llava's tower."""
    llava = LlavaForConditionalGeneration.from_pretrained(folder / "tiny-llava").eval()
    tower = llava.model.vision_tower
    place = folder / "instructblip"
    place.mkdir(exist_ok=True)
    load = partial(load_pool, tower, folder=folder, workers=workers)
    qformer.train_instructblip(tower, load, place, workers, SEED)


def train_qwen(folder: Path, workers: Workers) -> None:
    """The tower learns from tiny-llava's, then the language model goes on from its."""
    llava = LlavaForConditionalGeneration.from_pretrained(folder / "tiny-llava").eval()
    place = folder / "qwen"
    place.mkdir(exist_ok=True)
    torch.manual_seed(SEED)
    model = qwen.model()
    visual = model.model.visual
    qwen_tower.take_over(visual, llava)
    distilled = qwen_tower.Distilled(visual, qwen_tower.teacher(llava))
    schedule, loss = qwen_tower.DISTIL, distilled.loss
    fit("distil", schedule, distilled, loss, place, workers, SEED)
    see = distilled.student.eval().requires_grad_(False)
    features.cache(see, features.SMALLER, place, workers)
    pool = features.Pool(features.SMALLER, place)
    qwen_language.take_over(model, llava)
    answering = qwen_language.Answering(model)
    loss = answering.loss_on(pool, "qwen")
    fit("language", curriculum.QWEN, answering, loss, place, workers, SEED)
    if workers.first:
        model.save_pretrained(place / "tiny-qwen2.5-vl")
        qwen.processor().save_pretrained(place / "tiny-qwen2.5-vl")


def load_pool(
    tower: nn.Module, source: features.Source, folder: Path, workers: Workers
) -> features.Pool:
    """The features of a stage's scenes, made if they are not there."""
    features.cache_features(tower, source, folder, workers)
    return features.Pool(source, folder)


@dataclass(frozen=True)
class Recipe:
    """How an embedded model is trained.

    Attributes:
        train: all its stages, as one of several processes.
        processes: that made the weights we ship; others make other weights.
        place: folder of its checkpoints, curves and weights, within the training's.
    """

    train: Callable[[Path, Workers], None]
    processes: int
    place: str = "."


# In this order: the others start from tiny-llava.
RECIPES = {
    "tiny-llava": Recipe(train_llava, processes=2),
    "tiny-instructblip": Recipe(train_instructblip, processes=1, place="instructblip"),
    "tiny-qwen2.5-vl": Recipe(train_qwen, processes=1, place="qwen"),
    "tiny-llava-unmasked": Recipe(train_unmasked, processes=1, place="unmasked"),
}


def main(
    folder: Path = Path("build/train"),
    out: Path = paths.WEIGHTS,
    processes: int | None = None,
) -> None:
    """Train all models in FOLDER, from their checkpoints if any; weights to OUT.

    Each with as many processes as its recipe says, unless PROCESSES says otherwise.
    """
    datasets.folder(cards.VALIDATION)  # before hours of training, not after
    folder.mkdir(parents=True, exist_ok=True)
    # The workers are daemons: they must not go on when this process is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for key, recipe in RECIPES.items():
        count = processes or recipe.processes
        with tempfile.TemporaryDirectory() as place:
            meet = os.path.join(place, "meet")
            args = (count, key, folder.resolve(), meet)
            mp.spawn(work, args, nprocs=count, daemon=True)
        finish(key, folder / recipe.place, out / key, count)


def finish(key: str, folder: Path, weights: Path, processes: int) -> None:
    """Copy trained weights to where they are shipped, and write their card."""
    shutil.copytree(folder / key, weights, dirs_exist_ok=True)
    facts = {"seed": SEED, "processes": processes}
    cards.write(weights, folder, cards.SUBJECTS[key], facts)


if __name__ == "__main__":
    typer.run(main)
