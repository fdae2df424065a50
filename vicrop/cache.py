"""Keys and values that a language model has computed: branched, cut, weighed."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache


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
    for layer in new.layers:
        if layer.keys is not None:
            layer.keys, layer.values = layer.keys.detach(), layer.values.detach()
    return new


def side_by_side(
    caches: Sequence[DynamicCache],
) -> tuple[DynamicCache, Tensor | None]:
    """Caches as one batch, the shorter ones padded on the left.

    Returns:
        The batch, and (rows, keys) which of its keys are none of the padding; None
        where one cache is branched and there is none.
    """
    new = branch(caches[0])
    if len(caches) == 1:
        return new, None
    longest = max(cache.get_seq_length() for cache in caches)
    for number, layer in enumerate(new.layers):
        own = [cache.layers[number] for cache in caches]
        layer.keys = torch.cat([_padded(one.keys, longest) for one in own])
        layer.values = torch.cat([_padded(one.values, longest) for one in own])
    ones = [torch.ones_like(cache.layers[0].keys[:, 0, :, 0]) for cache in caches]
    mask = [functional.pad(one, (longest - one.shape[1], 0)) for one in ones]
    return new, torch.cat(mask).long()


def _padded(tensor: Tensor, length: int) -> Tensor:
    """(rows, heads, tokens, size) with nothing before it, up to so many tokens."""
    return functional.pad(tensor, (0, 0, length - tensor.shape[2], 0))


def tensors(cache: DynamicCache) -> list[Tensor]:
    """Keys and values of every layer that holds any."""
    held = [layer for layer in cache.layers if layer.keys is not None]
    return [tensor for layer in held for tensor in (layer.keys, layer.values)]


def size(cache: DynamicCache | None) -> int:
    """Memory that a cache's keys and values hold, bytes."""
    held = [] if cache is None else tensors(cache)
    return sum(tensor.numel() * tensor.element_size() for tensor in held)
