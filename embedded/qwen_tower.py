"""tiny-qwen2.5-vl's vision tower: tiny-llava's, rewritten and taught the difference.

A CLIP block can be written as a Qwen block but for three things, which the tower then
learns by distillation: CLIP's position table (Qwen turns queries and keys instead),
its norm right behind the patches, and its class token.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from embedded import dense, vision
from embedded.features import See
from embedded.fit import Schedule
from embedded.models import GRID, PATCH_PX
from embedded.qwen import FRAMES
from vicrop.types import Stock

DISTIL = Schedule(steps=500, batch=16, rate=1e-3, warmup=30, hold=0.35)
SHAPES = ((9, 16), (16, 9), (8, 18), (18, 8))
"""Rows and columns, 144 tokens each, of pictures that are not square."""
FROM = 1200  # step of ``vision.view_at`` to begin with: plates of all sizes
SWISH = 1.702  # GELU(x) is nearly x · sigmoid(1.702 x)


def teacher(llava: LlavaForConditionalGeneration) -> See:
    """What a LLaVA's language model sees of a picture."""

    def see(pixels: Tensor) -> Tensor:
        seen = llava.model.vision_tower(pixel_values=pixels).last_hidden_state[:, 1:]
        return llava.model.multi_modal_projector(seen)

    return see


# Rewriting. A layer norm is an RMS norm of what has no mean: whatever writes to the
# stream loses its mean, and the norms' offsets go into the layers that read them.


def take_over(visual: Stock, llava: LlavaForConditionalGeneration) -> None:
    """Write a CLIP tower and its projector as a Qwen tower, in place."""
    tower, projector = llava.model.vision_tower, llava.model.multi_modal_projector
    with torch.no_grad():
        middle = statistics(tower)
        _take_patches(visual.patch_embed.proj, tower, middle)
        for block, layer in zip(visual.blocks, tower.encoder.layers, strict=True):
            _take_attention(block, layer)
            _take_mlp(block, layer)
        visual.blocks[0].attn.proj.bias += middle.start
        _take_projector(visual.merger, projector, middle)


@dataclass(frozen=True)
class Middle:
    """What Qwen's tower has no place for, as its mean over pictures.

    Attributes:
        spread: standard deviation of a patch's embedding, which CLIP divides by.
        start: (width,) what the position table and CLIP's first norm add.
        mean: of the tower's output, which Qwen's last norm takes away.
        size: root mean square of the output, which Qwen's last norm divides by.
    """

    spread: Tensor
    start: Tensor
    mean: Tensor
    size: Tensor


def statistics(tower: Stock, count: int = 64) -> Middle:
    """Means of a CLIP tower over drawn pictures."""
    pixels, _ = dense.batch(count, vision.view_at(FROM), np.random.default_rng(0))
    places = tower.embeddings.position_embedding.weight[1:]
    patches = tower.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
    embedded = patches + places
    spread = embedded.std(-1).mean()
    scale = tower.pre_layrnorm.weight / spread
    ours = scale * (patches - patches.mean(-1, keepdim=True))
    start = (tower.pre_layrnorm(embedded) - ours).mean((0, 1))
    seen = tower(pixel_values=pixels).last_hidden_state[:, 1:]
    mean = seen.mean(-1, keepdim=True)
    size = (seen - mean).pow(2).mean().sqrt()
    return Middle(spread, start - start.mean(), mean.mean(), size)


def _centred(weight: Tensor) -> Tensor:
    """Without its mean over the outputs."""
    return weight - weight.mean(0, keepdim=True)


def _take_patches(proj: Stock, tower: Stock, middle: Middle) -> None:
    weight = _centred(tower.embeddings.patch_embedding.weight)
    scale = tower.pre_layrnorm.weight / middle.spread
    frame = _centred(scale[:, None, None, None] * weight) / FRAMES
    proj.weight.copy_(frame[:, :, None].expand_as(proj.weight))


