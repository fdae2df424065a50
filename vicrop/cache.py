"""Keys and values that a language model has computed: branched, cut, weighed."""

import copy

from torch import Tensor
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


def tensors(cache: DynamicCache) -> list[Tensor]:
    """Keys and values of every layer that holds any."""
    held = [layer for layer in cache.layers if layer.keys is not None]
    return [tensor for layer in held for tensor in (layer.keys, layer.values)]


def size(cache: DynamicCache | None) -> int:
    """Memory that a cache's keys and values hold, bytes."""
    held = [] if cache is None else tensors(cache)
    return sum(tensor.numel() * tensor.element_size() for tensor in held)
