"""How a response is written: its headers, a failure, and a stream of server-sent events."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Iterator, Mapping
from typing import AnyStr, cast

from sanic import HTTPResponse
from sanic.compat import Header
from sanic.http import Stage

from vai.codec.json import dumps
from vai.codec.sse import PING
from vai.errors import AuthenticationFailed, UpstreamFault, VaiError
from vai.exchange.ports import Clock
from vai.gateway.request.context import RequestContext
from vai.gateway.sanic_patches import sockets
from vai.gateway.sanic_patches.body import ReceivingHttp
from vai.gateway.sanic_patches.protocol import PatchedProtocol
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.policy.cost import format_cost
from vai.policy.headers import headers_from_upstream, split_header_lines
from vai.policy.limits.decision import rate_limit_headers, rate_limit_lines
from vai.types.message import Usage

__all__ = [
    "EventStream",
    "GatewayResponse",
    "content_type_of",
    "make_error_frame",
    "make_error_response",
    "make_figure_lines",
    "make_headers",
    "make_origin_headers",
]


_MAX_VALUE = 1024
"""Characters of a header value that derives from a request. Clients refuse a head above their
limit, and a model name or the name of a dropped member can be as long as a body."""


_SPLITTERS = re.compile(r"[\x00\r\n]")
_HANDLER = Stage.HANDLER  # a look-up in the class takes a thousand instructions


class GatewayResponse(HTTPResponse):
    """A response that is written in one go, or whose head is written with the first chunk.

    Sanic searches, encodes and joins each name and value separately, which takes a sixth of a small
    request's time. Here one check of all of them together decides whether that is needed. It is
    where middleware used `headers`, too.

    Args:
        headers: lower-case name -> value.
        lines: further fields as lines of a head, each with its line end. They are VAI's own names
            and figures, and nothing that another side has sent.
    """

    __slots__ = ("_fields", "_headers", "_lines")

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        lines: str = "",
    ) -> None:
        # What the constructor of the base class sets, without making its mappings.
        self.asgi = False
        self.body = body
        self.content_type = content_type
        self.stream = None
        self.status = status
        self._cookies = None
        self._headers: Header | None = None
        self._fields = fields = dict(headers or ())
        fields.setdefault("content-type", content_type)
        self._lines = lines

    @property
    def headers(self) -> Header:  # type: ignore[override]
        """The header fields in Sanic's form."""
        if self._headers is None:
            self._headers = Header(self._fields | split_header_lines(self._lines))
        return self._headers

    async def send(self, data: AnyStr | None = None, end_stream: bool | None = None) -> None:
        """Send all that is to be sent, or a part of it: see Sanic."""
        stream = self.stream
        if isinstance(stream, ReceivingHttp):
            if stream.stage is not _HANDLER:
                if data is None and end_stream and stream.end_response():
                    return
            elif self._headers is None:
                status, fields, lines = self.status, self._fields, self._lines
                if data is None:
                    body = self.body or b""
                    if end_stream and stream.write_response(status, fields, lines, body):
                        return
                elif (
                    isinstance(data, bytes)
                    and not end_stream
                    and stream.begin_response(status, fields, lines, data)
                ):
                    return
        await super().send(data, end_stream)

    def begin_at_once(self, request: PatchedRequest, data: bytes) -> bool:
        """Respond to `request`, and write the head and the first part of the body by one write.

        False, with nothing done, where that is for `respond` and `send`. They take 12,000
        instructions to find that they have nothing more to do.
        """
        http = request.stream
        if (
            not isinstance(http, ReceivingHttp)
            or request.responded
            or request.has_response_middleware
            or not http.begin_response(self.status, self._fields, self._lines, data)
        ):
            return False
        http.response, self.stream = self, http
        request.responded = True
        return True

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        fields = self.headers.items()
        texts = [f"{part}" for field in fields for part in field]
        text = "".join(texts)
        if text.isascii() and text.isprintable():
            # Encode them as one text too, and split it at newlines, which no field has.
            parts = iter("\n".join(texts).encode().split(b"\n"))
            return zip(parts, parts, strict=True)
        if _SPLITTERS.search(text):
            return super().processed_headers
        # VAI read an upstream's bytes as Latin-1; encoding as Latin-1 restores them.
        return iter(
            [(name.encode(), f"{value}".encode("latin-1", "replace")) for name, value in fields]
        )


