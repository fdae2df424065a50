"""Keys and values that a language model has computed: branched, cut, weighed."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache


def _layers(cache: DynamicCache) -> list[Any]:
    """Its layers: their class is the model's choice, all have keys and values."""
    return cache.layers


def branch(cache: DynamicCache) -> DynamicCache:
    """A second cache on the same tensors; growing it leaves the first as it is."""
    new = copy.copy(cache)
    # A layer concatenates into a new tensor when it grows, so tensors can be shared.
    new.layers = [copy.copy(layer) for layer in cache.layers]
    return new


def without_last(cache: DynamicCache) -> DynamicCache:
    """A branch that has yet to see the last token."""
    new = branch(cache)
    new.crop(-1)  # of transformers 5: the number of tokens to take away
    return new


def detached(cache: DynamicCache) -> DynamicCache:
    """A branch that keeps no graph alive."""
    new = branch(cache)
    for layer in _layers(new):
        if layer.keys is not None:
            layer.keys, layer.values = layer.keys.detach(), layer.values.detach()
    return new


def side_by_side(
    caches: Sequence[DynamicCache], depth: int | None = None
) -> tuple[DynamicCache, Tensor | None]:
    """Caches as one batch, the shorter ones padded on the left.

    Args:
        caches: of any lengths.
        depth: layers that are wanted of several; None for all.

    Returns:
        The batch, and (rows, keys) which of its keys are none of the padding; None
        where one cache is branched and there is none.
    """
    new = branch(caches[0])
    if len(caches) == 1:
        return new, None
    new.layers = new.layers[:depth]
    for number, layer in enumerate(_layers(new)):
        own = [_layers(cache)[number] for cache in caches]
        layer.keys = batch([one.keys for one in own], -2)
        layer.values = batch([one.values for one in own], -2)
    ones = [torch.ones_like(_layers(cache)[0].keys[:, 0, :, 0]) for cache in caches]
    return new, batch(ones, -1).long()


def batch(
    tensors: Iterable[Tensor], tokens: int, rows: int = 0, after: bool = False
) -> Tensor:
    """Tensors as one batch, padded with zeros to the longest; one alone as it is.

    Args:
        tensors: of any numbers of rows and tokens.
        tokens: their axis, counted from the end.
        rows: axis of the rows.
        after: whether the padding comes after the tokens.
    """
    tensors, padded = list(tensors), []
    if len(tensors) == 1:
        return tensors[0]
    longest = max(one.shape[tokens] for one in tensors)
    for one in tensors:
        short = longest - one.shape[tokens]
        sides = (0, short) if after else (short, 0)
        padded.append(functional.pad(one, (0, 0) * (-tokens - 1) + sides))
    return torch.cat(padded, rows)


@dataclass(frozen=True)
class Cut:
    """One prompt's place in a padded batch.

    Attributes:
        rows: of the batch.
        keys: its stretches of the batch's keys, between which is padding.
    """

    rows: slice
    keys: tuple[slice, ...]

    def of(self, tensor: Tensor) -> Tensor:
        """(rows, heads, keys, …) without padding, in memory of its own."""
        return torch.cat([tensor[self.rows, :, keys] for keys in self.keys], 2)


def cuts(rows: Sequence[int], *stretches: Sequence[int]) -> list[Cut]:
    """Where each prompt is in a batch whose stretches are padded on the left.

    Args:
        rows: of each prompt.
        stretches: for each stretch of the batch, how much of it each prompt has.
    """
    last, ends = list(accumulate(rows)), list(accumulate(map(max, stretches)))
    return [
        Cut(
            slice(stop - count, stop),
            tuple(
                slice(end - length, end) for end, length in zip(ends, own, strict=True)
            ),
        )
        for count, stop, *own in zip(rows, last, *stretches, strict=True)
    ]


def parted(tensor: Tensor, places: Sequence[Cut]) -> list[Tensor]:
    """A batch's (rows, heads, keys, …) each by itself, as ``Cut.of`` gives it."""
    return [tensor] if len(places) == 1 else [place.of(tensor) for place in places]


def apart(cache: DynamicCache, places: Sequence[Cut]) -> list[DynamicCache]:
    """A batch's caches each by itself, without padding, in memory of its own.

    Args:
        cache: of the batch; emptied layer by layer, so that none is held twice.
        places: of each.
    """
    if len(places) == 1:  # a batch of one has no padding
        return [cache]
    each = [branch(cache) for _ in places]
    for number, layer in enumerate(_layers(cache)):
        if layer.keys is None:  # above the last layer that was run
            continue
        for one, place in zip(each, places, strict=True):
            own = _layers(one)[number]
            own.keys, own.values = place.of(layer.keys), place.of(layer.values)
        layer.keys = layer.values = None
    return each


def tensors(cache: DynamicCache) -> list[Tensor]:
    """Keys and values of every layer that holds any."""
    held = [layer for layer in _layers(cache) if layer.keys is not None]
    return [tensor for layer in held for tensor in (layer.keys, layer.values)]


def size(cache: DynamicCache | None) -> int:
    """Memory that a cache's keys and values hold, bytes."""
    return 0 if cache is None else sum(tensor.nbytes for tensor in tensors(cache))
