"""Images read and decoded before they are asked for."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Ahead(Generic[Key, Value]):
    """Loads what will be asked for, in its order, in threads.

    Decoding lets other threads run, and so does waiting for a disk.

    Attributes:
        load: what is asked for, by its key.
        depth: at most so many wait, loaded.
    """

    def __init__(self, load: Callable[[Key], Value], keys: Iterable[Key], depth: int):
        self.load, self.depth = load, depth
        self._coming = deque(keys)
        self._waiting: dict[Key, Future[Value]] = {}
        self._pool = ThreadPoolExecutor(min(depth, 4), "vicrop-images")
        self._fill()

    def __call__(self, key: Key) -> Value:
        """What is at a key; of one that was not to come, loaded now.

        Raises:
            Exception: what loading it raised.
        """
        future = self._waiting.pop(key, None)
        self._fill()
        return self.load(key) if future is None else future.result()

    def _fill(self) -> None:
        while self._coming and len(self._waiting) < self.depth:
            key = self._coming.popleft()
            self._waiting[key] = self._pool.submit(self.load, key)

    def close(self) -> None:
        """Load no more."""
        self._coming.clear()
        self._pool.shutdown(cancel_futures=True)
