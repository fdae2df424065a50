import os
import signal
import threading
import time

import pytest

from vicrop.run.stopping import Stopped, at_most, gently


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
