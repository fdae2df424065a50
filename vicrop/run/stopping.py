"""Ending a run on a signal, without losing what it is at."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75
"""Exit status of a run that was asked to stop and can go on: EX_TEMPFAIL."""


class Stopped(Exception):
    """The run was asked to stop; what it has is written, and it can go on."""


class Stop:
    """Whether a signal has asked to stop."""

    asked: str | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: the first one asks, the second ends at once."""
        if self.asked is not None:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        said = f"{self.asked}: stopping after this sample; once more stops at once"
        print(said, file=sys.stderr, flush=True)

    def check(self) -> None:
        """End here if a signal has asked for it.

        Raises:
            Stopped: then.
        """
        if self.asked is not None:
            raise Stopped(f"stopped by {self.asked}; run the same again to go on")


@contextmanager
def gently() -> Iterator[Stop]:
    """Let SIGTERM and SIGINT end the body where it calls ``check``."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread is told of signals
        return
    asked = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, stop) for number in asked]
    try:
        yield stop
    finally:
        for number, handler in zip(asked, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Interrupt the body after so many seconds; 0: never.

    What runs inside one call of a library (a kernel on a GPU) ends first.

    Raises:
        TimeoutError: in the body, when the time is over.
    """

    def over(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"took longer than sample_timeout, {seconds:g} s")

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
