"""The last answer on a connection reaches its client, even one that is still sending.

A socket that is closed with unread bytes resets the connection, and the reset takes away the
answer that the client has not read yet; many clients read nothing before they have sent all.
So after the answer this side ends its own direction, throws away what comes, and closes when
the client does. How much and how long is bounded: a client that goes on beyond that is reset.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ["PAUSE", "LingeringClose"]

PAUSE = 5.0
"""Seconds without a byte after which the connection is closed."""


class LingeringClose:
    """The end of one connection.

    Args:
        loop: that of the connection.
        transport: already written to.
        close: closes the connection for good; called once.
        most_bytes: as many are thrown away.
        longest: seconds that this may take.
    """

    __slots__ = ("_close", "_deadline", "_heard", "_left", "_loop", "_timer")

    def __init__(
        self,
        loop: AbstractEventLoop,
        transport: Any,
        close: Callable[[], object],
        *,
        most_bytes: int,
        longest: float,
    ) -> None:
        self._loop = loop
        self._close = close
        self._left = most_bytes
        self._deadline = monotonic() + longest
        self._heard = False
        self._timer: TimerHandle = loop.call_later(min(PAUSE, longest), self._check_progress)
        if transport.can_write_eof():  # not within TLS; there the length ends the answer
            transport.write_eof()
        transport.resume_reading()

    def discard_bytes(self, size: int) -> None:
        """Bytes came that are of no use."""
        self._heard = True
        self._left -= size
        if self._left < 0:
            self._close_connection()

    def cancel(self) -> None:
        """The connection is closed or lost."""
        self._timer.cancel()

    def _check_progress(self) -> None:
        left = self._deadline - monotonic()
        if not self._heard or left <= 0:
            self._close_connection()
            return
        self._heard = False
        self._timer = self._loop.call_later(min(PAUSE, left), self._check_progress)

    def _close_connection(self) -> None:
        self._timer.cancel()
        self._close()
