"""Exchanges in the caller's own process, without a gateway in between.

The same routes, adapters, timers and settlement as behind `POST /v1/messages`; what is
missing is what only a shared gateway has: callers' keys, limits, the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from vai.errors import AuthenticationFailed, UpstreamBroken
from vai.exchange.conduct import Exchange, Settlement
from vai.exchange.ports import Timers
from vai.exchange.translated import Translated
from vai.exchange.unlimited import Unlimited
from vai.io.clock import monotonic
from vai.io.http.credential import Credential
from vai.io.http.head import Endpoint
from vai.io.http.upstream import HttpUpstream, UpstreamSettings, build_transport
from vai.policy.route import resolve
from vai.providers.registry import ROWS, make_adapter
from vai.secret import Secret
from vai.types import parse
from vai.types.events import Event
from vai.types.message import Message

__all__ = ["Direct"]

_MAX_TOKENS = 4096


class Direct:
    """Calls providers with the caller's own keys. Use it with `async with`.

    Args:
        keys: provider id -> API key.
        base_urls: provider id -> base URL, where it is not the provider's own.
        timers: the waits of one exchange.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        *,
        base_urls: Mapping[str, str] | None = None,
        timers: Timers | None = None,
    ) -> None:
        moved = base_urls or {}
        self._rows = {
            name: msgspec.structs.replace(row, base_url=moved.get(name, row.base_url))
            for name, row in ROWS.items()
        }
        self._keys = {provider: Secret(key, provider) for provider, key in keys.items()}
        self._timers = timers or Timers()
        self._transport = build_transport(UpstreamSettings(base_url=""))
        self._exchanges = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Drop all connections."""
        await self._transport.aclose()

    async def create(self, request: Mapping[str, Any]) -> Message:
        """The answer to a request in the form of ``POST /v1/messages``.

        Raises:
            VaiError: whatever went wrong.
        """
        with self._exchange(request, stream=False) as exchange:
            answer = (await exchange.open()).first
        if not isinstance(answer, Message):
            raise UpstreamBroken("The provider streamed an answer that was not asked for")
        return answer

    async def stream(self, request: Mapping[str, Any]) -> AsyncIterator[Event]:
        """The events of the answer, as they come. Close the iterator to stop the provider.

        Raises:
            VaiError: whatever went wrong, after the events that came before it.
        """
        with self._exchange(request, stream=True) as exchange:
            batch: list[Event] | Message | None = (await exchange.open()).first
            while isinstance(batch, list):
                for event in batch:
                    yield event
                batch = await exchange.read()

    def _exchange(
        self, request: Mapping[str, Any], *, stream: bool
    ) -> Exchange[list[Event] | Message]:
        ask = parse.request({**request, "stream": stream})
        route = resolve(ask.model, self._rows, {})
        key = self._keys.get(route.row.id)
        if key is None:
            raise AuthenticationFailed(
                f"No key for provider {route.row.id}", code="provider_key_missing"
            )
        ask = msgspec.structs.replace(
            ask,
            model=route.model,
            max_tokens=_MAX_TOKENS if ask.max_tokens is None else ask.max_tokens,
        )
        self._exchanges += 1
        adapter = make_adapter(route.row, f"direct{self._exchanges}")
        endpoint = Endpoint.parse(route.row.base_url)
        return Exchange(
            Translated(adapter, ask, events=_same, message=_same),
            HttpUpstream(
                self._transport, endpoint, Credential(key, endpoint.origin), route.row.auth
            ),
            Unlimited(),
            principal="direct",
            reserve=0,
            timers=self._timers,
            clock=monotonic,
            settled=_nobody_asks,
        )


def _same(value: list[Event] | Message) -> list[Event] | Message:
    return value


def _nobody_asks(settlement: Settlement) -> None:
    """Usage is in the answer itself; there is no ledger to write to."""
