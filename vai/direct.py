"""Exchanges in the calling process, without a gateway in between.

The module uses the routes, adapters, timers and settlement of `POST /v1/messages`. It has none of
what only a shared gateway has: gateway keys, limits, the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from random import random
from types import TracebackType
from typing import Any, Self

import msgspec

from vai.errors import AuthenticationFailed, NotFound, UpstreamBroken, UpstreamFault
from vai.exchange.attempts import Attempt, ProviderHealth, TargetRetries
from vai.exchange.exchange import Exchange, Settlement
from vai.exchange.ports import Upstream
from vai.exchange.translated_mode import TranslatedMode
from vai.io.clock import monotonic
from vai.io.http.head import Endpoint
from vai.io.http.provider_keys import Credential, ProviderKey, choose_presentation
from vai.io.http.upstream import HttpUpstream, UpstreamSettings, build_transport
from vai.policy.retry import RetryRules
from vai.policy.route import Route, resolve_route
from vai.policy.timers import Timers
from vai.providers.factory import make_adapter
from vai.providers.registry import PROVIDER_SPECS
from vai.providers.translate import reasoning
from vai.secret import Secret
from vai.types import parse
from vai.types.events import Event
from vai.types.message import Message, Usage
from vai.types.request import MessageRequest

__all__ = ["DirectClient"]

_MAX_TOKENS = 4096
_LOGGED_IN_TO = "code-assist"
"""The kind of provider that requires a login, which only a gateway has."""


class DirectClient:
    """Sends requests to providers with the program's own keys. Use it with `async with`.

    Args:
        keys: provider id -> API key.
        base_urls: provider id -> base URL, where it is not the provider's own.
        timers: the timeouts of one exchange.
        retries: the rules for retries before the first byte; None for no retries.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        *,
        base_urls: Mapping[str, str] | None = None,
        timers: Timers | None = None,
        retries: RetryRules | None = RetryRules(),  # noqa: B008  frozen
    ) -> None:
        moved = base_urls or {}
        self._specs = {
            name: msgspec.structs.replace(spec, base_url=moved.get(name, spec.base_url))
            for name, spec in PROVIDER_SPECS.items()
            if spec.kind != _LOGGED_IN_TO
        }
        self._keys = {provider: Secret(key, provider) for provider, key in keys.items()}
        self._timers = timers or Timers()
        # No circuit breaker: there are no other clients to protect.
        self._health = ProviderHealth(retries, None, clock=monotonic, random_jitter=random)
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
        """Close all connections."""
        await self._transport.aclose()

    async def create(self, request: Mapping[str, Any]) -> Message:
        """The response to a request in the form of ``POST /v1/messages``.

        Raises:
            VaiError: the exchange failed, for any reason.
        """
        with self._make_exchange(request, stream=False) as exchange:
            answer = (await exchange.start()).first_batch
        if not isinstance(answer, Message):
            raise UpstreamBroken("The provider streamed its response, which was requested as JSON")
        return answer

    async def stream(self, request: Mapping[str, Any]) -> AsyncIterator[Event]:
        """The events of the response, as they arrive. Close the iterator to stop the provider.

        Raises:
            VaiError: the exchange failed, for any reason, after the events received before.
        """
        with self._make_exchange(request, stream=True) as exchange:
            batch: list[Event] | Message | None = (await exchange.start()).first_batch
            while isinstance(batch, list):
                for event in batch:
                    yield event
                batch = await exchange.read_batch()

    def _make_exchange(
        self, request: Mapping[str, Any], *, stream: bool
    ) -> Exchange[list[Event] | Message]:
        parsed = parse.parse_request({**request, "stream": stream})
        provider = parsed.model.partition("/")[0]
        if provider in PROVIDER_SPECS and provider not in self._specs:
            raise NotFound(f"{provider} needs a login, and with it a gateway; gemini takes a key")
        route = resolve_route(parsed.model, self._specs, {})
        key = self._keys.get(route.spec.id)
        if key is None:
            raise AuthenticationFailed(
                f"No key for provider {route.spec.id}: expected one under this name in `keys`",
                code="provider_key_missing",
            )
        parsed = msgspec.structs.replace(
            parsed,
            model=route.model,
            max_tokens=_MAX_TOKENS if parsed.max_tokens is None else parsed.max_tokens,
        )
        self._exchanges += 1
        endpoint = Endpoint.from_base_url(route.spec.base_url)
        shown = choose_presentation(route.spec, ProviderKey(key))
        credential = Credential(key, endpoint.origin)
        upstream = HttpUpstream(
            self._transport, endpoint, credential, shown.style, betas=shown.betas
        )
        plan = _SingleTargetPlan(self._health, upstream, route, parsed, f"direct{self._exchanges}")
        return Exchange(
            plan.make_mode(parsed),
            upstream,
            _UnlimitedAdmission(),
            reserved_tokens=0,
            timers=self._timers,
            clock=monotonic,
            on_settled=_ignore_settlement,
            plan=plan,
        )


class _UnlimitedAdmission:
    """Admits every request and charges none: in process there is no shared gateway."""

    async def __call__(self, tokens: int, /) -> _UnlimitedAdmission:
        """A lease; the call always succeeds."""
        return self

    def settle(self, usage: Usage, /) -> None:
        """Nothing was reserved."""


class _SingleTargetPlan:
    """Retries at the only target."""

    def __init__(
        self,
        health: ProviderHealth,
        upstream: Upstream,
        route: Route,
        request: MessageRequest,
        name: str,
    ) -> None:
        self._retries = TargetRetries(health)
        self._upstream = upstream
        self._spec = route.spec
        self._request = request
        self._name = name
        # No BYOK: the only key is the program's own, and retries wait for its limits too.
        self._retries.enter_target((route.spec.id, route.model), is_byok=False)

    def make_mode(self, request: MessageRequest) -> TranslatedMode[list[Event] | Message]:
        """A new exchange mode: an adapter serves one attempt."""
        adapter = make_adapter(self._spec, self._name, request=request)
        return TranslatedMode(adapter, request, events=_return_value, message=_return_value)

    async def next_attempt(
        self, fault: UpstreamFault, remaining: float, /
    ) -> Attempt[list[Event] | Message] | None:
        self._retries.record_failure(fault)
        return await self._retries.next_attempt(self, fault, remaining)

    def close(self, *, answered: bool) -> None:
        self._retries.close(answered=answered)

    async def build_retry(
        self, *, without_reasoning: bool
    ) -> Attempt[list[Event] | Message] | None:
        request = reasoning.without_reasoning(self._request) if without_reasoning else self._request
        return None if request is None else Attempt(self.make_mode(request), self._upstream)

    async def build_next_target(self) -> None:
        """There is no other target."""


def _return_value(value: list[Event] | Message) -> list[Event] | Message:
    return value


def _ignore_settlement(settlement: Settlement) -> None:
    """Does nothing: the response itself has the usage, and there is no ledger."""
