"""Read attention weights, and their gradients; the only file that touches attention.

The model stays under SDPA: one attention module at a time gets a copy of its config
that names our function, which sees queries and keys after rotary positions and after
the cache. No hook is registered, and the module's own config comes back in any case.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import AttentionInterface

_NAME = "vicrop-reader"
READABLE = ("sdpa", "eager")
"""Attention implementations whose masks are explicit, or causal from the first key."""


class Stop(Exception):
    """Raised inside a forward pass once nothing further is wanted of it."""


def _dispatch(module, query, key, value, mask, **kwargs):
    return module.config._reader(module, query, key, value, mask, **kwargs)


AttentionInterface.register(_NAME, _dispatch)


@contextmanager
def reader(attention: nn.Module, function: Callable) -> Iterator[None]:
    """Let ``function`` stand in for one attention module's attention function.

    Raises:
        RuntimeError: if the module has no config to copy, as where a model does not
            go through transformers' attention interface, or runs another attention
            than SDPA or eager: those mask in ways of their own.
    """
    config = getattr(attention, "config", None)
    if config is None:
        raise RuntimeError(
            f"{type(attention).__name__} does not go through transformers' attention "
            "interface, so its attention cannot be read; use a stock model class"
        )
    runs = getattr(config, "_attn_implementation", None)
    if runs not in READABLE:
        raise RuntimeError(
            f"attention cannot be read under attn_implementation={runs!r}; load the "
            f"model with one of {', '.join(READABLE)}"
        )
    attention.config = copy.copy(config)
    attention.config._attn_implementation_internal = _NAME
    attention.config._reader = function
    try:
        yield
    finally:
        attention.config = config


def weights(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """What queries attend to.

    Args:
        query: (batch, heads, queries, head size).
        key: (batch, key heads, keys, head size); fewer heads than queries are shared.
        mask: None, boolean (True: attend) or additive; (batch, 1, queries, keys).
        scaling: of the scores.

    Returns:
        (batch, heads, queries, keys) float32, rows that sum to one.
    """
    batch, heads, queries, size = query.shape
    shared = key.shape[1]
    grouped = query.float().reshape(batch, shared, -1, size)
    scores = (grouped @ key.float().transpose(2, 3)) * scaling
    scores = scores.reshape(batch, heads, queries, -1)
    if mask is not None:
        seen = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if seen else scores + mask
    return scores.softmax(-1)


def last_row(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """What the last query attends to: (batch, heads, keys), as ``weights`` gives it."""
    mask = None if mask is None else mask[:, :, -1:]
    return weights(query[:, :, -1:], key, mask, scaling)[:, :, 0]


@dataclass
class Rows:
    """Weights that were read: ``values[i]`` of the i-th module.

    A language model's are (batch, heads, keys), of the last query alone; a connector's
    are (batch, heads, queries, keys).
    """

    values: dict[int, Tensor] = field(default_factory=dict)

    def __getitem__(self, number: int) -> Tensor:
        """The weights of a module.

        Raises:
            RuntimeError: if the model never called that module's attention.
        """
        if number not in self.values:
            raise RuntimeError(
                "the model did not call the attention function that was swapped in, "
                "so there is no row; it must go through transformers' attention "
                "interface (attn_implementation 'sdpa' or 'eager')"
            )
        return self.values[number]


@contextmanager
def read_rows(modules: Sequence[nn.Module], stop: bool = True) -> Iterator[Rows]:
    """Record the last query's row in each of ``modules`` during the body.

    Args:
        modules: attention modules, in the order in which the model calls them.
        stop: end the body once the last one has been read; what the model would
            have computed above it is not computed.
    """
    rows = Rows()

    def reading(number: int, final: bool) -> Callable:
        """The stand-in for the module of that number."""

        def attend(module, query, key, value, mask, scaling=None, **kwargs):
            rows.values[number] = last_row(query, key, mask, scaling)
            if final:
                raise Stop
            return sdpa_attention_forward(
                module, query, key, value, mask, scaling=scaling, **kwargs
            )

        return attend

    with ExitStack() as stack:
        for number, module in enumerate(modules):
            final = stop and number == len(modules) - 1
            stack.enter_context(reader(module, reading(number, final)))
        with suppress(Stop):
            yield rows


@contextmanager
def trace_row(attention: nn.Module) -> Iterator[Rows]:
    """Give the last query's row a gradient: its output is made from the row read.

    The other queries go through SDPA.
    """
    rows = Rows()

    def attend(module, query, key, value, mask, scaling=None, **kwargs):
        row = _with_gradient(last_row(query, key, mask, scaling))
        rows.values[0] = row
        last = mix(row[:, :, None], value)
        if query.shape[2] == 1:
            return last, None
        others, _ = sdpa_attention_forward(
            module, query, key, value, mask, scaling=scaling, **kwargs
        )
        return torch.cat([others[:, :-1], last], 1), None

    with reader(attention, attend):
        yield rows


@contextmanager
def trace_all(attention: nn.Module) -> Iterator[Rows]:
    """Record all weights of a module, (batch, heads, queries, keys).

    Its output is made from them, so that they have gradients where those are enabled.
    """
    rows = Rows()

    def attend(module, query, key, value, mask, scaling=None, **kwargs):
        found = weights(query, key, mask, scaling)
        rows.values[0] = _with_gradient(found) if torch.is_grad_enabled() else found
        return mix(rows.values[0], value), None

    with reader(attention, attend):
        yield rows


def mix(attention: Tensor, value: Tensor) -> Tensor:
    """Values weighted by attention, in the layout that attention modules expect.

    Args:
        attention: (batch, heads, queries, keys).
        value: (batch, key heads, keys, head size).

    Returns:
        (batch, queries, heads, head size).
    """
    batch, heads, queries, keys = attention.shape
    grouped = attention.to(value.dtype).reshape(batch, value.shape[1], -1, keys)
    mixed = (grouped @ value).reshape(batch, heads, queries, -1)
    return mixed.transpose(1, 2)


def _with_gradient(tensor: Tensor) -> Tensor:
    """Itself if gradients flow through it, else a leaf at which they end."""
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()


def branch(cache: DynamicCache) -> DynamicCache:
    """A second cache on the same tensors; growing it leaves the first as it is."""
    new = copy.copy(cache)
    # A layer concatenates into a new tensor when it grows, so tensors can be shared.
    new.layers = [copy.copy(layer) for layer in cache.layers]
    return new


def cache_bytes(cache: DynamicCache) -> int:
    """Memory that a cache's keys and values hold, bytes."""
    return sum(
        tensor.numel() * tensor.element_size()
        for layer in cache.layers
        for tensor in (layer.keys, layer.values)
    )
