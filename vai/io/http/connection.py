"""One HTTP/1.1 client connection: it sends a request, reads a response, and decides on reuse.

Invariants: a connection is used again only after a complete, well-framed response with no byte
after it. In every other case (cancelled, truncated, malformed, early response while the request
was still being written, unexpected data) this module aborts it instead of closing it: an abort
frees both ends now, a close would wait for buffers that the peer never reads.

This code runs for every event of every stream, so it is cheap: `take_body` returns all buffered
bytes without using the loop. Only when there are none does the reader wait, on a bare future, under
one timer per connection that is re-armed when it fires and not on every wait.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

import httptools

from vai.errors import UpstreamFault, UpstreamTimeout
from vai.io.http.failures import broken_error, timeout_error, unreachable_error

__all__ = ["BUFFER_LIMIT", "HEAD_LIMIT", "LEFTOVER_LIMIT", "UpstreamConnection"]

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of status line and headers, interim responses included; also of any run of bytes without
content (trailers, chunk extensions)."""

BUFFER_LIMIT: Final = 64 * 1024
"""Bytes of unread body above which the loop does not read the socket. One read (256 KiB under
uvloop) can exceed it."""

LEFTOVER_LIMIT: Final = 4 * 1024
"""Bytes of body that may follow the end that its reader determined."""

# The kernel's buffer for a paused reader. Without a limit it grows to 6 MB a connection; this
# size still allows 5 MB/s at a round trip of 100 ms.
_RECEIVE_BUFFER: Final = 256 * 1024
_JOIN_LIMIT: Final = 64 * 1024
# uvloop's timers count in whole milliseconds and may fire up to one early.
_TICK: Final = 0.001


