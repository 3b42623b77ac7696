"""One client connection: it receives requests and sends the bytes of a response on time.

Invariants: it handles moments and sockets, and nothing that is specific to a provider. It sends
bytes that are due together in one write. A slow client stops the response, which is rendered
lazily, so memory stays constant.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from typing import Any, Final, Protocol, cast

import httptools

from vai.simulator.journal import JournalEntry
from vai.simulator.timed_response import TimedPiece, TimedResponse

__all__ = ["ConnectionHost", "ServerConnection"]

_MOST_HEAD: Final = 64 * 1024
_MOST_BODY: Final = 64 * 1024 * 1024
_MOST_WAITING: Final = 1024 * 1024
_BURST: Final = 128 * 1024
_RESET: Final = struct.pack("ii", 1, 0)


class ConnectionHost(Protocol):
    """The methods of the server that a connection uses."""

    connections: set[ServerConnection]
    in_flight: set[ServerConnection]

    def next_number(self) -> int:
        """A number for a new connection."""
        ...

    def record_request(
        self, connection: int, head: bytes, body: bytes, method: str, target: str
    ) -> JournalEntry: ...

    def respond_to(self, entry: JournalEntry, headers: Mapping[str, str]) -> TimedResponse: ...

    def finish_request(self, entry: JournalEntry) -> None: ...


class ServerConnection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive. A pipelined request waits for the response before it."""

    def __init__(self, hub: ConnectionHost, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop
        self._number = hub.next_number()
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._waiting = b""
        self._writable = True
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._entry: JournalEntry | None = None
        self._reply: TimedResponse | None = None
        self._pieces: Iterator[TimedPiece] = iter(())
        self._next: TimedPiece | None = None
        self._began = 0.0
        self._expect_request()

    def _expect_request(self) -> None:
        """Prepare for the next request's head."""
        self._parser: Any = None
        self._headers: dict[str, str] = {}
        self._target = b""
        self._body: list[bytes] = []
        self._size = 0
        self._head = b""
        self._complete = False
        self._keep_alive = True

    # Methods that asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._hub.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._entry is not None:
            self._waiting += data
            if len(self._waiting) > _MOST_WAITING:
                self._transport.abort()
            return
        data = self._waiting + data
        self._waiting = b""
        if self._parser is None:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._waiting = data
                if len(data) > _MOST_HEAD:
                    self._refuse(b"431 Request Header Fields Too Large")
                return
            self._head, data = data[: end + 4], data[end + 4 :]
            self._parser = httptools.HttpRequestParser(self)
            if not self._feed(self._head):
                return
        if data and not self._complete:
            length = int(self._headers.get("content-length", "0") or 0)
            need = length - self._size if length else len(data)
            data, self._waiting = data[:need], data[need:]
            if not self._feed(data):
                return
        elif data:
            self._waiting = data
        if self._complete:
            self._respond()

    def eof_received(self) -> bool:
        self._client_left()
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._client_left()
        self._hub.connections.discard(self)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._reply is not None and self._timer is None:
            self._write_due()

    # Methods that httptools calls

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._size += len(body)

    def on_message_complete(self) -> None:
        self._complete = True
        # Read here: the parser clears the request's flags after this call.
        self._keep_alive = self._parser.should_keep_alive()

    # Requests

    def _feed(self, data: bytes) -> bool:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            self._refuse(b"400 Bad Request")
            return False
        if self._headers.get("expect", "").lower() == "100-continue" and not self._complete:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            del self._headers["expect"]
        if self._size > _MOST_BODY:
            self._refuse(b"413 Content Too Large")
            return False
        return True

    def _refuse(self, status: bytes) -> None:
        """Refuse a request before it reaches a provider."""
        head = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self._transport.write(head % status)
        self._transport.close()

    def _respond(self) -> None:
        method = self._parser.get_method().decode()
        keep_alive = self._keep_alive
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        entry = self._hub.record_request(
            self._number, self._head, body, method, self._target.decode("latin-1")
        )
        headers = self._headers
        self._expect_request()
        self._entry = entry
        self._hub.in_flight.add(self)
        self._reply = reply = self._hub.respond_to(entry, headers)
        entry.status = reply.status
        entry.tokens_in, entry.tokens_out = reply.input_tokens, reply.output_tokens
        self._began = entry.received
        self._pieces = reply.render_wire(_date(), keep_alive)
        self._next = next(self._pieces, None)
        self._write_due()

    # The response

    def _write_due(self) -> None:
        """Write what is due, then wait for the next moment or finish."""
        self._timer = None
        if self._reply is None:
            return
        now = time.monotonic() - self._began
        due: list[bytes] = []
        size = 0
        piece = self._next
        while piece is not None and piece.at <= now and size < _BURST:
            due.append(piece.data)
            size += len(piece.data)
            if self._entry is not None:
                self._entry.tokens_sent += piece.tokens
            piece = next(self._pieces, None)
        self._next = piece
        if due:
            self._write_pieces(due, size)
        if piece is None:
            self._end_response()
        elif not self._writable:
            return
        elif piece.at <= now:
            self._timer = self._loop.call_soon(self._write_due)
        else:
            self._timer = self._loop.call_later(piece.at - now, self._write_due)

    def _write_pieces(self, due: list[bytes], size: int) -> None:
        entry = self._entry
        if entry is not None:
            if entry.first_byte is None:
                entry.first_byte = time.monotonic()
            entry.sent += size
        self._transport.write(due[0] if len(due) == 1 else b"".join(due))

    def _end_response(self) -> None:
        """After the last byte: end the connection as the response requires."""
        reply = self._reply
        if reply is None or reply.ending == "hang":
            return
        faulted = reply.knobs.cut is not None or reply.knobs.rst is not None
        self._finish_request("faulted" if faulted else "completed")
        if reply.ending == "close":
            self._transport.close()
        elif reply.ending == "reset":
            self._reset_connection()
        elif self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._loop.call_soon(self.data_received, waiting)

    def _reset_connection(self) -> None:
        """Send RST instead of FIN, by a close with a zero linger time."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # An abort would drop bytes that are still buffered; those before the cut must be sent.
        if self._transport.get_write_buffer_size():
            self._transport.close()
        else:
            self._transport.abort()

    def _finish_request(self, outcome: Any) -> None:
        entry, self._entry, self._reply = self._entry, None, None
        self._pieces, self._next = iter(()), None
        self._hub.in_flight.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if entry is not None:
            entry.outcome = outcome
            entry.ended = time.monotonic()
            self._hub.finish_request(entry)

    def _client_left(self) -> None:
        """End the response of a client that has left."""
        entry = self._entry
        if entry is None:
            return
        entry.client_closed = time.monotonic()
        unsent = self._transport.get_write_buffer_size()
        entry.sent -= min(unsent, entry.sent)
        self._finish_request("client_closed")

    @property
    def is_control_request(self) -> bool:
        """Whether the present request is a control request, which no figure counts."""
        return self._entry is not None and self._entry.n == 0

    def drop(self) -> None:
        """Close at once, also during a response."""
        self._transport.abort()


def _date_clock() -> Callable[[], str]:
    """The Date header, rendered once a second."""
    second, text = 0, ""

    def date() -> str:
        nonlocal second, text
        now = int(time.time())
        if now != second:
            second, text = now, formatdate(now, usegmt=True)
        return text

    return date


_date = _date_clock()