def make_origin_headers(
    context: RequestContext,
    upstream: Mapping[str, str] | None = None,
    dropped: list[str] | None = None,
) -> dict[str, str]:
    """The headers that every response of an exchange has, except for those of the limits.

    `upstream` are the fields of a verbatim response, which the client receives too; a
    translated one has none. `dropped` are the request fields that the translation left out.
    """
    headers = dict(headers_from_upstream(upstream)) if upstream is not None else {}
    headers["x-request-id"] = context.request_id
    headers.setdefault("request-id", context.request_id)
    if context.route is not None:
        headers["x-model"] = context.route.name[:_MAX_VALUE]
    if context.is_simulated:
        headers["x-vai-simulated"] = "true"
    _add_attempts(headers, context)
    if dropped:
        headers["x-vai-dropped"] = ",".join(dropped)[:_MAX_VALUE]
    return headers


def make_headers(
    context: RequestContext,
    upstream: Mapping[str, str] | None = None,
    dropped: list[str] | None = None,
) -> dict[str, str]:
    """The headers that every response of an exchange has; see `make_origin_headers`."""
    headers = make_origin_headers(context, upstream, dropped)
    if context.limits is not None:
        headers |= rate_limit_headers(context.limits, time.time())
    return headers


def content_type_of(status: int, upstream: Mapping[str, str]) -> str:
    """The content type of a response that VAI passes on or makes: JSON, except for an error page
    of a proxy before the provider."""
    return upstream.get("content-type", "application/json") if status >= 400 else "application/json"


def make_limit_lines(context: RequestContext) -> str:
    """The limits of an admitted request as lines of a head."""
    return "" if context.limits is None else rate_limit_lines(context.limits, time.time())


def make_figure_lines(
    context: RequestContext, usage: Usage, duration: float, usd: float | None = None
) -> str:
    """The limits, counters, time and cost of a JSON response as lines of its head.

    `duration` in seconds.
    """
    cost = "" if usd is None else f"x-cost-usd: {format_cost(usd)}\r\n"
    received, generated = usage.input_tokens, usage.output_tokens
    tokens = ""
    if received is not None and generated is not None:  # one text of many costs less than many
        tokens = (
            f"x-input-tokens: {received}\r\nx-output-tokens: {generated}\r\n"
            f"x-total-tokens: {received + generated}\r\n"
        )
    elif received is not None:
        tokens = f"x-input-tokens: {received}\r\n"
    elif generated is not None:
        tokens = f"x-output-tokens: {generated}\r\n"
    limits, milliseconds = make_limit_lines(context), round(duration * 1000)
    return f"{limits}x-duration-ms: {milliseconds}\r\n{cost}{tokens}"


def make_error_response(error: VaiError, context: RequestContext) -> HTTPResponse:
    """`error` as the response to a request, before the first byte of any response."""
    context.status, context.error = error.status, error
    _name_provider(error, context)
    headers = {"x-request-id": context.request_id, "request-id": context.request_id}
    if error.retry_after:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    if error.upstream_request_id is not None:
        headers["x-vai-upstream-id"] = error.upstream_request_id
    if isinstance(error, AuthenticationFailed):  # RFC 9110 section 11.6.1
        headers["www-authenticate"] = "Bearer"
    if context.is_simulated:
        headers["x-vai-simulated"] = "true"
    if context.limits is not None:
        headers |= rate_limit_headers(context.limits, time.time())
    _add_attempts(headers, context)
    body = dumps(error.to_wire(context.request_id))
    return GatewayResponse(body, error.status, headers, "application/json")


def _add_attempts(headers: dict[str, str], context: RequestContext) -> None:
    """Add VAI's own attempts, for clients that retry."""
    if context.attempts > 1:
        headers["x-vai-attempts"] = str(context.attempts)
    if context.skipped_models:
        headers["x-vai-fallback-from"] = ",".join(context.skipped_models)[:_MAX_VALUE]


def make_error_frame(error: VaiError, context: RequestContext) -> bytes:
    """`error` as the last frame of a stream that has begun."""
    # A ping may have sent the head before the upstream's status was known.
    context.status, context.error = 200, error
    _name_provider(error, context)
    return b"event: error\ndata: %b\n\n" % dumps(error.to_wire(context.request_id))


