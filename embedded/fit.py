"""The training loop: two processes, averaged gradients, checkpoints, curves.

A step's data come from (seed, stage, step, rank) alone, so that a run which was
interrupted and started again sees exactly what an undisturbed one sees.
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.random import Generator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

SAVE_EVERY = 100
LOG_EVERY = 25

Loss = Callable[[int, Generator], tuple[Tensor, dict[str, tuple[float, float]]]]
"""(step, rng) -> loss and metrics, each as (sum, count)."""


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of one stage.

    The rate warms up linearly, is held until ``hold`` of the steps, then falls as a
    cosine to 3 % of ``rate``. ``batch`` is per process.
    """

    steps: int
    batch: int
    rate: float
    warmup: int = 50
    hold: float = 0.0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup)
        past = max(0.0, step / self.steps - self.hold) / (1 - self.hold)
        return self.rate * rise * (0.515 + 0.485 * math.cos(math.pi * past))


class Workers:
    """This process among those that train together."""

    def __init__(self, rank: int, count: int):
        self.rank, self.count = rank, count

    @property
    def first(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average gradients over the processes, in place."""
        if self.count == 1:
            return
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        flat /= self.count
        sizes = [p.numel() for p in parameters]
        for parameter, part in zip(parameters, flat.split(sizes), strict=True):
            parameter.grad = part.view_as(parameter)

    def wait(self) -> None:
        """Meet the other processes here."""
        if self.count > 1:
            dist.barrier()


def fit(
    name: str,
    schedule: Schedule,
    modules: nn.Module,
    loss_of: Loss,
    folder: Path,
    workers: Workers,
    seed: int,
) -> None:
    """Train ``modules`` in place for one stage, or load what an earlier run reached.

    Leaves ``folder/name.safetensors`` (weights, optimizer, step) and
    ``folder/name.json`` (the curves).
    """
    parameters = [p for p in modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=schedule.rate, weight_decay=0.02, betas=(0.9, 0.98)
    )
    file = folder / f"{name}.safetensors"
    start = restore(file, modules, optimizer)
    curves = Curves(folder / f"{name}.json", start)
    bar = tqdm(
        range(start, schedule.steps),
        desc=name,
        initial=start,
        total=schedule.steps,
        disable=not workers.first,
    )
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate_at(step)
        rng = np.random.default_rng((seed, sum(name.encode()), step, workers.rank))
        loss, metrics = loss_of(step, rng)
        take_step(loss, parameters, optimizer, workers)
        curves.add({"loss": (loss.item(), 1), **metrics})
        done = step + 1
        if done % LOG_EVERY == 0 or done == schedule.steps:
            bar.set_postfix(curves.close(done))
        if workers.first and (done % SAVE_EVERY == 0 or done == schedule.steps):
            # Curves first: a crash in between leaves them ahead, which is cut off.
            curves.write()
            save(file, modules, optimizer, done)
    workers.wait()


def take_step(
    loss: Tensor,
    parameters: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    workers: Workers,
) -> None:
    """One step down the gradient that all processes agree on."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    workers.average(parameters)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


class Curves:
    """Means of the metrics since the last row, a row every ``LOG_EVERY`` steps."""

    def __init__(self, file: Path, start: int):
        self.file = file
        rows = json.loads(file.read_text()) if start else []
        self.rows = [row for row in rows if row["step"] <= start]
        self._spent = self.rows[-1].get("seconds", 0.0) if self.rows else 0.0
        self._began = time.perf_counter()
        self._tally: dict[str, np.ndarray] = {}

    def add(self, metrics: dict[str, tuple[float, float]]) -> None:
        """Count one step's metrics, each as (sum, count)."""
        for key, (total, count) in metrics.items():
            self._tally[key] = self._tally.get(key, np.zeros(2)) + (total, count)

    def close(self, step: int) -> dict[str, float]:
        """End a row at ``step``; its means."""
        means = {k: round(s / max(n, 1), 4) for k, (s, n) in self._tally.items()}
        seconds = round(self._spent + time.perf_counter() - self._began, 1)
        self.rows.append({"step": step, "seconds": seconds, **means})
        self._tally = {}
        return means

    def write(self) -> None:
        """Onto the disk; a torn write leaves the old file."""
        part = self.file.with_suffix(".json.part")
        part.write_text(json.dumps(self.rows, indent=0))
        os.replace(part, self.file)


def save(
    file: Path, modules: nn.Module, optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Write weights, optimizer state and step; a torn write leaves the old file."""
    tensors = {f"weight.{k}": v.contiguous() for k, v in modules.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v for k, v in state.items()}
    part = file.with_suffix(".part")
    save_file(tensors, part, metadata={"step": str(step)})
    os.replace(part, file)


def restore(file: Path, modules: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load what ``save`` wrote, if it is there; the number of steps already done."""
    if not file.exists():
        return 0
    with safe_open(file, "pt") as stored:
        step = int(stored.metadata()["step"])
        found = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    weights: dict[str, Tensor] = {}
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in found.items():
        kind, _, rest = key.partition(".")
        if kind == "weight":
            weights[rest] = tensor
        else:
            number, _, field = rest.partition(".")
            states.setdefault(int(number), {})[field] = tensor
    modules.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return step
