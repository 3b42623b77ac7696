"""What runs in this worker, and how it ends.

The law: work that was begun is finished or told; work that was not begun is refused at
once. There are two endings. When the whole group goes away the worker keeps accepting
and refuses (503, `draining`), so that nobody hangs in a queue that no one reads. When only
this worker is replaced it stops accepting, and the others take what comes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from vai.errors import Overloaded
from vai.io.board import State
from vai.io.process import is_alive

if TYPE_CHECKING:
    from sanic import Sanic

    from vai.gateway.workers import Membership

__all__ = ["TELL_TIME", "InFlight", "Slot", "attach"]

TELL_TIME = 1.0  # seconds after the grace in which the rest is told and let go
_FLUSH_TIME = 0.5  # seconds for answers already written to reach their sockets
_POLL = 0.02
_MAIN_REACTS = 0.1


class Slot:
    """One running exchange. Use it with `with`; it leaves the count when the block ends."""

    __slots__ = ("_expire", "_inflight", "expired")

    def __init__(self, inflight: InFlight) -> None:
        self._inflight = inflight
        self._expire: Callable[[], object] | None = None
        self.expired = False

    def on_expire(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once if the grace ends first; at once if it has ended."""
        self._expire = callback
        if self.expired:
            callback()

    def expire(self) -> None:
        """Tell the exchange that its time is over. A second call does nothing."""
        if not self.expired:
            self.expired = True
            if self._expire is not None:
                self._expire()

    def leave(self) -> None:
        """The exchange is over. A second call does nothing."""
        self._inflight.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


class InFlight:
    """The exchanges that run in this worker.

    Args:
        limit: how many may run at once; None leaves it to the other limits.
        retry_after: seconds that a refused caller is told to wait.
    """

    def __init__(self, *, limit: int | None = None, retry_after: float = 1.0) -> None:
        self.limit = limit
        self.retry_after = retry_after
        self.refusing = False
        self._slots: set[Slot] = set()
        self._mirror: Callable[[int], None] = _nowhere

    @property
    def count(self) -> int:
        return len(self._slots)

    def mirror(self, write: Callable[[int], None]) -> None:
        """Have every change of the count written somewhere others can see it."""
        self._mirror = write
        write(self.count)

    def enter(self) -> Slot:
        """Begin an exchange. Raises Overloaded (`draining` or `worker_full`)."""
        if self.refusing:
            raise Overloaded(
                "The gateway is shutting down", code="draining", retry_after=self.retry_after
            )
        if self.limit is not None and self.count >= self.limit:
            raise Overloaded(
                "Too many requests are running", code="worker_full", retry_after=self.retry_after
            )
        slot = Slot(self)
        self._slots.add(slot)
        self._mirror(self.count)
        return slot

    def leave(self, slot: Slot) -> None:
        """End an exchange; what the end of the `with` block does."""
        self._slots.discard(slot)
        self._mirror(self.count)

    def expire(self) -> int:
        """Tell all that still run that their time is over; returns how many there were."""
        slots = list(self._slots)
        for slot in slots:
            slot.expire()
        return len(slots)

    async def empty(self, seconds: float) -> bool:
        """Wait until nothing runs, at most that long; says whether it came to that."""
        # Polled: this happens once in a worker's life, and an event would have to be kept
        # right by every exchange for it.
        deadline = time.monotonic() + seconds
        while self._slots and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)
        return not self._slots


def _nowhere(count: int) -> None:
    """No board yet: the count stays in this process."""


def attach(app: Sanic[Any, Any], inflight: InFlight, *, grace: float = 30.0) -> None:
    """Drain before Sanic closes anything.

    Call it after the routes: stop listeners run in reverse, and the one that cancels
    WebSocket handlers is registered with the first WebSocket route.

    Args:
        grace: seconds that running exchanges are given.
    """
    ending: dict[str, float] = {}

    async def drain(app: Sanic[Any, Any]) -> None:
        # Sanic may run this twice when a signal interrupts it; the time runs from the first.
        deadline = ending.setdefault("deadline", time.monotonic() + grace)
        await _drain(app, inflight, deadline)

    app.before_server_stop(drain)


async def _drain(app: Sanic[Any, Any], inflight: InFlight, deadline: float) -> None:
    member: Membership = app.ctx.membership
    serving = app.ctx.serving
    member.enter(State.DRAINING)
    # Alone (single process) the worker is the group.
    whole_group = member.row.number < 0 or await _group_ends(member)
    inflight.refusing = whole_group
    serving.last_requests()
    if not whole_group:
        serving.stop_accepting()
    if not await inflight.empty(deadline - time.monotonic()):
        inflight.expire()
        await inflight.empty(TELL_TIME)
    member.enter(State.STOPPED)
    if whole_group and not _others_accept(member):
        serving.refuse_connections()
    serving.stop_accepting()
    await serving.flushed(_FLUSH_TIME)
    # Sanic now waits for whatever is open; those were told already.
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = 0.2


async def _group_ends(member: Membership) -> bool:
    """Whether main is going too. A signal to all processes may reach this one first."""
    if not member.board.draining:
        await asyncio.sleep(_MAIN_REACTS)
    return member.board.draining


def _others_accept(member: Membership) -> bool:
    accepting = (State.STARTING, State.SERVING, State.DRAINING)
    return any(
        row.state in accepting and row.owner.pid != os.getpid() and is_alive(row.owner)
        for row in member.board.taken()
    )
