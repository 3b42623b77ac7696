"""VAI's HTTP client as an httpx transport, and a direct interface for the hot path.

The SDK, the CLI and OAuth use `httpx.AsyncClient(transport=VaiTransport())`; the exchange calls
`send_head` with bytes that are ready for the wire. Both use the same pools.

The transport speaks HTTP/1.1 and the identity coding only: an Accept-Encoding of the client is
replaced, and a response with any Content-Encoding is an error. It follows no redirect, keeps no
cookie, reads no environment.

`HttpResponse` is a response whose head has arrived. Invariants: the connection returns to its
pool as soon as the last byte is read, and is dropped as soon as the response is closed before
that. After either, the response cannot reach the connection any more, so a late or second
`close` cannot affect the connection's next exchange.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Final, cast, final

import httpx

from vai.errors import InvalidRequest, Overloaded, UpstreamFault, UpstreamTimeout
from vai.io.clock import monotonic
from vai.io.http.connection import UpstreamConnection
from vai.io.http.failures import broken_error, httpx_from_fault, timeout_error, unreachable_error
from vai.io.http.head import Origin, encode_headers, encode_request_line
from vai.io.http.pool import Pool, PoolLimits, PoolStats
from vai.io.http.provider_keys import KeyFilter
from vai.io.http.tls import TlsContext, get_tls_context

__all__ = [
    "HttpResponse",
    "ResponseStream",
    "VaiTransport",
    "join_headers",
    "send_request",
    "wait_for_head",
]


def join_headers(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields by lower-case name; repeated fields joined with ``, `` (RFC 9110 5.3)."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


@final
class HttpResponse:
    """The response on one connection; an `exchange.ports.UpstreamResponse`.

    Attributes:
        status: 200 to 599.
        raw_headers: the fields in order, names in lower case.
        ended_by_close: the body had no length and ended with the connection, so only its
            content can show whether it is complete.
        key_filter: the filter that the response passes through, if any.
    """

    def __init__(self, pool: Pool, connection: UpstreamConnection) -> None:
        self.status = connection.status
        self.raw_headers = connection.headers
        self.ended_by_close = False
        self.key_filter: KeyFilter | None = None
        self._headers: dict[str, str] | None = None
        self._pool = pool
        self._connection: UpstreamConnection | None = connection
        self._ended = False

    @property
    def headers(self) -> dict[str, str]:
        """Fields by lower-case name, repeated ones joined."""
        # Not a cached_property: in Python 3.11 it takes a lock.
        if self._headers is None:
            self._headers = join_headers(self.raw_headers)
            if self.key_filter is not None:
                self.key_filter.redact_headers(self._headers)
        return self._headers

    async def read(self, until: float, /) -> bytes:
        """All bytes of the body since the last read; waits only when there are none.

        After a timeout the response is unchanged and may be read again.

        Raises:
            UpstreamTimeout: no byte arrived until `until` (code ``read_timeout``).
            UpstreamBroken: the connection broke before the end of the body, or the response
                was closed before it.
        """
        connection = self._connection
        if connection is None:
            if self._ended:
                return b""
            raise broken_error("upstream_truncated")
        while True:
            while (data := connection.take_body()) is None:
                await connection.wait_for_change(until)
            if self.key_filter is not None:
                data = self.key_filter.feed(data)
            if connection.complete:
                break
            if data:
                return data
        self._ended = True
        self.ended_by_close = connection.ended_by_close
        self.close()
        return data if self.key_filter is None else data + self.key_filter.flush()

    async def relay_body(
        self, sink: Callable[[bytes], bool], pause: float, deadline: float, /
    ) -> None:
        """Call `sink` with each piece as it comes; see `exchange.ports.UpstreamResponse`."""
        connection = self._connection
        if connection is None or not connection.can_relay:
            return
        if self.key_filter is not None:
            sink = self.key_filter.filter_for(sink)
        await connection.relay_body(sink, pause, deadline)

    def release_connection(self) -> None:
        """End reading after the last event; keep the connection if the framing ends too."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release_when_complete(connection)

    def close(self) -> None:
        """Return the connection to its pool if the response is complete, else drop it now."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)


async def send_request(
    pool: Pool,
    head: bytes,
    body: bytes,
    *,
    bodiless: bool = False,
    idempotent: bool = False,
    wait_until: float,
    connect_deadline: float,
    headers_deadline: float,
) -> HttpResponse:
    """Send a request over a connection of `pool` and wait for the response's head.

    If an idempotent request met a dead kept-alive connection, this function sends it again; each
    round uses up one such connection, so the loop ends. It never repeats a POST: it cannot know
    whether the upstream had begun to process it.

    Raises:
        UpstreamUnreachable: no connection, or it broke before a response.
        UpstreamTimeout: ``pool_timeout``, ``connect_timeout`` or ``headers_timeout``.
        UpstreamBroken: the response's head is malformed or announces an unusable body.
    """
    while True:
        connection = await pool.acquire(wait_until, connect_deadline)
        connection.start_exchange(head, body, bodiless=bodiless)
        try:
            await wait_for_head(connection, headers_deadline)
        except UpstreamFault as fault:
            pool.release(connection)
            if not (idempotent and fault.code == "upstream_stale"):
                raise
        except BaseException:
            pool.release(connection)
            raise
        else:
            return HttpResponse(pool, connection)


async def wait_for_head(connection: UpstreamConnection, until: float) -> None:
    """Wait until the response's head has arrived.

    Raises:
        UpstreamTimeout: ``headers_timeout``.
        UpstreamUnreachable, UpstreamBroken: no head will arrive.
    """
    late = False
    while not connection.head_received:
        if connection.fault is not None:
            raise connection.fault
        try:
            await connection.wait_for_change(until)
        except UpstreamTimeout:
            late = not connection.head_received
        if late:
            raise timeout_error("headers_timeout")


_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_POOL_LIMIT: Final = 64


class ResponseStream(httpx.AsyncByteStream):
    """The body of a response: httpx's iterator, and the response's own `read` and `close`."""

    def __init__(
        self, reply: HttpResponse, request: httpx.Request, read_timeout: float | None
    ) -> None:
        self._reply = reply
        self._request = request
        self._read_timeout = read_timeout
        self.read = reply.read
        self.close = reply.close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reply = self._reply
        try:
            while data := await reply.read(_deadline_after(self._read_timeout)):
                yield data
        except UpstreamFault as fault:
            failure = httpx_from_fault(fault, self._request)
        else:
            return
        raise failure

    async def aclose(self) -> None:
        self._reply.close()


class VaiTransport(httpx.AsyncBaseTransport):
    """A keep-alive HTTP/1.1 transport.

    Args:
        tls: the trust settings of https origins; by default VAI verifies against the
            built-in store.
        limits: bounds of the pool of each origin.
    """

    def __init__(self, tls: TlsContext | None = None, limits: PoolLimits | None = None) -> None:
        self._tls = tls
        self._limits = limits or PoolLimits()
        self._pools: dict[Origin, Pool] = {}
        self._closed = False

    def get_stats(self) -> PoolStats:
        """Connections over all origins."""
        every = [pool.get_stats() for pool in self._pools.values()]
        return PoolStats(*(sum(column) for column in zip((0, 0, 0), *every, strict=True)))

    def get_pool(self, origin: Origin) -> Pool:
        """The pool of `origin`. Do not keep it: the transport may replace an empty pool.

        Raises:
            UpstreamUnreachable: the transport is closed.
        """
        pool = self._pools.get(origin)
        if pool is None:
            if self._closed:
                raise unreachable_error("upstream_closed")
            if len(self._pools) >= _POOL_LIMIT:
                self._pools = {key: one for key, one in self._pools.items() if not one.is_empty}
            tls = (self._tls or get_tls_context()) if origin.scheme == "https" else None
            pool = self._pools[origin] = Pool(origin, tls, self._limits)
        return pool

    def send_head(
        self,
        origin: Origin,
        head: bytes,
        body: bytes,
        *,
        connect_deadline: float,
        headers_deadline: float,
    ) -> Awaitable[HttpResponse]:
        """One exchange from a rendered head: the hot path. Errors as in `send_request`."""
        return send_request(
            self.get_pool(origin),
            head,
            body,
            wait_until=connect_deadline,
            connect_deadline=connect_deadline,
            headers_deadline=headers_deadline,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """httpx's entry point; applies the ``timeout`` extension.

        Raises:
            httpx.RequestError: the exception that `failures.TO_HTTPX` names.
        """
        failure: httpx.HTTPError
        limits = request.extensions.get("timeout", {})
        try:
            reply = await self._send_httpx_request(request, limits)
        except UpstreamFault as fault:
            failure = httpx_from_fault(fault, request)
        except InvalidRequest as fault:
            failure = httpx.LocalProtocolError(fault.message, request=request)
        except Overloaded as fault:
            failure = httpx.ConnectError(fault.message, request=request)
        else:
            return httpx.Response(
                reply.status,
                headers=reply.raw_headers,
                stream=ResponseStream(reply, request, limits.get("read")),
                extensions={"http_version": b"HTTP/1.1"},
            )
        raise failure

    async def _send_httpx_request(
        self, request: httpx.Request, limits: dict[str, float | None]
    ) -> HttpResponse:
        try:
            origin = Origin.from_url(request.url)
        except ValueError:
            raise unreachable_error("upstream_connect") from None
        head = _encode_head(request)
        pool = self.get_pool(origin)
        wait_until, connect_deadline = (
            _deadline_after(limits.get("pool")),
            _deadline_after(limits.get("connect")),
        )
        if not isinstance(request.stream, httpx.ByteStream):
            return await _send_upload(
                pool,
                head,
                request,
                limits,
                wait_until=wait_until,
                connect_deadline=connect_deadline,
            )
        return await send_request(
            pool,
            head,
            request.content,
            bodiless=request.method == "HEAD",
            idempotent=request.method in _IDEMPOTENT,
            wait_until=wait_until,
            connect_deadline=connect_deadline,
            headers_deadline=_deadline_after(limits.get("read")),
        )

    async def aclose(self) -> None:
        """Abort all connections; later sends fail."""
        self._closed = True
        for pool in tuple(self._pools.values()):
            await pool.aclose()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def _deadline_after(seconds: float | None) -> float:
    return math.inf if seconds is None else monotonic() + seconds


def _encode_head(request: httpx.Request) -> bytes:
    fields = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.headers.raw
        if name.lower() != b"accept-encoding"
    ]
    fields.append(("Accept-Encoding", "identity"))
    target = request.url.raw_path.decode("ascii")
    text = encode_request_line(request.method, target) + encode_headers(fields, forwarded=False)
    return text.encode("ascii") + b"\r\n"


async def _send_upload(
    pool: Pool,
    head: bytes,
    request: httpx.Request,
    limits: dict[str, float | None],
    *,
    wait_until: float,
    connect_deadline: float,
) -> HttpResponse:
    """Send a body in pieces, no faster than the upstream reads it.

    A response that arrives before the end of the body ends the upload; such a connection is
    never used again.
    """
    chunked = request.headers.get("transfer-encoding", "").lower() == "chunked"
    write_timeout = limits.get("write")
    connection = await pool.acquire(wait_until, connect_deadline)
    try:
        connection.start_exchange(head, b"", bodiless=request.method == "HEAD", sent=False)
        async for piece in cast("httpx.AsyncByteStream", request.stream):
            if connection.head_received or connection.closed:
                break
            if piece:
                connection.write_body(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await connection.drain(_deadline_after(write_timeout))
        else:
            connection.write_body(b"0\r\n\r\n" if chunked else b"", last=True)
        await wait_for_head(connection, _deadline_after(limits.get("read")))
    except BaseException:
        pool.release(connection)
        raise
    return HttpResponse(pool, connection)
