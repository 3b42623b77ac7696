"""The keep-alive connections to one origin: a bounded number, reused last in, first out.

Invariants: every slot counted in `open` belongs to exactly one connection: one being made, one in
use, an idle one, or one being torn down. Only the loss of the connection frees the slot. So no
phase of a cancellation makes the count wrong: no task has to report its end to the pool.

Last in, first out reuses the warm connections and lets the rest reach the idle timeout.
The pool serves waiters first in, first out. All steps are O(1). The pool does not use httpcore,
which scans its connections at every step and passes one idle connection to several waiters.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from socket import SOCK_STREAM
from typing import NamedTuple

import msgspec

from vai.io.http.connection import UpstreamConnection
from vai.io.http.failures import error_from_connect, timeout_error, unreachable_error
from vai.io.http.head import Origin
from vai.io.http.tls import TlsContext
from vai.policy.hosts import is_address

__all__ = ["Pool", "PoolLimits", "PoolStats"]


LINGER = 1.0
"""Seconds by which the end of a response may follow its last event."""


class PoolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a pool, per origin."""

    max_connections: int = 1000
    """Open at once. Further requests wait, at most until their connect deadline."""
    max_idle: int = 1000
    """Idle connections that the pool keeps."""
    max_waiting: int = 10_000
    """Requests that wait for a connection at once. One more fails as after a wait in vain."""
    keepalive_idle: float = 30.0
    """Seconds that the pool keeps an idle connection. Shorter than what servers use (60 s and
    more), so that the pool closes it before a request meets one that the server has closed."""


class PoolStats(NamedTuple):
    """Connections of a pool: all, those of them that are idle, and requests that wait for one."""

    open: int
    idle: int
    waiting: int


