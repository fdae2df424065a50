"""Run what treats each token by itself on the one token that is read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


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
