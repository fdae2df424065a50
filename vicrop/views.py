"""The views used last: how many images' keys and values are kept at once."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from vicrop.view import View


class Views:
    """The views used last, by the caller's own keys; older ones are closed.

    Attributes:
        max_views: how many are kept. Each holds some 0.6 GB of a 7B model in 16 bits.
    """

    def __init__(self, max_views: int = 1):
        if max_views < 1:
            raise ValueError(f"max_views is {max_views}, expected 1 or more")
        self.max_views = max_views
        self._views: OrderedDict[Hashable, View] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], View]) -> View:
        """The view under a key, made if it is not kept."""
        if key not in self._views:
            while len(self._views) >= self.max_views:  # freed before one is made
                self._views.popitem(last=False)[1].close()
            self._views[key] = make()
        self._views.move_to_end(key)
        return self._views[key]

    @property
    def held_bytes(self) -> int:
        """Memory that all of them keep on the model's device, bytes."""
        return sum(view.held_bytes for view in self._views.values())

    def close(self) -> None:
        """Free all of them."""
        while self._views:
            self._views.popitem()[1].close()
