"""The guard of request heads: it refuses what RFC 9112 forbids.

Sanic's own parser is lenient (a space before the colon, two Hosts, a bare CR in a value);
behind another proxy each of these can split one request into two. The guard checks the bytes of
the head before Sanic reads them. After a refusal it closes the connection, so the bytes behind
the head are never parsed.

Rejected: Sanic's `http.lifecycle.read_head` signal. Sanic dispatches it inside a `try` that
turns every exception into "400 Bad Request", and dispatching costs more than the check.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any, NoReturn, Protocol, cast

from sanic.http import Http, Stage

from vai.codec import head as head_rules
from vai.errors import ErrorType, InvalidRequest
from vai.gateway.sanic_patches.refusal import error_bytes
from vai.gateway.sanic_patches.serving import ServerEnds

__all__ = ["GuardedHttp"]

_END = b"\r\n\r\n"
_EMPTY_LINE = b"\r\n"


class _ClientGone(Exception):
    """Ends the connection's task; Sanic logs a traceback for a CancelledError."""


class LastResponse(Protocol):
    """The methods of a connection that a response ends."""

    def end_by_lingering(self) -> None:
        """Linger after the response, because the client may still be sending."""


class GuardedHttp(Http):
    """Sanic's HTTP/1 state machine behind a strict check of the head.

    `is_late`: the deadline of the head or the body has passed.
    """

    __slots__ = ("is_late",)

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call]
        self.is_late = False

    @property
    def connection(self) -> LastResponse:
        """The connection of this state."""
        return cast("LastResponse", self.protocol)

    def check_deadline(self) -> None:
        """
        Raises:
            InvalidRequest: 408, the deadline of the head or the body has passed.
        """
        if self.is_late:
            raise InvalidRequest(
                "The request body did not arrive in time",
                status=408,
                code="body_timeout",
                type="timeout_error",
            )

    async def http1(self) -> None:
        """Serve the connection to its end.

        Where the client has left, Sanic keeps the last request and its response, which refer to
        this state: a cycle, which the garbage collector frees only after thousands of others.
        """
        try:
            await super().http1()  # type: ignore[no-untyped-call]
        finally:
            self.request = self.response = None  # type: ignore[assignment]

    async def http1_request_header(self) -> None:
        """Wait for a whole head, check it, then let Sanic parse it."""
        end = await self._head_end()
        if end < 0:
            self._refuse_head(431, "head_too_large", "The request head is too large")
        came = bytes(self.recv_buffer[:end])
        head, verdict = head_rules.normalize_head(came)
        if head is not came:
            self.recv_buffer[:end] = head
        if verdict is not None:
            self._refuse_head(verdict.status, verdict.code, verdict.message)
        await super().http1_request_header()  # type: ignore[no-untyped-call]
        serving: ServerEnds = self.protocol.app.ctx.serving
        if serving.ending:
            self.keep_alive = False

    async def _head_end(self) -> int:
        """The offset of the head's blank line; -1 if the head is longer than the limit."""
        buffer, seen = self.recv_buffer, 0
        while len(buffer) < len(_EMPTY_LINE):
            await self._receive_within_deadline()
        if buffer.startswith(_EMPTY_LINE):
            # RFC 9112 2.2: some clients end a body with one that its length does not count.
            del buffer[: len(_EMPTY_LINE)]
        while (end := buffer.find(_END, seen)) < 0:
            seen = max(0, len(buffer) - 3)
            if seen >= self.HEADER_MAX_SIZE:
                return -1
            await self._receive_within_deadline()
        return end if end < self.HEADER_MAX_SIZE else -1

    async def _receive_within_deadline(self) -> None:
        try:
            await self._receive_more()
        except CancelledError:
            connection = self.protocol.conn_info
            if connection is not None and not connection.lost:
                raise
            # Without a request Sanic would log a traceback here, which takes some milliseconds
            # for each client that leaves before its head is complete.
            self.abandon_connection()
            raise _ClientGone from None
        except InvalidRequest:
            self._refuse_head(
                408, "head_timeout", "The request head did not arrive in time", type="timeout_error"
            )

    def _refuse_head(
        self, status: int, code: str, message: str, *, type: ErrorType = "invalid_request_error"
    ) -> NoReturn:
        transport = self.protocol.transport
        if transport is not None and not transport.is_closing():
            transport.write(error_bytes(status, message, code=code, type=type))
            self.connection.end_by_lingering()
        self.abandon_connection()
        raise CancelledError

    def abandon_connection(self) -> None:
        """Have Sanic end this connection and send nothing more."""
        # Sanic answers an error only in the stages REQUEST and HANDLER.
        self.stage = Stage.FAILED
        self.keep_alive = False
