"""VAI's HTTP client behind httpx's seam, and the short way past it for the hot path.

`httpx.AsyncClient(transport=VaiTransport())` is what the SDK, the CLI and OAuth use; the
exchange calls `send` with bytes that are ready for the wire. Both run over the same pools.

The transport speaks HTTP/1.1 and the identity coding only: an Accept-Encoding of the client is
replaced, and an answer with any Content-Encoding is an error. It follows no redirect, keeps no
cookie, reads no environment.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import Final, cast

import httpx

from vai.errors import InvalidRequest, Overloaded, UpstreamFault
from vai.io.clock import monotonic
from vai.io.http.failures import httpx_from_fault, unreachable_error
from vai.io.http.head import Origin, encode_headers, encode_request_line
from vai.io.http.pool import Pool, PoolLimits, PoolStats
from vai.io.http.reply import HttpResponse, send_request, wait_for_head
from vai.io.http.tls import TlsContext, get_tls_context

__all__ = ["ResponseStream", "VaiTransport"]

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_POOL_LIMIT: Final = 64


class ResponseStream(httpx.AsyncByteStream):
    """The body of an answer: httpx's iterator, and the reply's own `read` and `close`."""

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
        tls: the trust settings of https origins; default is verification against the
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
        """The pool of `origin`. Not to be kept: an empty one may be replaced.

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
        """httpx's seam; honours the ``timeout`` extension.

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
    """Send a body that comes in pieces, no faster than the upstream reads it.

    An answer that comes before the body is through ends the upload; such a connection is
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
