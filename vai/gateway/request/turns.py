"""No turn of the loop is long, however many requests arrive at once.

A turn serves all that is ready: with hundreds of busy connections that is a tenth of a second
and more, in which no stream is relayed, no connection accepted and no probe answered. Here a
turn starts a few requests, and the rest start in the next turns in the order of their arrival.
The same work is done as soon; what has a turn's length to wait is the shorter for it.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections import deque

__all__ = ["TurnGate"]

_PER_TURN = 8


class TurnGate:
    """Starts the requests of one loop.

    Args:
        loop: its turns are meant.
        per_turn: requests that one turn starts.
    """

    def __init__(self, loop: AbstractEventLoop, per_turn: int = _PER_TURN) -> None:
        self._loop = loop
        self._per_turn = per_turn
        self._started = 0
        self._waiting: deque[Future[None]] = deque()

    def try_start(self) -> bool:
        """Start a request in this turn if there is room; else `wait_for_turn`."""
        if self._started >= self._per_turn or self._waiting:
            return False
        if not self._started:
            self._loop.call_soon(self._next_turn)
        self._started += 1
        return True

    async def wait_for_turn(self) -> None:
        """Wait for the turn that starts this request."""
        future = self._loop.create_future()
        self._waiting.append(future)
        await future

    def _next_turn(self) -> None:
        self._started = 0
        waiting = self._waiting
        while waiting and self._started < self._per_turn:
            future = waiting.popleft()
            if not future.done():  # its client has left
                future.set_result(None)
                self._started += 1
        if self._started:
            self._loop.call_soon(self._next_turn)
