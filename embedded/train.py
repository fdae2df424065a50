"""Train the embedded models: ``python -m embedded.train`` (or ``make train``).

Processes of one thread each; interrupted, it goes on from its last checkpoint.
"""

import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import typer
from torch import nn
from transformers import (
    LlavaForConditionalGeneration,
    PreTrainedModel,
    ProcessorMixin,
)

from embedded import cards, instructblip, llava, qwen, training_data
from embedded.fit import Loss, Schedule, Workers, fit
from vicrop import paths
from vicrop.run import datasets
from vicrop.types import known

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
    """Vision alone, then the projector, then the language model."""
    torch.manual_seed(SEED)
    model = llava.model()
    seeing = llava.Dense(model.model.vision_tower)
    llava.sine_positions(seeing.tower)
    fit("vision", llava.STAGES["vision"], seeing, seeing.loss, folder, workers, SEED)
    train_to_speak(model, folder / "tiny-llava", folder, workers)


def train_unmasked(key: str, seed: int, folder: Path, workers: Workers) -> None:
    """tiny-llava's tower, and all behind it from the start, without its mask."""
    torch.manual_seed(seed)
    model = llava.model()
    tower = trained_llava(folder).model.vision_tower
    model.model.vision_tower.load_state_dict(tower.state_dict())
    train_to_speak(model, folder / key / key, folder, workers, seed, 0.0, True)


def train_to_speak(
    model: LlavaForConditionalGeneration,
    place: Path,
    features: Path,
    workers: Workers,
    seed: int = SEED,
    masked: float = llava.LOOK_LATE,
    half: bool = False,
) -> None:
    """A LLaVA that sees learns to name, answer and describe; checkpoints beside it.

    Args:
        model: of which the tower is trained.
        place: where it is saved.
        features: folder of what the tower makes of the scenes.
        workers: that train it.
        seed: of weights, scenes and questions.
        masked: share of batches with the look-late mask.
        half: whether its language model multiplies in bfloat16 (see ``loss_on``).
    """
    place.parent.mkdir(exist_ok=True)
    train = partial(_train, llava.STAGES, workers, folder=place.parent, seed=seed)
    see = partial(llava.see, model.model.vision_tower.requires_grad_(False))
    pool = load_pool(see, training_data.FIRST, features, workers)
    torch.manual_seed(seed)
    naming = llava.Naming(model.model.multi_modal_projector, model.lm_head.in_features)
    train("align", naming, naming.loss_on(pool))
    llava.start_language_model(model, naming.words.weight)
    answering = llava.Answering(model)
    train("language", answering, answering.loss_on(pool, "language", masked, half))
    pool = load_pool(see, training_data.SMALLER, features, workers)
    for stage in ("refine", "describe"):
        train(stage, answering, answering.loss_on(pool, stage, masked, half))
    save(model, llava.processor(), place, workers)


def train_instructblip(folder: Path, workers: Workers) -> None:
    """A Q-Former behind tiny-llava's tower, then with the language model."""
    tower = trained_llava(folder).model.vision_tower
    place = folder / "instructblip"
    place.mkdir(exist_ok=True)
    train = partial(_train, instructblip.STAGES, workers, folder=place)
    torch.manual_seed(SEED)
    model = instructblip.fresh(tower)
    tokens = partial(instructblip.class_tokens, model.vision_model, training_data.FIRST)
    see = partial(llava.see, tower)
    pool = load_pool(see, training_data.FIRST, folder, workers)
    supply = instructblip.Supply(pool, tokens)
    looking = instructblip.Looking(model)
    reading = instructblip.Reading(looking)
    train("read", reading, reading.loss_on(supply))
    instructblip.start_language_model(model, reading.words.weight)
    answering = instructblip.Answering(model, looking)
    train("answer", answering, answering.loss_on(supply, "answer"))
    pool = load_pool(see, training_data.SMALLER, folder, workers)
    supply = instructblip.Supply(pool, tokens)
    train("refine", answering, answering.loss_on(supply, "refine"))
    save(model, instructblip.processor(), place / "tiny-instructblip", workers)


def train_qwen(folder: Path, workers: Workers) -> None:
    """The tower learns from tiny-llava's, then the language model goes on from its."""
    start = trained_llava(folder)
    place = folder / "qwen"
    place.mkdir(exist_ok=True)
    train = partial(_train, qwen.STAGES, workers, folder=place)
    torch.manual_seed(SEED)
    model = qwen.model()
    visual = model.model.visual
    qwen.take_over_tower(visual, start)
    distilled = qwen.Distilled(qwen.Tower(visual), qwen.seen_by(start))
    train("distil", distilled, distilled.loss)
    see = distilled.student.eval().requires_grad_(False)
    pool = load_pool(see, training_data.SMALLER, place, workers)
    qwen.take_over_language(model, start)
    answering = qwen.Answering(model)
    train("language", answering, answering.loss_on(pool, "language"))
    save(model, qwen.processor(), place / "tiny-qwen2.5-vl", workers)


def _train(
    stages: Mapping[str, Schedule],
    workers: Workers,
    stage: str,
    modules: nn.Module,
    loss: Loss,
    folder: Path,
    seed: int = SEED,
) -> None:
    fit(stage, stages[stage], modules, loss, folder, workers, seed)


def trained_llava(folder: Path) -> LlavaForConditionalGeneration:
    """tiny-llava, which was trained before in ``folder``."""
    return LlavaForConditionalGeneration.from_pretrained(folder / "tiny-llava").eval()


def load_pool(
    see: training_data.See, source: training_data.Source, folder: Path, workers: Workers
) -> training_data.Pool:
    """The features of a stage's scenes, made if they are not there."""
    training_data.cache(see, source, folder, workers)
    return training_data.Pool(source, folder)


def save(
    model: PreTrainedModel, processor: ProcessorMixin, folder: Path, workers: Workers
) -> None:
    """The first process writes the trained model."""
    if workers.first:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)


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
    **{
        key: Recipe(partial(train_unmasked, key, seed), processes=2, place=key)
        for key, seed in cards.UNMASKED.items()
    },
}


def main(
    folder: Path = Path("build/train"),
    out: Path = paths.WEIGHTS,
    processes: int | None = None,
    only: list[str] | None = None,
) -> None:
    """Train all models in FOLDER, from their checkpoints if any; weights to OUT.

    Each with as many processes as its recipe says, unless PROCESSES says otherwise;
    ONLY those named, if any are.
    """
    datasets.folder(cards.VALIDATION)  # before hours of training, not after
    folder.mkdir(parents=True, exist_ok=True)
    # The workers are daemons: they must not go on when this process is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for key in [known(one, RECIPES, "model") for one in only or RECIPES]:
        recipe = RECIPES[key]
        count = processes or recipe.processes
        with tempfile.TemporaryDirectory() as place:
            meet = f"{place}/meet"
            args = (count, key, folder.resolve(), meet)
            mp.spawn(work, args, nprocs=count, daemon=True)
        finish(key, folder / recipe.place, out / key, count)


def finish(key: str, folder: Path, weights: Path, processes: int) -> None:
    """Copy trained weights to where they are shipped, and write their card."""
    shutil.copytree(folder / key, weights, dirs_exist_ok=True)
    facts = {"seed": cards.UNMASKED.get(key, SEED), "processes": processes}
    cards.write(weights, folder, cards.SUBJECTS[key], facts)


if __name__ == "__main__":
    typer.run(main)