class UpstreamConnection(asyncio.Protocol):
    """The protocol of one connection.

    One exchange at a time: `start_exchange`, wait until `head_received`, then `take_body` and
    `wait_for_change` until `complete`. The response reads the attributes directly; only this
    class sets them.

    Attributes:
        status: the status of the final response, once `head_received`.
        headers: its header fields in order, names in lower case.
        head_received: the final response's head has arrived.
        complete: the response's last byte has arrived.
        ended_by_close: the body had no length and ended with the connection, so this layer
            cannot distinguish a truncation from completion.
        fault: why no more bytes will arrive.
    """

    __slots__ = (
        "_active",
        "_bodiless",
        "_head_size",
        "_heard_at",
        "_keep",
        "_loop",
        "_on_complete",
        "_on_lost",
        "_overhead",
        "_parser",
        "_parts",
        "_pause",
        "_paused",
        "_sent",
        "_sink",
        "_size",
        "_timer",
        "_timer_at",
        "_transport",
        "_unsized",
        "_until",
        "_used",
        "_waiter",
        "_write_paused",
        "closed",
        "complete",
        "ended_by_close",
        "fault",
        "head_received",
        "headers",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._on_lost: Callable[[UpstreamConnection], None] | None = None
        self._on_complete: Callable[[UpstreamConnection], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], bool] | None = None
        self._heard_at = 0.0
        self._pause = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._until = math.inf
        self._used = self._active = self._paused = self._write_paused = False
        self.closed = False
        self._reset_response(bodiless=False)

    def _reset_response(self, *, bodiless: bool) -> None:
        self._parts: list[bytes] = []
        self._size = self._head_size = self._overhead = 0
        self._bodiless = bodiless
        self._keep = self._unsized = self._sent = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_received = self.complete = self.ended_by_close = False
        self.fault: UpstreamFault | None = None

    # -- the connection's life ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if self.closed:  # aborted while connecting
            self._transport.abort()

    def set_lost_callback(self, on_lost: Callable[[UpstreamConnection], None]) -> None:
        """Call `on_lost` once, when the connection can no longer be used."""
        self._on_lost = on_lost

    def get_tls_session(self) -> ssl.SSLSession | None:
        """The TLS session, returned once: after the first exchange, when the ticket has arrived."""
        if self._used or self._transport is None:
            return None
        tls = self._transport.get_extra_info("ssl_object")
        return cast("ssl.SSLSession | None", getattr(tls, "session", None))

    def abort(self) -> None:
        """Drop the connection now, whatever state it is in."""
        self._active = False
        self._parts.clear()
        self._mark_lost(None)

    def _mark_lost(self, error: Exception | None) -> None:
        """Mark the connection as unusable: end the exchange, free the socket."""
        if not self.closed:
            self.closed = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._active and not self.complete and self.fault is None:
                self._handle_end_of_input(error)
            if self._transport is not None:
                self._transport.abort()
            self._wake_waiter()

    def _handle_end_of_input(self, error: Exception | None) -> None:
        if self.head_received and self._unsized and error is None:
            self.complete = self.ended_by_close = True
        elif self.head_received:
            self.fault = broken_error("upstream_truncated")
        elif self._used and not self._head_size and not self._overhead:
            self.fault = unreachable_error("upstream_stale")
        else:
            self.fault = unreachable_error("upstream_reset")

    def eof_received(self) -> None:
        # Aborted here, because the loop's own close would first flush bytes that the peer
        # no longer reads.
        self._mark_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._mark_lost(exc)
        if self._on_lost is not None:
            on_lost, self._on_lost = self._on_lost, None
            on_lost(self)

    # -- the request -------------------------------------------------------------------

    def start_exchange(
        self, head: bytes, body: bytes, *, bodiless: bool, sent: bool = True
    ) -> None:
        """Start an exchange: write the head, and as much of the body as is available.

        Args:
            head: request line and headers with their closing empty line.
            body: the whole body, or its beginning.
            bodiless: the response has no body whatever its headers state (HEAD).
            sent: False when more of the body follows through `write_body`.
        """
        transport = cast("asyncio.Transport", self._transport)
        self._reset_response(bodiless=bodiless)
        self._active = True
        self._sent = sent
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        if len(body) <= _JOIN_LIMIT:  # one copy is cheaper than a second buffer
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    def write_body(self, data: bytes, *, last: bool = False) -> None:
        """Write more of the request's body."""
        if data:
            cast("asyncio.Transport", self._transport).write(data)
        self._sent = last

    async def drain(self, until: float) -> None:
        """Wait until the transport accepts more, or the response or its end has arrived.

        Raises:
            UpstreamTimeout: the upstream read nothing until `until` (code ``write_timeout``).
        """
        late = False
        while self._write_paused and not self.head_received and not self.closed:
            try:
                await self.wait_for_change(until)
            except UpstreamTimeout:
                late = True
            if late:  # raised here, outside the handler, without the timeout as its context
                raise timeout_error("write_timeout")

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_waiter()

    # -- the response --------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self._active or self.complete or self._parser is None:
            self._mark_lost(None)  # else the next request would read these bytes
            return
        parts = self._parts
        had = len(parts)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail_response("upstream_protocol")
        if len(parts) > had:
            self._overhead = 0
        else:
            self._overhead += len(data)
            if self._overhead > HEAD_LIMIT:
                self._fail_response("upstream_protocol")
        if self._sink is not None:
            self._relay_parts(self._sink)
        elif self._on_complete is not None:
            self._check_leftover(self._on_complete)
        elif self.head_received:
            self._wake_waiter()
        if self._size > BUFFER_LIMIT and not self._paused and not self.complete:
            self._pause_reading()

    def _check_leftover(self, on_complete: Callable[[UpstreamConnection], None]) -> None:
        """Check the bytes that followed the end that the reader determined."""
        if self.complete:
            self._on_complete = None
            on_complete(self)
        elif self._size > LEFTOVER_LIMIT:
            self._mark_lost(None)

    def _pause_reading(self) -> None:
        if self._transport is not None and not self.closed:
            self._paused = True
            self._transport.pause_reading()

    def _fail_response(self, code: str) -> None:
        """End an invalid response: the bytes before stay readable, no more will follow."""
        self._keep = False
        if self.fault is None and not self.complete:
            self.fault = broken_error(code)
        self._mark_lost(None)

    def on_message_begin(self) -> None:
        if self.complete:  # a second response after the first
            self._keep = False
        else:
            self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > HEAD_LIMIT:
            self._fail_response("upstream_protocol")
        elif not self.head_received:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self.complete or parser is None:
            return
        status = parser.get_status_code()
        if 100 <= status < 200 and status != 101:  # interim: the final response follows
            return
        if not 200 <= status <= 599:
            self._fail_response("upstream_protocol")
            return
        self.status = status
        self._check_framing()
        self.head_received = self.fault is None
        if self._bodiless and self.head_received:
            # The parser cannot know that no body follows a HEAD, so this exchange ends here.
            self._finish_response(keep=parser.should_keep_alive())
            self._parser = None

    def _check_framing(self) -> None:
        sized = self.status in (204, 304)
        for name, value in self.headers:
            if name == b"content-length":
                sized = True
            elif name == b"transfer-encoding":
                sized = True
                if value.strip().lower() != b"chunked":
                    self._fail_response("upstream_encoding")
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                # 200 KB of gzip can be 200 MiB of text: VAI decodes no coding it did not request.
                self._fail_response("upstream_encoding")
        self._unsized = not sized

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self._keep = False
        elif self.fault is None:
            self._parts.append(data)
            self._size += len(data)

    def on_message_complete(self) -> None:
        if self.head_received and not self.complete and self._parser is not None:
            self._finish_response(keep=self._parser.should_keep_alive())

    def _finish_response(self, *, keep: bool) -> None:
        self.complete = True
        self._keep = keep and not self._unsized

    # -- the reader --------------------------------------------------------------------

    def take_body(self) -> bytes | None:
        """All buffered bytes, ``b""`` at the end of the body, None when nothing has arrived yet.

        Raises:
            UpstreamFault: the buffer is empty and the rest will not arrive.
        """
        parts = self._parts
        if not parts:
            if self.fault is not None:
                raise self.fault
            return b"" if self.complete else None
        self._parts = []
        self._size = 0
        if self._paused:
            self._paused = False
            if not self.closed and self._transport is not None:
                self._transport.resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def call_when_complete(self, on_complete: Callable[[UpstreamConnection], None]) -> None:
        """Call `on_complete` when the framing ends, after the reader has finished.

        Meant for the last chunk of a stream whose last event has been read. If more than
        `LEFTOVER_LIMIT` follows, the connection is aborted instead.
        """
        self._parts.clear()
        self._size = 0
        self._on_complete = on_complete

    def wait_for_change(self, until: float) -> asyncio.Future[None]:
        """A future that is done when something has changed.

        Its exception is an `UpstreamTimeout` (code ``read_timeout``) when nothing has until
        `until`; the exchange stays valid, and the reader can wait again.
        """
        waiter = self._waiter = self._loop.create_future()
        self._until = until
        self._pause = math.inf
        if until < self._timer_at:
            self._start_timer(until)
        return waiter

    @property
    def can_relay(self) -> bool:
        """Whether there is nothing to read before more bytes come."""
        return not (self.complete or self._parts or self.closed or self.fault is not None)

    def relay_body(
        self, sink: Callable[[bytes], bool], pause: float, deadline: float
    ) -> asyncio.Future[None]:
        """Call `sink` with each piece of the body in the moment in which it comes.

        Call it while `can_relay`. The future is done when `sink` returned False, and when the
        response is complete or has a fault. Its exception is an `UpstreamTimeout` when nothing
        came for `pause` seconds or `deadline` is over, or what `sink` raised. A reader that
        leaves before (its future is cancelled) gets no further call of `sink`.
        """
        self._sink = sink
        self._heard_at = self._loop.time()
        waiter = self.wait_for_change(min(self._heard_at + pause, deadline))
        self._until, self._pause = deadline, pause
        return waiter

    def _relay_parts(self, sink: Callable[[bytes], bool]) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():  # the reader has left
            self._sink = None
            return
        parts = self._parts
        if parts:
            # Only the timer asks when the next piece is due: that would cost each one 1,300
            # instructions more. Reading is not paused, because nothing stays buffered.
            self._heard_at = self._loop.time()
            self._parts = []
            self._size = 0
            try:
                goes_on = sink(parts[0] if len(parts) == 1 else b"".join(parts))
            except Exception as error:  # noqa: BLE001  the task that reads gets it
                self._sink = self._waiter = None
                waiter.set_exception(error)
                return
            if not goes_on:
                self._wake_waiter()
        if self.complete or self.fault is not None:
            self._wake_waiter()

    def _wake_waiter(self) -> None:
        self._sink = None
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            self._waiter = None
            waiter.set_result(None)

    def _start_timer(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = until
        self._timer = self._loop.call_at(until, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        until = min(self._until, self._heard_at + self._pause)
        if self._loop.time() + _TICK < until:
            if until < math.inf:
                self._start_timer(until)
            return
        self._waiter = self._sink = None
        waiter.set_exception(timeout_error("read_timeout"))

    @property
    def is_reusable(self) -> bool:
        """Whether the exchange ended in a way that allows another one on this connection."""
        return (
            self.complete
            and self._keep
            and self._sent
            and not self.closed
            and not self._paused
            and self._transport is not None
            and not self._transport.get_write_buffer_size()
        )

    def mark_idle(self) -> None:
        """Mark the connection as idle: any byte that arrives from now on ends it."""
        self._active = False
        self._used = True
        self._parts.clear()
