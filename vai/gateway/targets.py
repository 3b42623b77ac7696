"""The targets of one request: the models that may answer it, one after the other.

The law of this module: a target is turned to with all that belongs to it, its key, its lane,
its breaker, or it is passed over. The body is read anew for each further attempt: what was
parsed of it would else have to live until the first byte, for a case that seldom comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sanic import Request

from vai.codec import envelope as envelopes
from vai.codec.envelope import Envelope
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
    ) -> None:
        super().__init__(service.health)
        self._service = service
        self._call = call
        self._request = request
        self._brought = brought
        self._routes = routes if len(routes) == 1 else self._rested_first(routes)
        self._turned_to = 0
        self._objection: VaiError | None = None
        self._threadless: ThreadUnsupported | None = None

    def first(self, envelope: Envelope) -> Attempt[bytes]:
        """The first attempt.

        Raises:
            VaiError: no target can be turned to; it says why not to the first of them.
        """
        attempt = self._turn(envelope)
        if attempt is None:
            raise self._objection or RuntimeError("a request has at least one route")
        return attempt

    def next(self, fault: UpstreamFault, remaining: float, /) -> Attempt[bytes] | None:
        """See `vai.exchange.attempts.Plan`."""
        self._call.failed_with(fault)
        attempt = super().next(fault, remaining)
        if attempt is not None:
            self._call.attempts += 1
        return attempt

    def again(self, *, mended: bool) -> Attempt[bytes] | None:
        """See `Persistence`."""
        service, call, route = self._service, self._call, self._routes[self._turned_to - 1]
        envelope = envelopes.read(self._request.body)
        destination = service.destination(route, self._brought)
        try:
            lane = (mended_lane if mended else choose_lane)(
                route,
                envelope,
                self._request,
                call.exchange_id,
                service.settings,
                lent=not destination.own_key,
                terms=call.terms,
            )
        except InvalidRequest:  # the provider knows a block that VAI does not, and said no
            return None
        return None if lane is None else Attempt(lane, destination.upstream)

    def move(self) -> Attempt[bytes] | None:
        """See `Persistence`."""
        attempt = None
        if self._turned_to < len(self._routes):
            attempt = self._turn(envelopes.read(self._request.body))
        if attempt is None and self._threadless is not None:
            # A target that was passed over serves this client once it goes on without a thread.
            raise self._threadless
        return attempt

    def _turn(self, envelope: Envelope) -> Attempt[bytes] | None:
        """An attempt at the next target that can be asked at all."""
        call = self._call
        while self._turned_to < len(self._routes):
            route = self._routes[self._turned_to]
            self._turned_to += 1
            try:
                attempt = self._at(route, envelope)
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

    def _at(self, route: Route, envelope: Envelope) -> Attempt[bytes]:
        service, call = self._service, self._call
        destination = service.destination(route, self._brought)
        target = _target(route)
        if not destination.own_key:
            self._ask_breaker(target)
        terms = service.terms(route, streamed=envelope.stream)
        lane = choose_lane(
            route,
            envelope,
            self._request,
            call.exchange_id,
            service.settings,
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
