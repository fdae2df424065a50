import io
import math
import os
import signal
import threading
import time

import pytest

from vicrop.run import progress
from vicrop.run.progress import (
    Progress,
    Stopped,
    Tally,
    at_most,
    gently,
)
from vicrop.run.records import Record


def record(score):
    error = "ValueError: x" if score is None else None
    return Record(id="a", question="?", labels=("a",), score=score, error=error)


class Terminal(io.StringIO):
    def isatty(self):
        return True


BEFORE = [record(1.0), record(None)]
NONE: dict = {"rel-att": [], "no-crop": []}


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def test_tally_is_the_mean_and_its_interval(rng):
    scores = rng.choice([0, 0.3, 1], 50)
    tally = Tally()
    for score in scores:
        tally.add(record(float(score)))
    tally.add(record(None))
    # Wilson, by hand: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    p, n, z = scores.mean(), 50, 1.959964
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (
        100 * (p + z**2 / (2 * n) + s * half) / (1 + z**2 / n) for s in (-1, 1)
    )
    assert str(tally) == f"{100 * p:.1f} % [{low:.1f}, {high:.1f}]"
    assert (tally.count, tally.errors) == (50, 1)
    assert str(Tally()) == "–"


def test_log_gets_a_line_every_30_seconds_a_first_and_a_last_one(clock):
    out = io.StringIO()
    bar = Progress("a run", 10, {"rel-att": BEFORE}, memory_mb=lambda: 321, out=out)
    for clock[0], score in ((110, 1.0), (129, 0.0), (130, 1.0), (131, None)):
        bar.add("rel-att", record(score))
    bar.close()
    told = "rel-att 75.0 % [30.1, 95.4]"
    assert out.getvalue().splitlines() == [
        "a run: 2/10, rel-att 100.0 % [20.7, 100.0]; 1 errors; 321 MB; ? left",
        f"a run: 5/10, {told}; 1 errors; 321 MB; 00:50 left",
        f"a run: 6/10, {told}; 2 errors; 321 MB; 00:31 left",
    ]


def test_terminal_gets_a_bar():
    out = Terminal()
    bar = Progress("a run", 2, NONE, out=out)
    bar.add("rel-att", record(1.0))
    bar.add("no-crop", record(0.0))
    bar.close()
    assert "2/2" in out.getvalue() and "no-crop 0.0 % [0.0, 79.3]" in out.getvalue()


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()])
def test_nothing_is_said_if_not_asked_for(out, clock):
    bar = Progress("a run", 2, NONE, shown=False, out=out)
    clock[0] += 100
    bar.add("rel-att", record(1.0))
    bar.close()
    assert out.getvalue() == ""


def test_nothing_is_said_in_a_notebook(monkeypatch, clock):
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    out = io.StringIO()
    bar = Progress("a run", 2, NONE, out=out)
    clock[0] += 100
    bar.add("rel-att", record(1.0))
    bar.close()
    assert out.getvalue() == ""


def test_this_is_no_notebook():
    assert not progress.in_notebook()


# Stopped on the way.


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_body_at_its_check(number, capsys):
    with pytest.raises(Stopped, match=f"stopped by {number.name}"), gently() as stop:
        stop.check()
        send(number)
        went_on = True
        stop.check()
    assert went_on
    assert f"{number.name}: stopping after this sample" in capsys.readouterr().err


def test_second_signal_ends_at_once(capsys):
    with pytest.raises(KeyboardInterrupt), gently():
        send(signal.SIGTERM)
        send(signal.SIGINT)
        pytest.fail("went on")


def test_handlers_come_back():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with gently():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_other_thread_is_left_alone():
    found = []

    def body():
        with gently() as stop:
            stop.check()
            found.append(stop.asked)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [None]


def test_time_that_is_over_interrupts():
    with pytest.raises(TimeoutError, match="longer than sample_timeout, 0.05 s"):
        with at_most(0.05):
            time.sleep(5)


@pytest.mark.parametrize("seconds", [0, 60])
def test_no_alarm_is_left_behind(seconds):
    before = signal.getsignal(signal.SIGALRM)
    with at_most(seconds):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before
