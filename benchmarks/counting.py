"""FLOPs and peak memory of whatever is called, from its shapes alone.

Both watch every operation of torch, so that they work on the meta device, where tensors
have shapes and no numbers: a 7B model is counted in seconds.
"""

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


@dataclass
class Flops:
    """Floating point operations, a multiplication with its addition as two.

    Attributes:
        dense: matrix products and convolutions.
        full: attention, every query with every key.
        causal: attention, queries with the keys that they may see.
    """

    dense: int = 0
    full: int = 0
    causal: int = 0


class Counter(TorchDispatchMode):
    """Adds up the FLOPs of every matrix product and convolution.

    torch's own ``FlopCounterMode`` fails on gradients to a leaf, which the maps take.
    """

    def __init__(self, flops: Flops):
        super().__init__()
        self.flops = flops

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, packet = kwargs or {}, func._overloadpacket
        if packet not in flop_registry and _is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        made = func(*args, **kwargs)
        if packet in flop_registry:
            self.flops.dense += flop_registry[packet](*args, **kwargs, out_val=made)
        return made


@functools.cache
def _is_composite(func: torch._ops.OpOverload) -> bool:
    """Whether an operation is made of others, which are what counts."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return func.has_kernel_for_dispatch_key(key)


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside have held at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        before = {self._key(leaf) for leaf in tree_leaves((args, kwargs or {}))}
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and self._key(leaf) not in before:
                self._add(leaf.untyped_storage())
        return made

    def _key(self, leaf: object) -> int | None:
        return leaf.untyped_storage()._cdata if isinstance(leaf, Tensor) else None

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


class _Attention(torch.autograd.Function):
    """Attention's shapes and cost; nothing is computed, no weights are made."""

    @staticmethod
    def forward(ctx, query, key, value, causal, flops):
        batch, heads, queries, size = query.shape
        keys = key.shape[2]
        seen = queries * keys - (queries * (queries - 1) // 2 if causal else 0)
        pair = 4 * batch * heads * size
        ctx.cost, ctx.flops = (pair * queries * keys, pair * seen), flops
        ctx.like = query, key, value
        flops.full += ctx.cost[0]
        flops.causal += ctx.cost[1]
        return query.new_empty(batch, queries, heads, size)

    @staticmethod
    def backward(ctx, gradient):
        # Five products for two: four gradients, and the weights again.
        ctx.flops.full += ctx.cost[0] * 5 // 2
        ctx.flops.causal += ctx.cost[1] * 5 // 2
        return *(torch.empty_like(one) for one in ctx.like), None, None


@contextmanager
def fused_attention(flops: Flops) -> Iterator[None]:
    """Let SDPA be counted and not run, as a fused kernel that keeps no weights."""

    def attend(module: nn.Module, query, key, value, attention_mask=None, **kwargs):
        causal = bool(getattr(module, "is_causal", False))
        return _Attention.apply(query, key, value, causal, flops), None

    no_mask = {name: lambda *args, **kwargs: None for name in ("sdpa", "eager")}
    with (
        mock.patch.dict(ALL_ATTENTION_FUNCTIONS, {"sdpa": attend}),
        mock.patch.dict(ALL_MASK_ATTENTION_FUNCTIONS, no_mask),
    ):
        yield


def flops_on_meta(call: Callable[[], object]) -> Flops:
    """FLOPs of a call on a model without weights.

    Under SDPA, attention is counted apart, both ways. Under eager attention its full
    products are really made: they are among the dense ones.
    """
    flops = Flops()
    with fused_attention(flops), Counter(flops):
        call()
    return flops


def flops(call: Callable[[], object]) -> int:
    """FLOPs of a call that is really made, attention in full."""
    counted = Flops()
    with Counter(counted):
        call()
    return counted.dense


def peak_bytes(call: Callable[[], object]) -> int:
    """Most bytes that a call's tensors held at one time."""
    with Peak() as peak:
        call()
    return peak.most


def peak_bytes_on_meta(call: Callable[[], object]) -> int:
    """The same of a model without weights, attention fused."""
    with fused_attention(Flops()):
        return peak_bytes(call)
