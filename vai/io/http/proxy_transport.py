"""Responses from a stock httpx transport, for providers behind a proxy.

httpcore's pool loses a slot for good when a task is cancelled while it waits for or makes a
connection. So no request here shares a pool: each has its own transport, which is closed with
it. That costs a handshake per request, and only providers with a `proxy` use it.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable
from typing import cast, final

import httpx

from vai.errors import UPSTREAM_SENTENCES, UpstreamFault
from vai.io.http.failures import broken_error, fault_from_httpx, timeout_error
from vai.io.http.provider_keys import KeyFilter
from vai.io.http.transport import join_headers

__all__ = ["HttpxResponse", "ProxyTransport", "send_over_httpx"]


class ProxyTransport(httpx.AsyncBaseTransport):
    """httpx's own transport through a proxy, one per request.

    Args:
        proxy: its URL, credentials included.
        tls: the trust settings towards the upstream (and of an https proxy).
        max_connections: requests at once; further ones wait.
    """

    def __init__(self, proxy: httpx.Proxy, tls: ssl.SSLContext, max_connections: int) -> None:
        self._proxy = proxy
        self._tls = tls
        self._slots = asyncio.Semaphore(max_connections)
        self._closing: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._acquire_slot(request)
        try:
            inner = httpx.AsyncHTTPTransport(
                proxy=self._proxy, verify=self._tls, trust_env=False, http2=False
            )
        except BaseException:
            self._slots.release()
            raise
        try:
            response = await inner.handle_async_request(request)
        except BaseException:
            self.close_later(inner)
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _OwningStream(stream, inner, self)
        return response

    async def _acquire_slot(self, request: httpx.Request) -> None:
        deadline = asyncio.timeout(request.extensions.get("timeout", {}).get("pool"))
        try:
            async with deadline:
                await self._slots.acquire()
        except TimeoutError:
            pass  # raised below, without this exception as its context
        if deadline.expired():
            raise httpx.PoolTimeout(UPSTREAM_SENTENCES["pool_timeout"], request=request)

    def close_later(self, inner: httpx.AsyncHTTPTransport) -> None:
        """Close `inner` in a task of its own, which no cancellation reaches."""
        task = asyncio.get_running_loop().create_task(self._close_transport(inner))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_transport(self, inner: httpx.AsyncHTTPTransport) -> None:
        try:
            await inner.aclose()
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """Wait until all connections are closed."""
        if self._closing:
            await asyncio.wait(self._closing)


class _OwningStream(httpx.AsyncByteStream):
    """A body that closes its transport when it is closed."""

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        transport: httpx.AsyncHTTPTransport,
        owner: ProxyTransport,
    ) -> None:
        self._stream = stream
        self._transport: httpx.AsyncHTTPTransport | None = transport
        self._owner = owner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece

    def close(self) -> None:
        """Drop the connection, without waiting."""
        transport, self._transport = self._transport, None
        if transport is not None:
            self._owner.close_later(transport)

    async def aclose(self) -> None:
        self.close()


@final
class HttpxResponse:
    """A response of any httpx transport; an `exchange.ports.UpstreamResponse`.

    httpcore drops a connection whose read is cancelled. So a read that passes its deadline
    continues in a task, and the next read returns its piece.
    """

    def __init__(self, response: httpx.Response, key_filter: KeyFilter | None = None) -> None:
        self.status = response.status_code
        self.raw_headers = [(name.lower(), value) for name, value in response.headers.raw]
        self.headers = join_headers(self.raw_headers)
        self._key_filter = key_filter or KeyFilter([])
        self._key_filter.redact_headers(self.headers)
        self._stream = cast("httpx.AsyncByteStream", response.stream)
        self._pieces = self._stream.__aiter__()
        self._reading: asyncio.Task[bytes] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    async def read(self, until: float, /) -> bytes:
        """The next piece of the body; errors as in `exchange.ports`."""
        if self._closed:
            raise broken_error("upstream_truncated")
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read_piece())
        try:
            async with asyncio.timeout_at(None if until == math.inf else until):
                piece = await asyncio.shield(self._reading)
        except TimeoutError:
            fault: UpstreamFault = timeout_error("read_timeout")
        except httpx.RequestError as error:
            fault = fault_from_httpx(error, headed=True)
            self.close()
        else:
            self._reading = None
            if not piece:
                self.close()
                self._closed = False
            return piece
        raise fault

    async def _read_piece(self) -> bytes:
        """The next piece of the body that is not empty, ``b""`` at its end."""
        async for piece in self._pieces:
            if data := self._key_filter.feed(piece):
                return data
        return self._key_filter.flush()

    async def relay_body(
        self, sink: Callable[[bytes], bool], pause: float, deadline: float, /
    ) -> None:
        """Does nothing: httpx gives its pieces to `read` alone."""

    def release_connection(self) -> None:
        """Drop the connection: behind a proxy each exchange has its own."""
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        if self._closed:
            return
        self._closed = True
        if self._reading is not None:
            self._reading.cancel()
            self._reading.add_done_callback(_take_failure)
        if isinstance(self._stream, _OwningStream):
            self._stream.close()
        else:
            self._closing = asyncio.get_running_loop().create_task(self._stream.aclose())


def _take_failure(reading: asyncio.Task[bytes]) -> None:
    """Retrieve the exception of a read for which no caller waits any more."""
    if not reading.cancelled():
        reading.exception()


async def send_over_httpx(
    transport: httpx.AsyncBaseTransport,
    request: httpx.Request,
    *,
    connect_deadline: float,
    headers_deadline: float,
    key_filter: KeyFilter | None = None,
) -> HttpxResponse:
    """One exchange over a stock transport. Errors as in `exchange.ports.Upstream.send_request`."""
    loop = asyncio.get_running_loop()
    connect = None if connect_deadline == math.inf else max(connect_deadline - loop.time(), 0.001)
    request.extensions["timeout"] = {"connect": connect, "pool": connect}
    fault: UpstreamFault
    deadline = asyncio.timeout_at(None if headers_deadline == math.inf else headers_deadline)
    try:
        async with deadline:
            response = await transport.handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() == "identity":
            return HttpxResponse(response, key_filter)
        fault = broken_error("upstream_encoding")
        HttpxResponse(response).close()
    except TimeoutError:
        fault = timeout_error("headers_timeout")
    except httpx.RequestError as error:
        fault = fault_from_httpx(error, headed=False)
    raise fault
