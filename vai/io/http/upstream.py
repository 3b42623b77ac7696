"""One provider as an upstream: its base URL and its credential, in front of a transport.

Invariants: this module sets a request's host, framing and key, and nothing that a client sends
can set any of the three. A redirect is a response like any other. VAI never follows it, because
it would send the key along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import final

import httpx
import msgspec

from vai.exchange.ports import UpstreamResponse
from vai.io.http.head import Endpoint, encode_forwarded_headers, encode_headers, encode_request_line
from vai.io.http.pool import PoolLimits
from vai.io.http.provider_keys import Credential, KeyFilter
from vai.io.http.proxy_transport import ProxyTransport, send_over_httpx
from vai.io.http.tls import get_tls_context
from vai.io.http.transport import VaiTransport
from vai.policy.headers import GATEWAY_FIELDS, with_betas
from vai.secret import Secret
from vai.types.provider import AuthStyle, WireRequest

__all__ = ["HttpUpstream", "UpstreamSettings", "build_transport"]


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How VAI reaches a provider.

    Attributes:
        base_url: absolute http(s) URL without user info, query or fragment.
        proxy: URL of an HTTP proxy. A secret, because such URLs contain passwords.
        ca_file: PEM file that replaces the built-in trust store.
        verify: whether VAI checks certificates and host names.
        max_connections: open at once.
        keepalive_idle: seconds that VAI keeps an unused connection.
    """

    base_url: str
    proxy: Secret | None = None
    ca_file: str | None = None
    verify: bool = True
    max_connections: int = 1000
    keepalive_idle: float = 30.0


def build_transport(settings: UpstreamSettings) -> httpx.AsyncBaseTransport:
    """The transport for these settings: VAI's own, or a stock one through the proxy.

    Raises:
        ValueError: `proxy` is not a URL of a proxy.
        OSError: `ca_file` cannot be read or holds no certificate.
    """
    tls = get_tls_context(settings.ca_file, settings.verify)
    if settings.proxy is None:
        limits = PoolLimits(
            max_connections=settings.max_connections,
            max_idle=settings.max_connections,
            keepalive_idle=settings.keepalive_idle,
        )
        return VaiTransport(tls, limits)
    proxy = None
    with suppress(ValueError, httpx.InvalidURL):  # raised below: the original quotes the URL
        proxy = httpx.Proxy(settings.proxy.reveal())
    if proxy is None or proxy.url.scheme not in ("http", "https"):
        raise ValueError("the proxy is not an http:// or https:// URL")
    return ProxyTransport(proxy, tls, settings.max_connections)


_HOLDS_SECRET = re.compile(
    "auth|cookie|credential|key|pass|secret|session|sign|token", re.IGNORECASE
)
"""Names of header fields whose values are secrets; others may hold words of any response."""


@final
class HttpUpstream:
    """An `exchange.ports.Upstream` over HTTP; cheap enough to be made for one exchange.

    Args:
        transport: shared by all upstreams of the same settings.
        endpoint: the parsed base URL.
        credential: None for servers that need none.
        auth: how VAI presents the credential.
        betas: what `anthropic-beta` must list, beside what the settings, or else the client, list
            there.
        headers: fields of every request to this server, from the settings. VAI leaves out a field
            of the client's request with one of these names, or with the credential's.

    Raises:
        ValueError: the credential is bound to another origin.
    """

    __slots__ = (
        "_betas",
        "_fixed",
        "_key_filter",
        "_origin",
        "_prefix",
        "_settings_fields",
        "_transport",
    )

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        endpoint: Endpoint,
        credential: Credential | None = None,
        auth: AuthStyle = "x-api-key",
        headers: Mapping[str, Secret] = MappingProxyType({}),
        *,
        betas: tuple[str, ...] = (),
    ) -> None:
        self._transport = transport
        self._origin, self._prefix = endpoint
        fixed = [("Host", self._origin.authority), ("Accept-Encoding", "identity")]
        secrets: list[str] = []
        if credential is not None:
            fixed.append(credential.to_header(self._origin, auth))
            secrets.append(fixed[-1][1].removeprefix("Bearer "))
        for name, value in headers.items():
            if name.lower() == "anthropic-beta" and betas:
                fixed += with_betas([(name, value.reveal())], betas)
                betas = ()
            else:
                fixed.append((name, value.reveal()))
            if _HOLDS_SECRET.search(name):
                secrets.append(value.reveal().rpartition(" ")[2])
        self._fixed = encode_headers(fixed, forwarded=False)
        # Each response has a filter of its own; to encode the secrets takes most of making one.
        self._key_filter = KeyFilter(secrets)
        self._betas = betas
        own_names = {name.lower() for name in (*headers, auth)}
        # VAI refuses the built-in names in a client's headers anyway.
        self._settings_fields = own_names - {"bearer", *GATEWAY_FIELDS}

    async def send_request(
        self, request: WireRequest, /, *, connect_deadline: float, headers_deadline: float
    ) -> UpstreamResponse:
        """Send the request and wait for the response's head.

        Raises:
            InvalidRequest: a header cannot be forwarded; nothing was sent.
            UpstreamUnreachable, UpstreamTimeout, UpstreamBroken: see `failures` for the codes.
        """
        if self._settings_fields:
            fields = [
                field for field in request.headers if field[0].lower() not in self._settings_fields
            ]
            request = msgspec.structs.replace(request, headers=tuple(fields))
        if self._betas:
            listed = with_betas(request.headers, self._betas)
            request = msgspec.structs.replace(request, headers=listed)
        line = encode_request_line(request.method, self._prefix + request.target)
        lines = encode_forwarded_headers(request.headers)
        length = len(request.body)
        transport = self._transport
        if isinstance(transport, VaiTransport):
            framing = f"Content-Length: {length}\r\n" if length or request.method == "POST" else ""
            head = f"{line}{self._fixed}{lines}{framing}\r\n".encode("ascii")
            reply = await transport.send_head(
                self._origin,
                head,
                request.body,
                connect_deadline=connect_deadline,
                headers_deadline=headers_deadline,
            )
            if not self._key_filter.is_empty:
                reply.key_filter = self._key_filter.copy_for_response()
            return reply
        return await send_over_httpx(
            transport,
            self._to_httpx(request),
            connect_deadline=connect_deadline,
            headers_deadline=headers_deadline,
            key_filter=self._key_filter.copy_for_response(),
        )

    def _to_httpx(self, request: WireRequest) -> httpx.Request:
        """The same request for a stock transport."""
        fields = list(request.headers)
        for line in self._fixed.splitlines():
            name, _, value = line.partition(": ")
            fields.append((name, value))
        origin = self._origin
        url = f"{origin.scheme}://{origin.authority}{self._prefix}{request.target}"
        return httpx.Request(request.method, url, headers=fields, content=request.body)