def _take_attention(block: Stock, layer: Stock) -> None:
    source = layer.self_attn
    parts = (source.q_proj, source.k_proj, source.v_proj)
    weight = torch.cat([part.weight for part in parts])
    bias = torch.cat([part.bias for part in parts])
    block.norm1.weight.copy_(layer.layer_norm1.weight)
    block.attn.qkv.weight.copy_(weight)
    block.attn.qkv.bias.copy_(bias + weight @ layer.layer_norm1.bias)
    block.attn.proj.weight.copy_(_centred(source.out_proj.weight))
    block.attn.proj.bias.copy_(_centred(source.out_proj.bias))


def _take_mlp(block: Stock, layer: Stock) -> None:
    """GELU as a gate of itself, times a constant."""
    first, last = layer.mlp.fc1, layer.mlp.fc2
    bias = first.bias + first.weight @ layer.layer_norm2.bias
    block.norm2.weight.copy_(layer.layer_norm2.weight)
    block.mlp.gate_proj.weight.copy_(SWISH * first.weight)
    block.mlp.gate_proj.bias.copy_(SWISH * bias)
    # Not zero: the gate's partner is to learn too.
    nn.init.normal_(block.mlp.up_proj.weight, std=0.01)
    block.mlp.up_proj.bias.fill_(1 / SWISH)
    block.mlp.down_proj.weight.copy_(_centred(last.weight))
    block.mlp.down_proj.bias.copy_(_centred(last.bias))


def _take_projector(merger: Stock, projector: Stock, middle: Middle) -> None:
    first, last = projector.linear_1, projector.linear_2
    merger.ln_q.weight.fill_(middle.size)
    merger.mlp[0].weight.copy_(first.weight)
    merger.mlp[0].bias.copy_(first.bias + first.weight.sum(1) * middle.mean)
    merger.mlp[2].weight.copy_(last.weight)
    merger.mlp[2].bias.copy_(last.bias)


# Distillation.


class Tower(nn.Module):
    """Qwen's vision tower over pictures of one shape, not over the processor's rows."""

    def __init__(self, visual: Stock):
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width) -> (batch, patches, width)."""
        batch, _, height, width = pixels.shape
        shape = (1, height // PATCH_PX, width // PATCH_PX)
        shapes = torch.tensor([shape] * batch)
        seen = self.visual(patches(pixels), grid_thw=shapes).pooler_output
        return seen.unflatten(0, (batch, -1))


def patches(pixels: Tensor) -> Tensor:
    """(batch, 3, height, width) -> (batch · patches, numbers), as the processor."""
    cut = F.unfold(pixels, PATCH_PX, stride=PATCH_PX).transpose(1, 2)
    cut = cut.unflatten(2, (3, 1, PATCH_PX**2)).expand(-1, -1, -1, FRAMES, -1)
    return cut.reshape(-1, 3 * FRAMES * PATCH_PX**2)


class Distilled(vision.Distilled):
    """A Qwen tower that learns from tiny-llava's, on pictures of several shapes.

    The teacher sees squares only. A wide or tall picture is put together from parts of
    two squares, and so is what the teacher sees in it.
    """

    def __init__(self, visual: Stock, teacher: See):
        super().__init__(Tower(visual), teacher, DISTIL.batch)

    def show(self, step: int, rng: Generator) -> tuple[Tensor, Tensor]:
        """Pixels of a step and what the teacher sees in them."""
        pixels, target = super().show(FROM + step, rng)
        if step % 4 != 3:
            return pixels, target
        rows, cols = SHAPES[step // 4 % len(SHAPES)]
        cells = target.unflatten(1, (GRID, GRID)).movedim(-1, 1)
        return (
            joined(pixels, rows * PATCH_PX, cols * PATCH_PX),
            joined(cells, rows, cols).flatten(2).transpose(1, 2),
        )


def joined(squares: Tensor, rows: int, cols: int) -> Tensor:
    """(batch, channels, n, n) -> (batch / 2, channels, rows, cols), two squares each.

    The first half of the batch gives the left (or upper) part, its last columns (or
    rows); the second half gives the rest, its first.
    """
    if rows > cols:
        return joined(squares.mT, cols, rows).mT
    one, other = squares[:, :, :rows].chunk(2)
    half = cols // 2
    return torch.cat([one[..., -half:], other[..., :half]], -1)
