"""A signal is heard at every moment from the listening on, and obeyed when it can be."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
import uvloop

from vai.gateway.sanic_patches.takeover import StopSignals


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    running = uvloop.new_event_loop()
    yield running
    running.close()


def _tell(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_between_two_runs_of_the_loop_is_not_lost(loop) -> None:
    stops: list[int] = []
    signals = StopSignals(loop, lambda: (stops.append(1), loop.stop()))
    signals.start_listening()
    loop.run_until_complete(asyncio.sleep(0))
    _tell()
    loop.run_until_complete(asyncio.sleep(0.01))  # a start listener is not broken off
    assert stops == []
    signals.stop_server_on_signal()
    loop.run_forever()
    assert stops == [1]


def test_a_signal_stops_a_loop_that_waits(loop) -> None:
    signals = StopSignals(loop, loop.stop)
    signals.start_listening()
    signals.stop_server_on_signal()
    loop.call_later(0.02, _tell)
    late = loop.call_later(5, loop.stop)
    loop.run_forever()
    assert loop.time() < late.when()


def _ends_by(loop, number: int) -> None:
    signals = StopSignals(loop, loop.stop)
    signals.start_listening()
    signals.stop_server_on_signal()
    _tell(number)
    loop.run_forever()


def test_the_second_signal_is_the_default_and_an_interrupt_under_main_none(
    loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ends_by(loop, signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL

    monkeypatch.setenv("SANIC_WORKER_NAME", "Sanic-Server-0-0")
    _ends_by(loop, signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_both_signals_at_once_are_one(loop) -> None:
    stops: list[int] = []
    signals = StopSignals(loop, lambda: (stops.append(1), loop.stop()))
    signals.start_listening()
    signals.stop_server_on_signal()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    _tell(signal.SIGINT)
    _tell(signal.SIGTERM)
    # A complaint of Python's would be an unraisable exception, which fails the test.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    loop.run_forever()
    assert stops == [1]