def _name_provider(error: VaiError, context: RequestContext) -> None:
    """Add the provider's name, which the code that reports a connection failure does not have."""
    if isinstance(error, UpstreamFault) and error.provider is None and context.route is not None:
        error.provider = context.route.spec.id


class EventStream:
    """A response that is written as server-sent events. Call `close`, whatever happens.

    Invariants: the status line is sent with the first byte there is to send, or after `ping`
    seconds of silence, whichever is first (a middlebox that sees nothing for a minute cuts the
    connection). A ping stands between frames, never in one. The gateway resets a client that reads
    nothing for `stall` seconds, because the upstream waits for it.

    One timer per stream does all of this. It re-arms itself when it fires, so it costs a busy
    stream two assignments per batch.
    """

    def __init__(
        self,
        request: PatchedRequest,
        context: RequestContext,
        *,
        ping: float,
        stall: float,
        clock: Clock,
    ) -> None:
        self._request = request
        self._connection = cast("PatchedProtocol", request.protocol)
        self._context = context
        self._headers: Mapping[str, str] | None = None
        self._ping_every = ping
        self._stall = stall
        self._clock = clock
        self._response: HTTPResponse | None = None
        self._starting: asyncio.Lock | None = None
        self._sending_since: float | None = None
        self._last = clock()
        self._pinging: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(min(ping, stall), self._check_deadlines)

    @property
    def is_started(self) -> bool:
        """Whether the status line has been sent, so that a failure must be an event."""
        return self._response is not None

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Set the headers of the upstream's response, without those of the limits.

        A ping before it has VAI's own ones; this is then without effect.
        """
        self._headers = headers

    async def send_frames(self, frames: bytes) -> None:
        """Send complete frames in one write, and wait while the client is behind."""
        if not self._begin_at_once(frames):
            self._sending_since = self._clock()
            await self._write_frames(frames)
            self._sending_since = None
        self._last = self._clock()

    def write_frames(self, frames: bytes) -> bool:
        """Write complete frames of a stream that has begun; returns whether the reader keeps up."""
        self._last = self._clock()
        return self._connection.write_chunk(frames)

    async def wait_for_client(self) -> None:
        """Wait while the client is behind."""
        self._sending_since = self._clock()
        await self._connection.wait_for_reader()
        self._sending_since = None

    async def finish_stream(self) -> None:
        """End the stream; a client that is behind has `stall` seconds once more."""
        if self._response is not None:
            self._sending_since = self._clock()
            await self._response.send(end_stream=True)

    def close(self) -> None:
        """Stop the timer and the pings."""
        self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    def _write_frames(self, frames: bytes) -> Awaitable[None]:
        # Straight to the connection: Sanic's own way goes through three coroutines for
        # every event. The response writes the last chunk itself.
        started = self._response is not None
        return self._connection.send_chunk(frames) if started else self._write_head(frames)

    async def _write_head(self, frames: bytes) -> None:
        """The head and the first frames in one write; without the head if a ping was first."""
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._response is not None:
                await self._connection.send_chunk(frames)
                return
            response = self._make_response()
            await self._request.respond(response)
            await response.send(frames)
            self._response = response

    def _begin_at_once(self, frames: bytes) -> bool:
        """Write the head and the first frames without another coroutine.

        False, with nothing written, where `_write_head` has to, or is at it.
        """
        if self._response is not None or self._starting is not None:
            return False
        response = self._make_response()
        if not response.begin_at_once(self._request, frames):
            return False
        self._response = response
        return True

    def _make_response(self) -> GatewayResponse:
        headers = self._headers
        if headers is None:
            headers = make_origin_headers(self._context)
        return GatewayResponse(
            content_type="text/event-stream; charset=utf-8",
            headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"},
            lines=make_limit_lines(self._context),
        )

    def _check_deadlines(self) -> None:
        now = self._clock()
        if self._sending_since is not None:
            due = self._sending_since + self._stall
            if now >= due:
                # The handler waits in a send; losing the connection cancels it there.
                sockets.reset_connection(self._request.transport)
                return
        else:
            due = self._last + self._ping_every
            if now >= due:
                self._pinging = asyncio.create_task(self._send_ping(), name="vai-ping")
                due = now + self._ping_every
        wait = min(due - now, self._ping_every, self._stall)
        self._timer = asyncio.get_running_loop().call_later(wait, self._check_deadlines)

    async def _send_ping(self) -> None:
        self._last = self._clock()
        await self._write_frames(PING)