class Pool:
    """The connections to one origin, on the running loop."""

    def __init__(self, origin: Origin, tls: TlsContext | None, limits: PoolLimits) -> None:
        self._origin = origin
        self._is_address = is_address(origin.host)
        self._tls = tls
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._open = 0
        self._closed = False
        self._all: set[UpstreamConnection] = set()
        # Ordered dicts serve as lists from whose middle an entry is removed in O(1).
        self._idle: dict[UpstreamConnection, float] = {}
        self._waiters: dict[asyncio.Future[UpstreamConnection | None], None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None

    def get_stats(self) -> PoolStats:
        """How full the pool is."""
        return PoolStats(self._open, len(self._idle), len(self._waiters))

    @property
    def is_empty(self) -> bool:
        """Whether no connection is open and no request waits."""
        return not self._open and not self._waiters

    async def acquire(self, wait_until: float, connect_deadline: float) -> UpstreamConnection:
        """A connection for one exchange: idle, new, or the next one that is released.

        The caller must call `release` on every exit.

        Raises:
            UpstreamTimeout: ``pool_timeout`` or ``connect_timeout``.
            UpstreamUnreachable: no connection can be made, or the pool is closed.
        """
        while True:
            if self._closed:
                raise unreachable_error("upstream_closed")
            while self._idle:
                connection = self._idle.popitem()[0]
                if not connection.closed:
                    return connection
            if self._open < self._limits.max_connections:
                self._open += 1
                return await self._open_connection(connect_deadline)
            granted = await self._wait_for_connection(wait_until)
            if granted is None:
                return await self._open_connection(connect_deadline)
            if not granted.closed:
                return granted
            # It died after it was handed over; its slot is free again.

    def release(self, connection: UpstreamConnection) -> None:
        """Return a connection: pass it to the next waiter, keep it idle, or drop it."""
        if self._closed or not connection.is_reusable:
            connection.abort()
            return
        if self._tls is not None:
            self._tls.remember_session(self._origin.host, connection.get_tls_session())
        connection.mark_idle()
        self._hand_over(connection)

    def release_when_complete(self, connection: UpstreamConnection) -> None:
        """Return a connection whose reader knows that the response is complete.

        The last chunk of an event stream often arrives one packet after the last event.
        Dropping the connection then would cost the next request a TLS handshake, so the pool
        waits `LINGER` seconds for that chunk.
        """
        if connection.complete or connection.closed or self._closed:
            self.release(connection)
            return
        timer = self._loop.call_later(LINGER, connection.abort)

        def release(connection: UpstreamConnection) -> None:
            timer.cancel()
            self.release(connection)

        connection.call_when_complete(release)

    def _hand_over(self, connection: UpstreamConnection) -> None:
        if connection.closed:
            return
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(connection)
        elif len(self._idle) >= self._limits.max_idle or self._closed:
            connection.abort()
        else:
            self._idle[connection] = self._loop.time()
            if self._sweeper is None:
                self._schedule_sweep(self._limits.keepalive_idle)

    async def aclose(self) -> None:
        """Abort all connections and wait until their sockets are closed. Waiters get an error."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(unreachable_error("upstream_closed"))
        for connection in tuple(self._all):
            connection.abort()
        if self._all:
            self._emptied = self._emptied or self._loop.create_future()
            await self._emptied

    # -- slots -------------------------------------------------------------------------

    async def _wait_for_connection(self, until: float) -> UpstreamConnection | None:
        """Wait in line: a connection, or None for a slot to make one in."""
        if len(self._waiters) >= self._limits.max_waiting:
            raise timeout_error("pool_timeout")
        waiter: asyncio.Future[UpstreamConnection | None] = self._loop.create_future()
        self._waiters[waiter] = None
        timer = None
        if until < math.inf:
            timer = self._loop.call_at(until, self._expire_waiter, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # What was granted in the same turn of the loop goes to the next in line.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                granted = waiter.result()
                if granted is None:
                    self._free_slot()
                else:
                    self._hand_over(granted)
            raise
        finally:
            self._waiters.pop(waiter, None)
            if timer is not None:
                timer.cancel()

    def _expire_waiter(self, waiter: asyncio.Future[UpstreamConnection | None]) -> None:
        if not waiter.done():
            self._waiters.pop(waiter, None)
            waiter.set_exception(timeout_error("pool_timeout"))

    def _next_waiter(self) -> asyncio.Future[UpstreamConnection | None] | None:
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if not waiter.done():
                return waiter
        return None

    def _free_slot(self) -> None:
        waiter = None if self._closed else self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)  # the waiter gets the slot; `open` stays
        else:
            self._open -= 1

    def _on_connection_lost(self, connection: UpstreamConnection) -> None:
        self._idle.pop(connection, None)
        self._all.discard(connection)
        self._free_slot()
        if self._emptied is not None and not self._all and not self._emptied.done():
            self._emptied.set_result(None)

    # -- connections -------------------------------------------------------------------

    async def _open_connection(self, until: float) -> UpstreamConnection:
        """Make a connection in a slot already counted; free the slot on failure."""
        connection = UpstreamConnection(self._loop)
        try:
            await self._open_socket(connection, until)
            if self._closed:
                raise unreachable_error("upstream_closed")
        except BaseException:
            # Freed here for good: if the transport comes up later, its connection is closed
            # already, and aborts it without being counted.
            connection.abort()
            self._free_slot()
            raise
        self._all.add(connection)
        connection.set_lost_callback(self._on_connection_lost)
        return connection

    async def _open_socket(self, connection: UpstreamConnection, until: float) -> None:
        failure: OSError | None = None
        deadline = asyncio.timeout_at(None if until == math.inf else until)
        try:
            async with deadline:
                for address in await self._resolve_addresses():
                    failure = await self._try_address(connection, address)
                    if failure is None or isinstance(failure, ssl.SSLError):
                        break
        except OSError as error:
            failure = error
        # Raised outside the handler, so that ours has no foreign exception as its context.
        if deadline.expired():
            raise timeout_error("connect_timeout")
        if failure is not None:
            raise error_from_connect(failure)
        if connection.closed:
            raise unreachable_error("upstream_reset")

    async def _resolve_addresses(self) -> list[str]:
        """The origin's addresses, in the resolver's order.

        The pool looks them up because uvloop's `create_connection`, when cancelled, leaves a
        look-up behind whose failure the loop then logs as an error.

        Raises:
            OSError: the name is unknown, or the resolver is unreachable.
        """
        host = self._origin.host
        if self._is_address:
            return [host]
        results = await self._loop.getaddrinfo(host, self._origin.port, type=SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in results))

    async def _try_address(self, connection: UpstreamConnection, address: str) -> OSError | None:
        """Connect to one address; returns why it failed."""
        try:
            await self._loop.create_connection(
                lambda: connection,
                address,
                self._origin.port,
                ssl=self._tls,
                server_hostname=self._origin.host if self._tls is not None else None,
            )
        except OSError as error:
            return error
        return None

    # -- idle --------------------------------------------------------------------------

    def _schedule_sweep(self, delay: float) -> None:
        self._sweeper = self._loop.call_later(max(delay, 0.001), self._close_expired)

    def _close_expired(self) -> None:
        """Close connections that have been idle too long; the oldest come first."""
        self._sweeper = None
        expiry = self._loop.time() - self._limits.keepalive_idle
        expired = []
        for connection, since in self._idle.items():
            if since > expiry:
                self._schedule_sweep(since - expiry)
                break
            expired.append(connection)
        for connection in expired:
            del self._idle[connection]
            connection.abort()
