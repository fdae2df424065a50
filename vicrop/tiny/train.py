"""Train the embedded models: ``python -m vicrop.tiny.train`` (or ``make train``).

Two processes of one thread each; interrupted, it goes on from its last checkpoint.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import typer
from torch import nn

from vicrop import datasets, paths
from vicrop.tiny import cards, curriculum, features, language, models, vision
from vicrop.tiny.fit import Workers, fit

SEED = 2025


def work(rank: int, processes: int, folder: Path, meet: str) -> None:
    """All stages of tiny-llava, as process ``rank``."""
    torch.set_num_threads(1)
    if processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{meet}", rank=rank, world_size=processes
        )
    train_llava(folder, Workers(rank, processes))
    if processes > 1:
        dist.destroy_process_group()


def train_llava(folder: Path, workers: Workers) -> None:
    """Vision alone, then the projector, then the language model; the first saves."""
    torch.manual_seed(SEED)
    model = models.llava()
    seeing = vision.Dense(model.model.vision_tower)
    vision.sine_positions(seeing.tower)
    fit("vision", vision.SCHEDULE, seeing, seeing.loss, folder, workers, SEED)
    seeing.tower.requires_grad_(False)
    pool = load_pool(seeing.tower, features.FIRST, folder, workers)
    torch.manual_seed(SEED)
    projector = model.model.multi_modal_projector
    naming = language.Naming(projector, model.config.text_config.hidden_size)
    loss = naming.loss_on(pool)
    fit("align", curriculum.ALIGN, naming, loss, folder, workers, SEED)
    language.start_language_model(model, naming.words.weight)
    answering = language.Answering(model)
    loss = answering.loss_on(pool, "language")
    fit("language", curriculum.LANGUAGE, answering, loss, folder, workers, SEED)
    pool = load_pool(seeing.tower, features.SMALLER, folder, workers)
    loss = answering.loss_on(pool, "refine")
    fit("refine", curriculum.REFINE, answering, loss, folder, workers, SEED)
    loss = answering.loss_on(pool, "describe")
    fit("describe", curriculum.DESCRIBE, answering, loss, folder, workers, SEED)
    if workers.first:
        model.save_pretrained(folder / "tiny-llava")
        models.llava_processor().save_pretrained(folder / "tiny-llava")


def load_pool(
    tower: nn.Module, source: features.Source, folder: Path, workers: Workers
) -> features.Pool:
    """The features of a stage's scenes, made if they are not there."""
    features.cache_features(tower, source, folder, workers)
    return features.Pool(source, folder)


def main(
    folder: Path = Path("build/train"), out: Path = paths.WEIGHTS, processes: int = 2
) -> None:
    """Train tiny-llava in FOLDER, from its checkpoints if any; weights to OUT."""
    datasets.folder(cards.VALIDATION)  # before hours of training, not after
    folder.mkdir(parents=True, exist_ok=True)
    # The workers are daemons: they must not go on when this process is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as place:
        meet = os.path.join(place, "meet")
        args = (processes, folder.resolve(), meet)
        mp.spawn(work, args, nprocs=processes, daemon=True)
    weights = out / "tiny-llava"
    shutil.copytree(folder / "tiny-llava", weights, dirs_exist_ok=True)
    cards.write(weights, folder, "llava", {"seed": SEED, "processes": processes})


if __name__ == "__main__":
    typer.run(main)
