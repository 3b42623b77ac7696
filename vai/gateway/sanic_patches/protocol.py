"""Sanic's two connection protocols with the repairs in them.

These classes combine the repairs of a connection: the guard of the head, the deadlines, the
socket options, the orderly end. The repairs import no protocol class; each declares the methods
of a connection that it uses.

The last response on a connection reaches its client, even one that is still sending. A socket
that is closed with unread bytes resets the connection, and the reset discards the response that
the client has not read yet; many clients read nothing before they have sent all. So after the
response this side ends its own direction, discards the bytes received, and closes when the client
does. Bytes and time are bounded: this side resets a client that goes on beyond that.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, BaseTransport, Event, Future, TimerHandle
from collections.abc import Callable
from time import monotonic
from typing import Any

from sanic.exceptions import RequestCancelled
from sanic.http import Stage
from sanic.server.protocols.http_protocol import HttpProtocol
from sanic.server.protocols.websocket_protocol import WebSocketProtocol

from vai.gateway.sanic_patches import sockets
from vai.gateway.sanic_patches.body import ReceivingHttp
from vai.gateway.sanic_patches.deadlines import Deadlines
from vai.gateway.sanic_patches.handling import handle_request

__all__ = [
    "PAUSE",
    "LingeringClose",
    "PatchedHttpProtocol",
    "PatchedProtocol",
    "PatchedWebSocketProtocol",
    "patched_protocol",
]

_JOIN_LIMIT = 16 * 1024
_LEAST_THROWN_AWAY = 64 * 1024 * 1024
_AT_THE_DOOR = (Stage.IDLE, Stage.REQUEST)


PAUSE = 5.0
"""Seconds without a byte after which the connection is closed."""


class LingeringClose:
    """The end of one connection.

    Args:
        loop: that of the connection.
        transport: its transport, after the response was written.
        close: closes the connection for good; called once.
        most_bytes: bytes to discard at most.
        longest: seconds that this may take at most.
    """

    __slots__ = ("_close", "_deadline", "_has_received", "_left", "_loop", "_timer")

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
        self._has_received = False
        self._timer: TimerHandle = loop.call_later(min(PAUSE, longest), self._check_progress)
        if transport.can_write_eof():  # not within TLS; there the length ends the response
            transport.write_eof()
        transport.resume_reading()

    def discard_bytes(self, size: int) -> None:
        """Count received bytes, which are discarded."""
        self._has_received = True
        self._left -= size
        if self._left < 0:
            self._close_connection()

    def cancel(self) -> None:
        """Stop the timer: the connection is closed or lost."""
        self._timer.cancel()

    def _check_progress(self) -> None:
        left = self._deadline - monotonic()
        if not self._has_received or left <= 0:
            self._close_connection()
            return
        self._has_received = False
        self._timer = self._loop.call_later(min(PAUSE, left), self._check_progress)

    def _close_connection(self) -> None:
        self._timer.cancel()
        self._close()


class PatchedProtocol(HttpProtocol):
    """The repairs that both protocol classes have in common."""

    HTTP_CLASS = ReceivingHttp
    # The slots are in the classes below: two bases with slots of their own do not combine.
    __slots__ = ()

    arrival: Future[None] | None
    deadlines: Deadlines
    buffer_limit: int
    lingers: bool
    lingering: LingeringClose | None
    stalled: TimerHandle | None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arrival = None  # type: ignore[misc]
        self.deadlines = self.app.ctx.deadlines  # type: ignore[misc]
        self.buffer_limit = self.app.config.REQUEST_BUFFER_SIZE  # type: ignore[misc]
        self.request_handler = handle_request
        self.lingers = False  # type: ignore[misc]
        self.lingering = None  # type: ignore[misc]
        self.stalled = None  # type: ignore[misc]

    @property
    def http(self) -> ReceivingHttp | None:
        """The state of this connection; None before it began and after it ended."""
        return getattr(self, "_http", None)

    def connection_made(self, transport: BaseTransport) -> None:
        sockets.tune_socket(transport)
        super().connection_made(transport)  # type: ignore[no-untyped-call]
        if (acceptor := self.app.ctx.serving.acceptor) is not None:
            acceptor.count_as_open(self)
        self.deadlines.note_bytes(self)

    def data_received(self, data: bytes) -> None:
        if self.lingering is not None:
            self.lingering.discard_bytes(len(data))
            return
        http = self.http
        if http is not None and http.stage in _AT_THE_DOOR:
            self.deadlines.note_bytes(self)
        # As in Sanic, where each look-up in the configuration takes 5,000 instructions.
        self._time = monotonic()
        self.recv_buffer += data
        if len(self.recv_buffer) >= self.buffer_limit and self.transport is not None:
            self.transport.pause_reading()
        self.wake()

    async def receive_more(self) -> None:
        """Wait for more bytes.

        Raises:
            InvalidRequest: 408, they did not arrive in time.
        """
        transport: Any = self.transport
        transport.resume_reading()
        # Sanic waits for an Event. One task waits here, so a future will do, which takes 4,000
        # instructions less for each request.
        self.arrival = self.loop.create_future()  # type: ignore[misc]
        await self.arrival
        http = self.http
        if http is not None:
            http.check_deadline()

    def wake(self) -> None:
        """Have the task that waits for bytes check again."""
        arrival = self.arrival
        if arrival is not None and not arrival.done():
            arrival.set_result(None)

    def end_by_lingering(self) -> None:
        """Linger after the present response, because the client may still be sending."""
        self.lingers = True  # type: ignore[misc]

    def close(self, timeout: float | None = None) -> None:
        """Close; after lingering, where the client may still be sending.

        A second call closes at once.
        """
        # Also where the client has closed: the timer refers to the connection until it fires.
        timer: TimerHandle | None = self._callback_check_timeouts
        if timer is not None:
            timer.cancel()
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self.lingers and self.lingering is None:
            self.deadlines.forget_connection(self)
            self.recv_buffer.clear()
            self.lingering = LingeringClose(  # type: ignore[misc]
                self.loop,
                transport,
                self.close,
                most_bytes=max(_LEAST_THROWN_AWAY, 2 * self.app.config.REQUEST_MAX_SIZE),
                longest=self.deadlines.limits.body,
            )
            return
        super().close(timeout=timeout)

    def abort(self) -> None:
        """End the connection now; with a reset, if the client has not read all."""
        transport = self.transport
        if transport is not None and transport.get_write_buffer_size() > 0:
            sockets.reset_connection(transport)
            self.transport = None
            return
        super().abort()  # type: ignore[no-untyped-call]

    def pause_writing(self) -> None:
        """The client is behind. Sanic would wait for it without end; this side waits for as long
        as the client reads anything."""
        super().pause_writing()  # type: ignore[no-untyped-call]
        self._await_reader()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._forget_reader()
        super().resume_writing()  # type: ignore[no-untyped-call]

    def _await_reader(self, unread: int | None = None) -> None:
        """Abort when the client has read nothing of `unread` bytes since the last check."""
        self._forget_reader()
        transport = self.transport
        if transport is None:
            return
        left = transport.get_write_buffer_size()
        if unread is not None and left >= unread:
            self.abort()
            return
        self.stalled = self.loop.call_later(  # type: ignore[misc]
            self.deadlines.limits.stall, self._await_reader, left
        )

    def _forget_reader(self) -> None:
        if self.stalled is not None:
            self.stalled.cancel()
            self.stalled = None  # type: ignore[misc]

    async def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body, and wait while the client is behind.

        Raises RequestCancelled when the connection is closing.
        """
        writable = self._can_write
        if not writable.is_set():
            await writable.wait()
        transport = self.transport
        if transport is None or transport.is_closing():
            raise RequestCancelled
        # Behind the write as well: nothing more is fetched for a reader that does not read.
        if not self.write_chunk(data):
            await writable.wait()

    def write_chunk(self, data: bytes) -> bool:
        """Write one chunk of a chunked body; returns whether the reader keeps up.

        After False, `wait_for_reader` before the next one.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        if len(data) <= _JOIN_LIMIT:  # one copy is cheaper than three buffers
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
        writable: Event = self._can_write
        return writable.is_set()

    async def wait_for_reader(self) -> None:
        """Wait while the reader is behind.

        Raises RequestCancelled when the connection is closing.
        """
        await self._can_write.wait()
        if self.transport is None or self.transport.is_closing():
            raise RequestCancelled

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadlines.forget_connection(self)
        self._forget_reader()
        if self.lingering is not None:
            self.lingering.cancel()
        super().connection_lost(exc)  # type: ignore[no-untyped-call]
        if (acceptor := self.app.ctx.serving.acceptor) is not None:
            acceptor.show_connections()


class PatchedHttpProtocol(PatchedProtocol):
    """For an app without WebSocket routes."""

    __slots__ = ("arrival", "buffer_limit", "deadlines", "lingering", "lingers", "stalled")


class PatchedWebSocketProtocol(PatchedProtocol, WebSocketProtocol):
    """For an app with WebSocket routes."""

    __slots__ = ("arrival", "buffer_limit", "deadlines", "lingering", "lingers", "stalled")

    def data_received(self, data: bytes) -> None:
        if self.websocket is not None:
            self.websocket.data_received(data)  # type: ignore[no-untyped-call]
            return
        super().data_received(data)


def patched_protocol(protocol: type) -> type:
    """The repaired class for the one that Sanic chose; another class stays as it is."""
    classes: dict[type, type] = {
        HttpProtocol: PatchedHttpProtocol,
        WebSocketProtocol: PatchedWebSocketProtocol,
    }
    return classes.get(protocol, protocol)
