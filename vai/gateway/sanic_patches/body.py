"""Request bodies: the handler reads a body itself, and a response may precede an unread body.

Sanic reads the whole body before it calls a handler, so a client without a key fills memory
first. VAI registers its routes with ``stream=True``: their handlers check the head, and
`receive_body` reads the body afterwards, with one copy of it in memory.

When a handler responds before the body has arrived, Sanic reads the rest into memory or closes
at once; the close resets the connection, and the client loses the response. Here the connection
lingers: see `protocol.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from time import monotonic

from sanic.headers import _HTTP1_STATUSLINES
from sanic.helpers import has_message_body
from sanic.http import Stage
from sanic.http.http1 import HTTP_CONTINUE

from vai.gateway.sanic_patches.head import GuardedHttp

__all__ = ["ReceivingHttp"]

# Each look-up of a member in the class takes a thousand instructions.
_IDLE, _HANDLER, _RESPONSE = Stage.IDLE, Stage.HANDLER, Stage.RESPONSE
_SMALL = 64 * 1024
"""Bytes of an unread body that are dropped without closing, if they have been received."""


class ReceivingHttp(GuardedHttp):
    """The guarded state machine with a body that the handler reads."""

    __slots__ = ()

    async def receive_body(self) -> bytes:
        """Read the body to its end; empty where the request has none.

        The caller has checked `request_bytes`, the size that the head announces.

        Raises:
            InvalidRequest: 408, it did not arrive in time.
        """
        left = int(self.request_bytes_left or 0)
        if not self.request_body:
            return b""
        if self.expecting_continue:
            self.expecting_continue = False
            # RFC 9110 10.1.1: a client of HTTP/1.0 does not understand the response 100.
            if self.request.version != "1.0":
                await self._send(HTTP_CONTINUE)
        buffer = self.recv_buffer
        if len(buffer) >= left:
            body = self._take_body(left)
        else:
            # BytesIO grows and returns its bytes without a copy; joining a list of pieces
            # takes the body's size twice.
            pieces = BytesIO()
            while True:
                piece = self._take_body(min(left, len(buffer)))
                pieces.write(piece)
                left -= len(piece)
                self.request_bytes_left = left
                if not left:
                    break
                await self._receive_more()
            body = pieces.getvalue()
        self.request_bytes_left = 0
        self.request_body = None
        return body

    def _take_body(self, size: int) -> bytes:
        buffer = self.recv_buffer
        if size == len(buffer):
            data = bytes(buffer)
            buffer.clear()
            return data
        with memoryview(buffer) as view:
            data = bytes(view[:size])
        del buffer[:size]
        return data

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Write the head of the response, the connection's last one if the body is unread."""
        if self.request_body:
            self._discard_body()
        await super().http1_response_header(data, end_stream)

    def write_response(
        self, status: int, fields: Mapping[str, str], lines: str, body: bytes
    ) -> bool:
        """Write a whole response by one write; with nothing written, False where Sanic's own way is
        to write it because anything is unusual.

        Args:
            status: that of a final response.
            fields: lower-case name -> value, without those of the framing.
            lines: further fields as lines of a head, each with its line end.
            body: at least one byte.
        """
        lines += f"content-length: {len(body)}\r\n"
        if not self._write_with_head(status, fields, lines, body):
            return False
        self.response_func = None  # type: ignore[assignment]
        self.stage = _IDLE
        return True

    def begin_response(
        self, status: int, fields: Mapping[str, str], lines: str, data: bytes
    ) -> bool:
        """Write the head of a chunked response and the first chunk by one write.

        Arguments and result as in `write_response`.
        """
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        lines += "transfer-encoding: chunked\r\n"
        if not self._write_with_head(status, fields, lines, chunk):
            return False
        self.response_func = self.http1_response_chunked
        self.stage = _RESPONSE
        return True

    def end_response(self) -> bool:
        """Write the end of a chunked response that has begun; True also where it has ended.

        False, with nothing written, where Sanic's own way has to end it.
        """
        if self.stage is _IDLE:
            return True
        protocol = self.protocol
        transport = protocol.transport
        if (
            self.response_func != self.http1_response_chunked
            or transport is None
            or transport.is_closing()
            or not protocol._can_write.is_set()
        ):
            return False
        transport.write(b"0\r\n\r\n")
        protocol._time = monotonic()
        self.response_func = None  # type: ignore[assignment]
        self.stage = _IDLE
        return True

    def _write_with_head(
        self, status: int, fields: Mapping[str, str], lines: str, body: bytes
    ) -> bool:
        protocol = self.protocol
        transport = protocol.transport
        if (
            self.stage is not _HANDLER
            or self.head_only
            or self.request_body  # unread: see `_discard_body`
            or protocol.access_log
            or transport is None
            or transport.is_closing()
            or not protocol._can_write.is_set()
            or not body
            or not has_message_body(status)  # type: ignore[no-untyped-call]
        ):
            return False
        text = "\r\n".join(map(": ".join, fields.items()))
        # Sanic's way restores Latin-1, and drops what would split the head. One search of all
        # names and values is much cheaper than one of each.
        letters = "".join([*fields, *fields.values()])
        if not text.isascii() or "\n" in letters or "\r" in letters or "\0" in letters:
            return False
        connection = "keep-alive" if self.keep_alive else "close"
        head = f"{text}\r\n{lines}connection: {connection}\r\n\r\n"
        transport.write(b"".join((_HTTP1_STATUSLINES[status], head.encode(), body)))
        protocol._time = monotonic()
        return True

    def _discard_body(self) -> None:
        """Drop a small body that has been received; else end the connection."""
        left = int(self.request_bytes_left or 0)
        self.request_body = None  # Sanic would read it to its end
        # Without a 100 the client may omit the body; the next bytes may be either.
        if not self.expecting_continue and left <= min(_SMALL, len(self.recv_buffer)):
            del self.recv_buffer[:left]
            self.request_bytes_left = 0
            return
        self.expecting_continue = False
        self.keep_alive = False
        self.connection.end_by_lingering()
