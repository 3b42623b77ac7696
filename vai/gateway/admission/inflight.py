"""The exchanges that run in this worker.

Invariants: an exchange is counted from its admission until its block ends, however it ends, and
its `on_expire` is called at most once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from vai.errors import Overloaded

__all__ = ["InFlightExchange", "InFlightExchanges"]

_POLL = 0.02


class InFlightExchange:
    """One running exchange. Use it with `with`; it leaves the count when the block ends."""

    __slots__ = ("_expire", "_inflight", "expired")

    def __init__(self, inflight: InFlightExchanges) -> None:
        self._inflight = inflight
        self._expire: Callable[[], object] | None = None
        self.expired = False

    def on_expire(self, callback: Callable[[], object]) -> None:
        """Call `callback` once if the grace ends first; at once if it has ended."""
        self._expire = callback
        if self.expired:
            callback()

    def expire(self) -> None:
        """Expire the exchange, because the grace has ended. A second call does nothing."""
        if not self.expired:
            self.expired = True
            if self._expire is not None:
                self._expire()

    def end(self) -> None:
        """End the exchange. A second call does nothing."""
        self._inflight.end_exchange(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


class InFlightExchanges:
    """The exchanges that run in this worker.

    Args:
        limit: exchanges that may run at once; None for no limit here.
        retry_after: seconds until a refused client may retry.
    """

    def __init__(self, *, limit: int | None = None, retry_after: float = 1.0) -> None:
        self.limit = limit
        self.retry_after = retry_after
        self.refusing = False
        self._slots: set[InFlightExchange] = set()
        self._mirror: Callable[[int], None] = _publish_nowhere

    @property
    def count(self) -> int:
        return len(self._slots)

    def publish_count_to(self, write: Callable[[int], None]) -> None:
        """Call `write` with the count, now and at every change, for other processes."""
        self._mirror = write
        write(self.count)

    def start_exchange(self) -> InFlightExchange:
        """Begin an exchange. Raises Overloaded (`draining` or `worker_full`)."""
        if self.refusing:
            raise Overloaded(
                "The gateway is shutting down", code="draining", retry_after=self.retry_after
            )
        if self.limit is not None and self.count >= self.limit:
            raise Overloaded(
                "Too many requests are running", code="worker_full", retry_after=self.retry_after
            )
        slot = InFlightExchange(self)
        self._slots.add(slot)
        self._mirror(len(self._slots))
        return slot

    def end_exchange(self, slot: InFlightExchange) -> None:
        """End an exchange, as the end of the `with` block does."""
        self._slots.discard(slot)
        self._mirror(len(self._slots))

    def expire_all(self) -> int:
        """Expire all that still run; returns how many there were."""
        slots = list(self._slots)
        for slot in slots:
            slot.expire()
        return len(slots)

    async def wait_until_empty(self, seconds: float) -> bool:
        """Wait until no exchange runs, at most `seconds`; returns whether none runs."""
        # Polled: this happens once in a worker's life, and every exchange would have to
        # update an event.
        deadline = time.monotonic() + seconds
        while self._slots and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        return not self._slots


def _publish_nowhere(count: int) -> None:
    """Do nothing: there is no control block yet."""
