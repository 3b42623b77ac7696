"""The targets of one request: the models that may answer it, one after the other.

Invariants: a target is turned to with all that belongs to it, its key, its mode,
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
from vai.exchange.mode import ExchangeMode
from vai.gateway.request.context import RequestContext
from vai.gateway.request.modes import choose_mode, mode_without_reasoning
from vai.gateway.request.preparing import ParsedBody
from vai.gateway.service import GatewayService
from vai.io.http.provider_keys import ProviderKey
from vai.policy.breaker import Target
from vai.policy.route import Route

__all__ = ["TargetPlan"]

_MAX_NAME: Final = 256


class TargetPlan(Persistence[bytes]):
    """A request's plan. `first` gives its first attempt; the conductor asks for the rest."""

    # Set by the few requests whose first target fails.
    _missed_for: VaiError | None = None
    _is_missed_by_callers = False
    _mode: ExchangeMode[bytes] | None = None

    def __init__(
        self,
        service: GatewayService,
        context: RequestContext,
        request: Request,
        routes: tuple[Route, ...],
        brought: Mapping[str, ProviderKey],
        opened: ParsedBody,
    ) -> None:
        super().__init__(service.health)
        self._service = service
        self._context = context
        self._request = request
        self._brought = brought
        self._opened: ParsedBody | None = opened
        self._first = routes[0]
        self._routes = routes if len(routes) == 1 else self._rested_first(routes)
        self._requested = opened.fields.model
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

    async def next_attempt(
        self, fault: UpstreamFault, remaining: float, /
    ) -> Attempt[bytes] | None:
        """See `vai.exchange.attempts.RetryPlan`."""
        context = self._context
        context.record_failed_attempt(fault)
        target = self._mode.upstream_request.target if self._mode is not None else ""
        self._service.note_failure(context, fault, target)
        if context.route is self._first:
            self._missed_for, self._is_missed_by_callers = fault, context.is_byok
        attempt = await super().next_attempt(fault, remaining)
        self._opened = None
        if attempt is not None:
            self._context.attempts += 1
        return attempt

    async def again(self, *, mended: bool) -> Attempt[bytes] | None:
        """See `Persistence`."""
        service, context, route = self._service, self._context, self._routes[self._turned_to - 1]
        destination = service.choose_destination(route, self._brought)
        try:
            mode = await service.preparer.run_work(
                mode_without_reasoning if mended else choose_mode,
                await self._open(),
                self._request,
                route,
                context.exchange_id,
                service.settings_without_secrets,
                uses_gateway_key=not destination.is_byok,
                terms=context.terms,
            )
        except InvalidRequest:  # the provider knows a block that VAI does not, and said no
            return None
        self._mode = mode
        return None if mode is None else Attempt(mode, destination.upstream)

    def close(self, *, answered: bool) -> None:
        """See `vai.exchange.attempts.RetryPlan`."""
        super().close(answered=answered)
        self._mode = None
        route = self._context.route
        if not answered or route is None:
            return
        if (
            len(self._routes) > 1
            or route.row.id in self._service.health.provider_errors.last_errors
        ):
            self._note_answer(route)

    def left_alone(self, fault: UpstreamFault, seconds: float) -> None:
        """See `Persistence`."""
        if not self._context.is_simulated:
            self._service.alerts.left_alone(self._target, fault, seconds)

    def taken_back(self) -> None:
        """See `Persistence`."""
        if not self._context.is_simulated:
            self._service.alerts.taken_back(self._target)

    def _note_answer(self, route: Route) -> None:
        """Take note that `route` answered, and of the first target when it was another one."""
        service = self._service
        troubles = service.health.provider_errors
        troubles.record_response(route.row.id, is_byok=self._context.is_byok)
        if len(self._routes) == 1:
            return
        if route is self._first:
            if troubles.fallback_runs:
                troubles.clear_fallbacks(service.alias_of(self._requested))
        elif not self._is_missed_by_callers:
            alias = service.alias_of(self._requested)
            missed = troubles.record_fallback(alias, service.health.clock())
            if missed is not None:
                service.alerts.fell_back(alias, self._first.name, missed, self._missed_for)

    async def move(self) -> Attempt[bytes] | None:
        """See `Persistence`."""
        attempt = None
        if self._turned_to < len(self._routes):
            attempt = await self._turn()
        if attempt is None and self._threadless is not None:
            # A target that was passed over serves this client once it goes on without a thread.
            raise self._threadless
        return attempt

    async def _open(self) -> ParsedBody:
        """The body's envelope, read anew unless a step before this one has just read it."""
        if self._opened is None:
            self._opened = await self._service.preparer.parse_body(self._request.body)
        return self._opened

    async def _turn(self) -> Attempt[bytes] | None:
        """An attempt at the next target that can be asked at all."""
        context = self._context
        while self._turned_to < len(self._routes):
            route = self._routes[self._turned_to]
            self._turned_to += 1
            try:
                attempt = await self._at(route)
            except (AuthenticationFailed, InvalidRequest, Overloaded) as objection:
                if self._objection is None:
                    self._objection = objection
                if route is self._first:
                    self._miss_first(objection)
                if isinstance(objection, ThreadUnsupported):
                    self._threadless = objection
                context.route = context.route or route
                continue
            context.route = route
            context.skipped_models = [passed.name for passed in self._routes[: self._turned_to - 1]]
            return attempt
        return None

    def _miss_first(self, objection: VaiError) -> None:
        """The first target is passed over. What a request cannot be said for, and a key that its
        caller did not bring beside others, is for the caller to mend."""
        self._missed_for = objection
        self._is_missed_by_callers = isinstance(objection, InvalidRequest) or (
            isinstance(objection, AuthenticationFailed) and bool(self._brought)
        )

    async def _at(self, route: Route) -> Attempt[bytes]:
        service, context = self._service, self._context
        destination = service.choose_destination(route, self._brought)
        target = _target(route)
        if not destination.is_byok:
            self._ask_breaker(target)
        opened = await self._open()
        terms = service.find_terms(route, streamed=opened.fields.stream)
        mode = await service.preparer.run_work(
            choose_mode,
            opened,
            self._request,
            route,
            context.exchange_id,
            service.settings_without_secrets,
            uses_gateway_key=not destination.is_byok,
            terms=terms,
        )
        self.enter(target, own_key=destination.is_byok)
        context.is_simulated, context.terms = destination.is_simulated, terms
        context.is_byok, self._mode = destination.is_byok, mode
        return Attempt(mode, destination.upstream)

    def _ask_breaker(self, target: Target) -> None:
        health = self._service.health
        breaker = health.find_breaker(target)
        if breaker is not None and (wait := breaker.seconds_until_retry(health.clock())) > 0:
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
            breaker = health.find_breaker(_target(route))
            return breaker is not None and breaker.is_paused(now)

        return tuple(sorted(routes, key=is_cooling))


def _target(route: Route) -> Target:
    # What callers ask for can be as long as a body, and what fails is remembered.
    return route.row.id, route.model[:_MAX_NAME]
