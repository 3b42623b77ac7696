"""SIGINT and SIGTERM to a worker are heard before it listens, and none is lost.

Sanic installs its handlers when the socket already listens, so a signal right after the first
answer found none, and ended the process with its streams. They are also handlers of the
loop, and uvloop forgets a signal that comes while it is between two runs: Sanic runs it five
times until it serves. Handlers of the process run at once wherever the process is.

A stop before the loop runs for good would break off what Sanic waits for in that moment (a
RuntimeError and a traceback), so it is kept until then: that is after the start listeners.
"""

from __future__ import annotations

import os
import signal
from asyncio import AbstractEventLoop
from collections.abc import Callable

__all__ = ["StopSignals"]

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """The first signal stops the server in order; a second one ends the process.

    Args:
        loop: that of the server.
        stop: called in the loop, once.
    """

    def __init__(self, loop: AbstractEventLoop, stop: Callable[[], object]) -> None:
        self._loop = loop
        self._stop = stop
        self._came = self._obeyed = False

    def start_listening(self) -> None:
        """From now on a signal is remembered. Call it in the main thread."""
        for number in _STOPPING:
            signal.signal(number, self._on_signal)

    def stop_server_on_signal(self) -> None:
        """From now on, and for one that came already, a signal stops the server."""
        self._obeyed = True
        if self._came:
            self._loop.call_soon(self._end_process)

    def _on_signal(self, *_: object) -> None:
        # The handler stays in place: both signals may have come at once, and Python complains
        # of the second when it finds no handler for it any more.
        if not self._came:
            self._came = True
            if self._obeyed:
                self._loop.call_soon_threadsafe(self._end_process)

    def _end_process(self) -> None:
        # Ctrl-C reaches a worker twice, from the terminal and from main.
        under_main = "SANIC_WORKER_NAME" in os.environ
        signal.signal(signal.SIGINT, signal.SIG_IGN if under_main else signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._stop()
