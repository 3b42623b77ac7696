"""The way to Code Assist: an HTTP upstream whose credential changes with the hour."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, final

import httpx

from vai.errors import UpstreamTimeout
from vai.exchange.ports import UpstreamResponse
from vai.io.clock import monotonic
from vai.io.google.bearer import LoginTokens
from vai.io.http.credential import Credential
from vai.io.http.head import Endpoint
from vai.io.http.upstream import HttpUpstream
from vai.secret import Secret
from vai.types.provider import WireRequest

__all__ = ["GoogleUpstream"]

_UNAUTHORIZED: Final = 401


@final
class GoogleUpstream:
    """An `exchange.ports.Upstream` that presents a login. Belongs to one event loop."""

    __slots__ = ("_bearer", "_bound", "_endpoint", "_token", "_transport")

    def __init__(
        self, transport: httpx.AsyncBaseTransport, endpoint: Endpoint, bearer: LoginTokens
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._bearer = bearer
        self._token: Secret | None = None
        self._bound: HttpUpstream | None = None

    async def send_request(
        self, request: WireRequest, /, *, connect_deadline: float, headers_deadline: float
    ) -> UpstreamResponse:
        """Send the request and wait for the answer's head.

        A token that is refused although its time is not over is renewed, once.

        Raises:
            UpstreamFault: there is no token, or as `HttpUpstream.send`.
        """
        # Renewing a login is no part of connecting: what it takes is not taken from that.
        to_connect = connect_deadline - monotonic()
        token = await _await_token(headers_deadline, self._bearer.get_token())
        connect_deadline = min(monotonic() + to_connect, headers_deadline)
        reply = await self._bind_token(token).send_request(
            request, connect_deadline=connect_deadline, headers_deadline=headers_deadline
        )
        if reply.status != _UNAUTHORIZED:
            return reply
        try:
            another = await _await_token(headers_deadline, self._bearer.replace_token(token))
        except BaseException:
            reply.close()
            raise
        if another is token:
            return reply
        reply.close()
        connect_deadline = min(monotonic() + to_connect, headers_deadline)
        return await self._bind_token(another).send_request(
            request, connect_deadline=connect_deadline, headers_deadline=headers_deadline
        )

    def _bind_token(self, token: Secret) -> HttpUpstream:
        if self._bound is None or self._token is not token:
            credential = Credential(token, self._endpoint.origin)
            self._bound = HttpUpstream(self._transport, self._endpoint, credential, "bearer")
            self._token = token
        return self._bound


async def _await_token(until: float, token: Awaitable[Secret]) -> Secret:
    try:
        async with asyncio.timeout_at(until):
            return await token
    except TimeoutError:
        raise UpstreamTimeout(
            "Google did not renew the login in time", code="headers_timeout"
        ) from None
