"""A start is judged by processor time: throttled is not hung, busy for ever is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vai.io.process import StartWatch, cpu_seconds, identify_process, is_alive

SPIN = "while True: pass"
SLEEP = "import time; time.sleep(60)"


@contextmanager
def _child(program: str) -> Iterator[int]:
    child = subprocess.Popen([sys.executable, "-c", program])
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def _complaint(watch: StartWatch, seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if text := watch.give_up_reason():
            return text
        time.sleep(0.02)
    return ""


def test_a_throttled_process_gets_on() -> None:
    with _child(SPIN) as pid:
        watch = StartWatch(pid, patience=1.0)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:  # a tenth of a core
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.18)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.02)
            assert watch.give_up_reason() == ""


def test_a_process_that_does_nothing_is_given_up() -> None:
    with _child(SLEEP) as pid:
        time.sleep(0.5)
        assert "did nothing for" in _complaint(StartWatch(pid, patience=0.5), 5)


def test_a_stopped_process_is_given_up() -> None:
    with _child(SPIN) as pid:
        os.kill(pid, signal.SIGSTOP)
        assert "did nothing for" in _complaint(StartWatch(pid, patience=0.5), 5)


def test_a_process_that_spins_is_given_up() -> None:
    with _child(SPIN) as pid:
        assert "of processor time" in _complaint(StartWatch(pid, patience=0.5), 20)


def test_time_in_which_the_watcher_slept_does_not_count() -> None:
    with _child(SLEEP) as pid:
        watch = StartWatch(pid, patience=0.2)
        time.sleep(0.4)
        watch.give_up_reason()
        assert watch.give_up_reason(awake_since=time.monotonic()) == ""


def test_what_is_gone_has_no_time_and_no_life() -> None:
    with _child(SLEEP) as pid:
        assert cpu_seconds(pid) is not None
        who = identify_process(pid)
        assert is_alive(who)
    assert cpu_seconds(pid) is None
    assert not is_alive(who)
    assert identify_process(pid).start == 0
