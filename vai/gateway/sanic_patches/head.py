"""The guard of request heads: it refuses what RFC 9112 forbids, and makes a request of the rest.

Sanic's own parser is lenient (a space before the colon, two Hosts, a bare CR in a value);
behind another proxy each of these can split one request into two. The guard takes its place: what
checks a head also splits it, once. After a refusal the guard closes the connection, so the bytes
behind the head are never parsed.

Sanic's signals `http.lifecycle.read_head` and `http.lifecycle.request` are not dispatched.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any, NoReturn, Protocol, cast

from sanic.http import Http, Stage

from vai.codec.head import HeaderFields, HeadError, RequestHead, parse_head
from vai.errors import ErrorType, InvalidRequest
from vai.gateway.sanic_patches.refusal import error_bytes
from vai.gateway.sanic_patches.request import PatchedRequest
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

    __slots__ = ("_keeps_alive", "is_late")

    def __init__(self, protocol: Any) -> None:
        super().__init__(protocol)  # type: ignore[no-untyped-call]
        self.is_late = False
        self._keeps_alive: bool = protocol.app.config.KEEP_ALIVE

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
        """Wait for a whole head, check it, and make the request of it."""
        buffer: bytearray = self.recv_buffer
        end = buffer.find(_END)
        if not 0 <= end < self.HEADER_MAX_SIZE or buffer.startswith(_EMPTY_LINE):
            end = await self._wait_for_head()
        head = parse_head(bytes(buffer[:end]))
        if isinstance(head, HeadError):
            self._refuse_head(head.status, head.code, head.message)
        self._make_request(head)
        del buffer[: end + len(_END)]

    async def _wait_for_head(self) -> int:
        """The offset of the head's blank line, once it is there."""
        buffer: bytearray = self.recv_buffer
        seen = 0
        while len(buffer) < len(_EMPTY_LINE):
            await self._receive_within_deadline()
        if buffer.startswith(_EMPTY_LINE):
            # RFC 9112 2.2: some clients end a body with one that its length does not count.
            del buffer[: len(_EMPTY_LINE)]
        while (end := buffer.find(_END, seen)) < 0:
            seen = max(0, len(buffer) - 3)
            if seen >= self.HEADER_MAX_SIZE:
                break
            await self._receive_within_deadline()
        if not 0 <= end < self.HEADER_MAX_SIZE:
            self._refuse_head(431, "head_too_large", "The request head is too large")
        return end

    def _make_request(self, head: RequestHead) -> None:
        """Set what Sanic's own parser sets, except that a body of 0 bytes counts as none."""
        protocol, fields = self.protocol, head.fields
        self.url = head.target
        self.head_only = head.method.upper() == "HEAD"
        self.keep_alive = self._may_keep_alive(head)
        self.upgrade_websocket = fields.get("upgrade", "").lower() == "websocket"
        make_request: Any = protocol.request_class
        request: PatchedRequest = make_request(  # by position: names cost a tenth of the call
            head.target.encode(),
            (),  # see `PatchedRequest.headers`
            head.version,
            head.method,
            protocol.transport,
            protocol.app,
            head.raw,
        )
        request.header_fields = fields
        PatchedRequest._current.set(request)
        self.request_bytes = self.request_bytes_left = head.body_size
        if head.body_size:
            self.request_body = True  # type: ignore[assignment]
            self.expecting_continue = "expect" in fields
        self.request, request.stream = request, self
        protocol.state["requests_count"] += 1

    def _may_keep_alive(self, head: RequestHead) -> bool:
        """Whether another request may follow on the connection."""
        serving: ServerEnds = self.protocol.app.ctx.serving
        if serving.ending or not self._keeps_alive:
            return False
        stated = head.fields.get("connection")
        if stated is None:
            return head.version == "1.1"
        if "connection" in head.fields.repeated:
            stated = head.fields.get_all("connection")[-1]
        return stated.lower() == "keep-alive"

    def create_empty_request(self) -> None:
        """Make the request that an error is answered with, where there is none yet."""
        super().create_empty_request()
        request = cast("PatchedRequest", self.request)
        request.header_fields = HeaderFields([])

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
