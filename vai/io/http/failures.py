"""The one mapping of connection failures to errors.

Exceptions of sockets, TLS and the resolver become errors of `vai.errors`. Towards httpx these
become httpx's exceptions, and the exceptions of a stock transport become VAI's. This module never
uses the text of a foreign exception: h11 and httpx quote header values and URLs. `vai.errors` has
the sentences.

Stable codes:

    connect_timeout     504  TCP or TLS did not finish in time
    pool_timeout        504  all connections to the origin stayed busy until the deadline
    write_timeout       504  the upstream stopped reading a streamed upload
    headers_timeout     504  no response's head in time
    read_timeout        504  no more of the body in time
    upstream_dns        502  the host name has no address
    upstream_connect    502  refused or unreachable
    upstream_tls        502  handshake or certificate
    upstream_reset      502  the connection broke before a response
    upstream_stale      502  the same, on a reused connection and before the response's first byte:
                             most likely the keep-alive had just ended; a retry costs nothing
    upstream_closed     502  the transport has been shut down
    upstream_proxy      502  the proxy refused or failed
    upstream_truncated  502  the body ended early
    upstream_protocol   502  the response is not HTTP/1.1
    upstream_encoding   502  a content coding that VAI did not request

If no descriptor is left for a socket, the fault is this process's own: 503 `no_descriptors`, a
`GatewayFault`.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

import httpx

from vai.errors import (
    Overloaded,
    UpstreamBroken,
    UpstreamFault,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from vai.io.warn import RateLimitedWarning

__all__ = [
    "FROM_HTTPX",
    "TO_HTTPX",
    "broken_error",
    "error_from_connect",
    "fault_from_httpx",
    "httpx_from_fault",
    "timeout_error",
    "unreachable_error",
]

TO_HTTPX: Final[dict[str, type[httpx.RequestError]]] = {
    "connect_timeout": httpx.ConnectTimeout,
    "pool_timeout": httpx.PoolTimeout,
    "write_timeout": httpx.WriteTimeout,
    "headers_timeout": httpx.ReadTimeout,
    "read_timeout": httpx.ReadTimeout,
    "upstream_dns": httpx.ConnectError,
    "upstream_connect": httpx.ConnectError,
    "upstream_tls": httpx.ConnectError,
    "upstream_reset": httpx.ReadError,
    "upstream_stale": httpx.RemoteProtocolError,
    "upstream_closed": httpx.ConnectError,
    "upstream_proxy": httpx.ProxyError,
    "upstream_truncated": httpx.RemoteProtocolError,
    "upstream_protocol": httpx.RemoteProtocolError,
    "upstream_encoding": httpx.DecodingError,
}

FROM_HTTPX: Final[dict[type[httpx.RequestError], str]] = {
    httpx.RequestError: "upstream_connect",
    httpx.TransportError: "upstream_connect",
    httpx.TimeoutException: "read_timeout",
    httpx.ConnectTimeout: "connect_timeout",
    httpx.ReadTimeout: "read_timeout",
    httpx.WriteTimeout: "write_timeout",
    httpx.PoolTimeout: "pool_timeout",
    httpx.NetworkError: "upstream_reset",
    httpx.ConnectError: "upstream_connect",
    httpx.ReadError: "upstream_reset",
    httpx.WriteError: "upstream_reset",
    httpx.CloseError: "upstream_reset",
    httpx.ProtocolError: "upstream_protocol",
    httpx.LocalProtocolError: "upstream_protocol",
    httpx.RemoteProtocolError: "upstream_protocol",
    httpx.ProxyError: "upstream_proxy",
    httpx.UnsupportedProtocol: "upstream_connect",
    httpx.DecodingError: "upstream_encoding",
    httpx.TooManyRedirects: "upstream_protocol",
}


_warn_of_descriptors = RateLimitedWarning()


def timeout_error(code: str) -> UpstreamTimeout:
    """The deadline named by `code` passed."""
    return UpstreamTimeout.from_code(code)


def unreachable_error(code: str) -> UpstreamUnreachable:
    """No response arrived, for the reason named by `code`."""
    return UpstreamUnreachable.from_code(code)


def broken_error(code: str) -> UpstreamBroken:
    """The response is unusable, for the reason named by `code`."""
    return UpstreamBroken.from_code(code)


def error_from_connect(error: OSError) -> UpstreamUnreachable | Overloaded:
    """VAI's error for what the resolver, the socket or TLS raised while connecting.

    `ssl.SSLError` is an OSError, and so is a TCP timeout of the kernel.
    """
    if error.errno in (errno.EMFILE, errno.ENFILE):
        message = "The gateway has no descriptor left for another connection"
        _warn_of_descriptors("upstreams cannot be connected to: no descriptor is left")
        return Overloaded(message, code="no_descriptors", retry_after=1)
    if isinstance(error, socket.gaierror):
        return unreachable_error("upstream_dns")
    if isinstance(error, ssl.SSLError):
        return unreachable_error("upstream_tls")
    return unreachable_error("upstream_connect")


def httpx_from_fault(
    fault: UpstreamFault, request: httpx.Request | None = None
) -> httpx.RequestError:
    """The httpx exception for one of VAI's errors, with VAI's own text."""
    kind = TO_HTTPX.get(fault.code or "", httpx.TransportError)
    return kind(fault.message, request=request)


def fault_from_httpx(error: httpx.RequestError, *, headed: bool) -> UpstreamFault:
    """VAI's error for an exception of a stock transport; the most specific class decides.

    Args:
        error: the exception; the function does not read its text.
        headed: whether the response's head had arrived.
    """
    code = next(FROM_HTTPX[kind] for kind in type(error).__mro__ if kind in FROM_HTTPX)
    if code.endswith("_timeout"):
        return timeout_error("headers_timeout" if code == "read_timeout" and not headed else code)
    if headed and code in ("upstream_reset", "upstream_protocol"):
        return broken_error("upstream_truncated")
    if code in ("upstream_protocol", "upstream_encoding"):
        return broken_error(code)
    return unreachable_error(code)
