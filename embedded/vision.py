"""Stage 1: the vision tower alone learns colours, characters and textures."""

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from embedded import dense
from embedded.features import See
from embedded.fit import Schedule
from embedded.models import GRID
from embedded.scenes import CHARS, TEXTURES
from vicrop.types import Stock

SCHEDULE = Schedule(steps=2200, batch=32, rate=1.5e-3, warmup=60)

# (until step, plate sides in model pixels, plates an image): many mid-size plates
# first, or the characters stay at chance (a trial's finding, see the model card).
SIZES = (
    (500, (13, 24), (12, 18)),
    (900, (8, 36), (8, 15)),
    (SCHEDULE.steps, (4.2, 60), (6, 13)),
)
ENLARGED = ((24, 96), (1, 3))  # from the third phase on: what a small crop looks like
CHAR_SIDES = ((6, 9), (9, 11), (11, 14), (14, 20), (20, 30), (30, 97))


class Dense(nn.Module):
    """A vision tower with three linear heads a patch, which are thrown away later."""

    balance: Tensor

    def __init__(self, tower: Stock):
        super().__init__()
        self.tower = tower
        width = tower.config.hidden_size
        self.color = nn.Linear(width, dense.NO_PLATE + 1)
        self.char = nn.Linear(width, len(CHARS))
        self.texture = nn.Linear(width, len(TEXTURES))
        self.register_buffer("balance", torch.ones(dense.NO_PLATE + 1))
        self.balance[dense.NO_PLATE] = 0.3

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(batch, 3, 96, 96) -> logits (batch, patches, classes) by head."""
        seen = self.tower(pixel_values=pixels).last_hidden_state[:, 1:]
        heads = {"color": self.color, "char": self.char, "texture": self.texture}
        return {name: head(seen) for name, head in heads.items()}

    def loss(self, step: int, rng: Generator):
        """Cross-entropy of one drawn batch, and accuracies as (sum, count)."""
        pixels, labels = dense.batch(SCHEDULE.batch, view_at(step), rng)
        logits = self(pixels)
        color = _entropy(logits["color"], labels["color"], self.balance)
        char = _entropy(logits["char"], labels["char"])
        texture = _entropy(logits["texture"], labels["texture"])
        return color + char + 0.3 * texture, accuracies(logits, labels)


class Distilled(nn.Module):
    """A student that learns to see as a trained teacher does, patch by patch.

    A tower of another family cannot take the trained tower's weights; its features it
    can learn, far faster than it would learn from labels.

    Args:
        student: normalised pixels (batch, 3, 96, 96) -> (batch, patches, width).
        teacher: the same, frozen; a function, so that it is no part of the checkpoint.
        size: pictures a batch.
    """

    def __init__(self, student: nn.Module, teacher: See, size: int = SCHEDULE.batch):
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.size = size

    def show(self, step: int, rng: Generator) -> tuple[Tensor, Tensor]:
        """Pixels of a step and what the teacher sees in them."""
        pixels, _ = dense.batch(self.size, view_at(step), rng)
        with torch.no_grad():
            return pixels, self.teacher(pixels)

    def loss(self, step: int, rng: Generator):
        """Share of the teacher's variance that the student misses, of one batch.

        The metric is the share explained, as (sum, count).
        """
        pixels, target = self.show(step, rng)
        spread = (target - target.mean((0, 1))).pow(2).mean()
        missed = F.mse_loss(self.student(pixels), target) / spread
        return missed, {"explained": (1 - missed.item(), 1)}


def view_at(step: int) -> dense.View:
    """How the batch of a step is drawn (the same on every process)."""
    phase = next(n for n, (until, *_) in enumerate(SIZES) if step < until)
    side, plates = SIZES[phase][1:]
    if phase == 2 and step % 5 == 4:
        return dense.View(1 / (1 + step // 5 % 3), *ENLARGED)
    return dense.View(1 if step % 4 == 0 else 2, side, plates)


def _entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    kept = labels.flatten() != dense.IGNORE
    if not kept.any():
        return logits.sum() * 0
    return F.cross_entropy(
        logits.flatten(0, 1)[kept], labels.flatten()[kept], weight=weight
    )


@torch.no_grad()
def accuracies(
    logits: dict[str, Tensor], labels: dict[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Right patches and their number: colours, characters by side, texture."""
    hit = {name: logits[name].argmax(-1) == labels[name] for name in logits}
    where = {
        "color": ("color", (labels["color"] >= 0) & (labels["color"] < dense.NO_PLATE)),
        "texture": ("texture", labels["texture"] >= 0),
    }
    for low, high in CHAR_SIDES:
        sized = (labels["side"] >= low) & (labels["side"] < high)
        where[f"char {low}-{high} px"] = ("char", (labels["char"] >= 0) & sized)
    return {
        name: ((hit[head] & kept).sum().item(), kept.sum().item())
        for name, (head, kept) in where.items()
    }


@torch.no_grad()
def sine_positions(tower: Stock, scale: float = 0.2, base: float = 60.0) -> None:
    """Start the position table as a 2-D sine table, in place.

    CLIP's random table (std 0.02) left characters at chance in a trial.
    """
    table = tower.embeddings.position_embedding.weight
    half = table.shape[1] // 2
    rate = base ** (-torch.arange(half // 2) / (half / 2))
    angle = torch.arange(GRID)[:, None] * rate
    line = torch.cat([angle.sin(), angle.cos()], 1)
    rows = line[:, None].expand(GRID, GRID, half)
    cols = line[None].expand(GRID, GRID, half)
    table[1:] = scale * torch.cat([rows, cols], -1).reshape(GRID**2, 2 * half)
