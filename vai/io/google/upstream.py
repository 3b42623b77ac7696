"""Code Assist as an upstream: its credential is the access token of a login, renewed in time.

Invariants: at most one refresh runs at a time in a process, for all requests together. It
begins before the token expires, so that hardly any request waits for it. The cancellation of a
request does not cancel it. After a final refusal by Google this module sends no refresh.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, final

import httpx

from vai.config.login import GoogleLogin
from vai.config.schema import Provider
from vai.errors import UpstreamFault, UpstreamTimeout
from vai.exchange.ports import UpstreamResponse
from vai.io.clock import monotonic
from vai.io.google.oauth import GOOGLE, Endpoints, LoginFailed, OauthApp, make_client, refresh_token
from vai.io.http.head import Endpoint
from vai.io.http.provider_keys import Credential
from vai.io.http.upstream import HttpUpstream
from vai.io.log import log
from vai.secret import Secret
from vai.types.provider import WireRequest

__all__ = ["GoogleUpstream", "LoginTokens"]

_AHEAD: Final = 300.0
"""Seconds before a token's end at which VAI renews it."""
_MARGIN: Final = 30.0
"""Seconds before a token's end from which VAI no longer sends it."""
_PAUSE: Final = 5.0
"""Seconds between a refresh that failed and the next."""
_FRESH: Final = 60.0
"""Seconds for which VAI does not renew a new token, even if a server refuses it."""
_TIMEOUT: Final = 15.0
_PLAIN: Final = Provider()


class LoginTokens:
    """The token of one login. Belongs to one event loop.

    Args:
        provider: the settings that reach Google.
        now: the clock for the expiry of tokens, seconds since 1970.
    """

    def __init__(
        self,
        login: GoogleLogin,
        *,
        provider: Provider = _PLAIN,
        endpoints: Endpoints = GOOGLE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._app = OauthApp(login.client_id, login.client_secret)
        self._renewal = login.refresh_token
        self._token = login.access_token
        self._ends = login.expiry
        self._provider = provider
        self._endpoints = endpoints
        self._now = now
        self._running: asyncio.Task[None] | None = None
        self._failed: LoginFailed | None = None
        self._not_before = 0.0
        self._made = 0.0

    async def get_token(self) -> Secret:
        """The token to send now.

        Raises:
            UpstreamFault: there is none; code ``login_expired`` or ``login_unavailable``.
        """
        left = self._ends - self._now()
        if left > _AHEAD:
            return self._token
        if left > _MARGIN:
            if self._may_refresh():
                self._start_refresh()
            return self._token
        await self._renew_token()
        return self._token

    async def replace_token(self, refused: Secret) -> Secret:
        """The token to send after a server refused `refused`; the same if it is new.

        Raises:
            UpstreamFault: as `get_token`.
        """
        # Another request may have renewed the token meanwhile. If the server refuses a new
        # token, the token is not the cause, and the server would refuse the next one too.
        if self._token is refused and self._now() - self._made >= _FRESH:
            await self._renew_token()
        return self._token

    async def aclose(self) -> None:
        """Cancel a refresh that still runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _renew_token(self) -> None:
        if self._running is None and not self._may_refresh():
            raise self._login_fault()
        # Shielded: other requests may wait for the refresh that this one leaves.
        await asyncio.shield(self._start_refresh())
        if self._failed is not None:
            raise self._login_fault()

    def _may_refresh(self) -> bool:
        if self._failed is None:
            return True
        return not self._failed.final and self._now() >= self._not_before

    def _start_refresh(self) -> asyncio.Task[None]:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run_refresh())
        return self._running

    async def _run_refresh(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT), make_client(_TIMEOUT, self._provider) as http:
                new = await refresh_token(http, self._endpoints, self._app, self._renewal)
        except (LoginFailed, TimeoutError) as error:
            failed = error if isinstance(error, LoginFailed) else None
            self._failed = failed or LoginFailed("Google did not respond in time")
            self._not_before = self._now() + _PAUSE
            log.warning("google login: {}", self._failed)
        else:
            self._failed = None
            self._made = self._now()
            self._token, self._ends = new.access, self._made + new.lifetime
            self._renewal = new.refresh or self._renewal
        finally:
            self._running = None

    def _login_fault(self) -> UpstreamFault:
        final = self._failed is not None and self._failed.final
        return UpstreamFault(
            "The gateway's Google login is no longer valid; its operator has to log in again"
            if final
            else "The gateway's Google login cannot be renewed now",
            code="login_expired" if final else "login_unavailable",
            retry_after=None if final else _PAUSE,
            should_retry=not final,
        )


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
        """Send the request and wait for the response's head.

        If the server refuses a token before its expiry, the login renews it, once.

        Raises:
            UpstreamFault: there is no token, or as `HttpUpstream.send_request`.
        """
        # Renewing a login is no part of connecting and does not shorten that time.
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
