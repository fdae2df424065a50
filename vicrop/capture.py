"""Read attention weights, and their gradients; the only file that touches attention.

The paper needs one row: what the prompt's last token attends to, in one layer. The
model stays under its own attention; the one module that is read gets a copy of its
config that names our function, which sees queries and keys after rotary positions and
after the cache. No hook is registered, and the own config comes back in any case.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

_NAME = "vicrop-reader"
READABLE = ("sdpa", "eager", "flash_attention_2")
"""Attention implementations whose masks are known here."""


class Stop(Exception):
    """Raised inside a forward pass once nothing further is wanted of it."""


def _dispatch(module, *args, **kwargs):
    return module.config._reader(module, *args, **kwargs)


AttentionInterface.register(_NAME, _dispatch)


@contextmanager
def reader(attention: nn.Module, function: Callable) -> Iterator[Callable]:
    """Let ``function`` stand in for one attention module's attention function.

    Yields:
        The function that it stands in for; SDPA where the model is eager.

    Raises:
        RuntimeError: if the module does not go through transformers' attention
            interface, or runs an attention that masks in a way of its own.
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
    named = copy.copy(config)
    named._attn_implementation_internal, named._reader = _NAME, function
    attention.config = named
    try:
        yield ALL_ATTENTION_FUNCTIONS["sdpa" if runs == "eager" else runs]
    finally:
        attention.config = config


def weights(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """What queries attend to: softmax(query · key · scaling), in float32.

    Args:
        query: (batch, heads, queries, head size).
        key: (batch, key heads, keys, head size); fewer heads than queries are shared.
        mask: None, boolean (True: attend) or additive; (batch, 1, queries, keys), or
            as FlashAttention has it, (batch, keys).
        scaling: of the scores.

    Returns:
        (batch, heads, queries, keys), rows that sum to one.
    """
    batch, heads, queries, size = query.shape
    grouped = query.float().reshape(batch, key.shape[1], -1, size)
    scores = (grouped @ key.float().transpose(2, 3)) * scaling
    scores = scores.reshape(batch, heads, queries, -1)
    if mask is not None and mask.ndim == 2:
        mask = mask[:, None, None].bool()
    if mask is not None:
        seen = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if seen else scores + mask
    return scores.softmax(-1)


def last_row(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """What the last query attends to: (batch, heads, keys), as ``weights`` gives it."""
    if mask is not None and mask.ndim == 4:
        mask = mask[:, :, -1:]
    return weights(query[:, :, -1:], key, mask, scaling)[:, :, 0]


def all_rows(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    """What each query attends to, mean over heads: (batch, queries, keys).

    Keys that come after a query are none of its; queries are the last of the keys.
    """
    if mask is None or mask.ndim == 2:
        count, keys = query.shape[2], key.shape[2]
        before = torch.ones(count, keys, dtype=torch.bool, device=query.device)
        causal = before.tril(keys - count)[None, None]
        mask = causal if mask is None else causal & mask[:, None, None].bool()
    return weights(query, key, mask, scaling).mean(1)


class Rows(dict[int, Tensor]):
    """Weights by the module's number: of some queries, or a connector's of all."""

    def __missing__(self, number: int) -> Tensor:
        """Raise a RuntimeError: the model never called that module's attention."""
        raise RuntimeError(
            "the model did not call the attention function that was swapped in, so "
            "there is no row; load it with attn_implementation='sdpa'"
        )


@contextmanager
def read_rows(
    modules: Sequence[nn.Module], stop: bool = True, row: Callable = last_row
) -> Iterator[Rows]:
    """Record the last query's row in each of ``modules`` during the body.

    Args:
        modules: attention modules, in the order in which the model calls them.
        stop: end the body once the last one has been read; what the model would
            have computed above it is not computed.
        row: ``all_rows`` to record those of all queries.
    """
    rows, numbers = Rows(), {module: n for n, module in enumerate(modules)}

    def attend(module, query, key, value, mask, scaling=None, **kwargs):
        rows[numbers[module]] = row(query.detach(), key.detach(), mask, scaling)
        if stop and module is modules[-1]:
            raise Stop
        own = owns[numbers[module]]
        return own(module, query, key, value, mask, scaling=scaling, **kwargs)

    with ExitStack() as stack:
        owns = [stack.enter_context(reader(module, attend)) for module in modules]
        with suppress(Stop):
            yield rows


@contextmanager
def stop_at(attention: nn.Module) -> Iterator[None]:
    """End the body once the module's keys and values are in the cache."""

    def attend(*args, **kwargs):
        raise Stop

    with reader(attention, attend), suppress(Stop):
        yield


@contextmanager
def trace_row(attention: nn.Module) -> Iterator[Rows]:
    """Give the last query's row a gradient: its output is made from the row read."""
    rows = Rows()

    def attend(module, query, key, value, mask, scaling=None, **kwargs):
        row = _with_gradient(last_row(query, key, mask, scaling))
        rows[0] = row
        last = mix(row[:, :, None], value)
        if query.shape[2] == 1:
            return last, None
        others, _ = own(module, query, key, value, mask, scaling=scaling, **kwargs)
        return torch.cat([others[:, :-1], last], 1), None

    with reader(attention, attend) as own:
        yield rows


@contextmanager
def trace_all(attention: nn.Module) -> Iterator[Rows]:
    """Record all weights of a connector's module, whose queries see all keys.

    Its output is made from them, so that they have gradients where those are enabled.
    """
    rows = Rows()

    def attend(module, query, key, value, mask, scaling=None, **kwargs):
        found = weights(query, key, mask, scaling)
        rows[0] = _with_gradient(found) if torch.is_grad_enabled() else found
        return mix(rows[0], value), None

    with reader(attention, attend):
        yield rows


def mix(attention: Tensor, value: Tensor) -> Tensor:
    """Values weighted by attention: (batch, queries, heads, head size)."""
    batch, heads, queries, keys = attention.shape
    grouped = attention.to(value.dtype).reshape(batch, value.shape[1], -1, keys)
    mixed = (grouped @ value).reshape(batch, heads, queries, -1)
    return mixed.transpose(1, 2)


def _with_gradient(tensor: Tensor) -> Tensor:
    """Itself if gradients flow through it, else a leaf at which they end."""
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()


@contextmanager
def last_token_only(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let modules compute the last token alone during the body.

    What they return for the others is the last one's too, so that shapes stay: for the
    last layer's, whose other tokens nobody reads.

    Args:
        modules: that take (batch, tokens, size), each token by itself.
    """
    before = [vars(module).get("forward") for module in modules]
    for module in modules:
        module.forward = _narrowed(module.forward)
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            del module.forward
            if own is not None:  # an instance's own, as some libraries set it
                module.forward = own


def _narrowed(own: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(hidden: Tensor) -> Tensor:
        return own(hidden[:, -1:]).expand(-1, hidden.shape[1], -1)

    return forward
