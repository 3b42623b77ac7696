"""The targets of one request: the models that may answer it, one after the other.

The law of this module: a target is turned to with all that belongs to it, its key, its lane,
its breaker, or it is passed over. The body is read anew for each further attempt: what was
parsed of it would else have to live until the first byte, for a case that seldom comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sanic import Request

from vai.errors import (
    AuthenticationFailed,
    InvalidRequest,
    Overloaded,
    ThreadUnsupported,
    UpstreamFault,
    VaiError,
)
from vai.exchange.attempts import Attempt, Persistence
from vai.gateway.call import Call
from vai.gateway.lanes import choose_lane, mended_lane
from vai.gateway.preparing import Opened
from vai.gateway.service import Service
from vai.io.http.provider_keys import ProviderKey
from vai.policy.breaker import Target
from vai.policy.route import Route

__all__ = ["Targets"]

_MAX_NAME: Final = 256


class Targets(Persistence[bytes]):
    """A request's plan. `first` gives its first attempt; the conductor asks for the rest."""

    def __init__(
        self,
        service: Service,
        call: Call,
        request: Request,
        routes: tuple[Route, ...],
        brought: Mapping[str, ProviderKey],
        opened: Opened,
    ) -> None:
        super().__init__(service.health)
        self._service = service
        self._call = call
        self._request = request
        self._brought = brought
        self._opened: Opened | None = opened
        self._routes = routes if len(routes) == 1 else self._rested_first(routes)
        self._turned_to = 0
        self._objection: VaiError | None = None
        self._threadless: ThreadUnsupported | None = None

    async def first(self) -> Attempt[bytes]:
        """The first attempt.

        Raises:
            VaiError: no target can be turned to; it says why not to the first of them.
        """
        attempt = await self._turn()
        self._opened = None
        if attempt is None:
            raise self._objection or RuntimeError("a request has at least one route")
        return attempt

    async def next(self, fault: UpstreamFault, remaining: float, /) -> Attempt[bytes] | None:
        """See `vai.exchange.attempts.Plan`."""
        self._call.failed_with(fault)
        attempt = await super().next(fault, remaining)
        self._opened = None
        if attempt is not None:
            self._call.attempts += 1
        return attempt

    async def again(self, *, mended: bool) -> Attempt[bytes] | None:
        """See `Persistence`."""
        service, call, route = self._service, self._call, self._routes[self._turned_to - 1]
        destination = service.destination(route, self._brought)
        try:
            lane = await service.preparer.run(
                mended_lane if mended else choose_lane,
                await self._open(),
                self._request,
                route,
                call.exchange_id,
                service.plain_settings,
                lent=not destination.own_key,
                terms=call.terms,
            )
        except InvalidRequest:  # the provider knows a block that VAI does not, and said no
            return None
        return None if lane is None else Attempt(lane, destination.upstream)

    async def move(self) -> Attempt[bytes] | None:
        """See `Persistence`."""
        attempt = None
        if self._turned_to < len(self._routes):
            attempt = await self._turn()
        if attempt is None and self._threadless is not None:
            # A target that was passed over serves this client once it goes on without a thread.
            raise self._threadless
        return attempt

    async def _open(self) -> Opened:
        """The body's envelope, read anew unless a step before this one has just read it."""
        if self._opened is None:
            self._opened = await self._service.preparer.open(self._request.body)
        return self._opened

    async def _turn(self) -> Attempt[bytes] | None:
        """An attempt at the next target that can be asked at all."""
        call = self._call
        while self._turned_to < len(self._routes):
            route = self._routes[self._turned_to]
            self._turned_to += 1
            try:
                attempt = await self._at(route)
            except (AuthenticationFailed, InvalidRequest, Overloaded) as objection:
                if self._objection is None:
                    self._objection = objection
                if isinstance(objection, ThreadUnsupported):
                    self._threadless = objection
                call.route = call.route or route
                continue
            call.route = route
            call.passed_over = [passed.name for passed in self._routes[: self._turned_to - 1]]
            return attempt
        return None

    async def _at(self, route: Route) -> Attempt[bytes]:
        service, call = self._service, self._call
        destination = service.destination(route, self._brought)
        target = _target(route)
        if not destination.own_key:
            self._ask_breaker(target)
        opened = await self._open()
        terms = service.terms(route, streamed=opened.envelope.stream)
        lane = await service.preparer.run(
            choose_lane,
            opened,
            self._request,
            route,
            call.exchange_id,
            service.plain_settings,
            lent=not destination.own_key,
            terms=terms,
        )
        self.enter(target, own_key=destination.own_key)
        call.simulated, call.terms = destination.simulated, terms
        return Attempt(lane, destination.upstream)

    def _ask_breaker(self, target: Target) -> None:
        health = self._service.health
        breaker = health.breaker(target)
        if breaker is not None and (wait := breaker.wait(health.clock())) > 0:
            raise Overloaded(
                "The provider failed repeatedly and is left alone for a moment",
                provider=target[0],
                code="breaker_open",
                retry_after=wait,
            )

    def _rested_first(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """Targets that asked for a pause (429) go last; the order is kept otherwise."""
        health = self._service.health
        now = health.clock()

        def is_cooling(route: Route) -> bool:
            breaker = health.breaker(_target(route))
            return breaker is not None and breaker.is_cooling(now)

        return tuple(sorted(routes, key=is_cooling))


def _target(route: Route) -> Target:
    # What callers ask for can be as long as a body, and what fails is remembered.
    return route.row.id, route.model[:_MAX_NAME]
