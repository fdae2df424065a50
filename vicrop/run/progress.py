"""How far a run is, told as it goes on, and how it is stopped on its way."""

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from tqdm import tqdm

from vicrop.run.records import Record
from vicrop.types import printable

LOG_SECONDS = 30.0


class Tally:
    """Scores of one run so far."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records, self.count, self.sum, self.errors = 0, 0, 0.0, 0
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Count a record."""
        self.records += 1
        self.errors += record.error is not None
        if record.score is not None:
            self.count += 1
            self.sum += record.score

    def __str__(self) -> str:
        """The mean with its 95 % interval (Wilson's, near it for soft scores)."""
        if not self.count:
            return "–"
        from vicrop.run import stats  # loads much, for one number

        found = stats.wilson(self.sum, self.count).format(1, scale=100)
        return found.replace(" ", " % ", 1)


class _Lines(tqdm):
    """A bar that is not drawn over itself: a plain line each time."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        print(self, file=self.fp, flush=True)


class Progress:
    """Counts records, and says how far a run is.

    On a terminal a bar, elsewhere a plain line every 30 seconds; in a notebook nothing,
    for it would stay in the page.

    Args:
        name: of the run.
        total: samples.
        before: records that are there already, of each run by what it is called.
        shown: whether anything is said.
        memory_mb: most memory used so far, MB.
        out: where to; None for stderr.

    Attributes:
        tallies: of each run, by what it is called; records of before count too.
    """

    def __init__(
        self,
        name: str,
        total: int,
        before: Mapping[str, Iterable[Record]],
        shown: bool = True,
        memory_mb: Callable[[], int] = lambda: 0,
        out: TextIO | None = None,
    ):
        self.memory_mb, out = memory_mb, out or sys.stderr
        self.tallies = {label: Tally(records) for label, records in before.items()}
        how: dict[str, Any] = {}
        quiet = not shown or in_notebook()
        if not out.isatty():
            line = "{desc}: {n_fmt}/{total_fmt}{postfix}; {remaining} left"
            how = {"mininterval": LOG_SECONDS, "bar_format": line, "leave": False}
        self._bar = (_Lines if how else tqdm)(
            desc=printable(name),
            total=total,
            initial=sum(tally.records for tally in self.tallies.values()),
            file=out,
            disable=quiet,
            postfix="" if quiet else self.said(),
            miniters=1,
            smoothing=0,
            **how,
        )

    def add(self, label: str, record: Record) -> None:
        """Count a record of the run that is called so."""
        self.tallies[label].add(record)
        if not self._bar.disable:
            self._bar.set_postfix_str(self.said(), refresh=False)
        self._bar.update()

    def said(self) -> str:
        """Accuracy so far of each run, errors and memory."""
        scores = ", ".join(f"{label} {tally}" for label, tally in self.tallies.items())
        errors = sum(tally.errors for tally in self.tallies.values())
        return f"{scores or '–'}; {errors} errors; {self.memory_mb()} MB"

    def close(self) -> None:
        """Say the last of it."""
        self._bar.close()


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell else None
    return found is not None and hasattr(found, "kernel")


ASKED_TO_END = (KeyboardInterrupt, SystemExit)
"""What ends a run at once; all else that a sample raises is that sample's failure."""


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
