"""SIGHUP to the first process: heard before anybody can find it, and answered when it can be."""

from __future__ import annotations

import signal
from collections.abc import Callable

__all__ = ["SighupListener"]


class SighupListener:
    """What the first process does on SIGHUP."""

    def __init__(self) -> None:
        self._came = False
        self._answer: Callable[[], None] | None = None

    def start_listening(self) -> None:
        """From now on SIGHUP does not end this process. Call it in the main thread."""
        signal.signal(signal.SIGHUP, self._on_signal)

    def handle_with(self, answer: Callable[[], None]) -> None:
        """Have each one answered, and one that has come already."""
        self._answer = answer
        if self._came:
            answer()

    def _on_signal(self, *_: object) -> None:
        self._came = True
        if self._answer is not None:
            self._answer()
