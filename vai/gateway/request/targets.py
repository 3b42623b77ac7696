"""The targets of one request: the models that may answer it, one after the other.

Invariants: an attempt at a target uses the key, the mode and the breaker of this target, or the
plan skips it. The plan parses the body anew for each further attempt; a kept parsed body would
take memory until the first byte, for a rare case.
"""

from __future__ import annotations

from typing import Final

from vai.errors import (
    AuthenticationFailed,
    InvalidRequest,
    Overloaded,
    ThreadUnsupported,
    UpstreamFault,
    VaiError,
)
from vai.exchange.attempts import (
    Attempt,
    BreakerChange,
    BreakerOpened,
    TargetRetries,
)
from vai.exchange.mode import ExchangeMode
from vai.gateway.request.context import RequestContext
from vai.gateway.request.modes import PreparedTarget, choose_mode, mode_without_reasoning
from vai.gateway.request.preparing import ParsedBody, PreparedRequest
from vai.gateway.service import GatewayService
from vai.policy.breaker import Target
from vai.policy.route import Route

__all__ = ["TargetPlan"]

_MAX_NAME: Final = 256


class TargetPlan:
    """A request's retry plan: its first attempt, and those that the exchange requests later."""

    # Set by the few requests whose first target fails.
    _first_error: VaiError | None = None
    _is_first_clients_fault = False
    _mode: ExchangeMode[bytes] | None = None

    def __init__(
        self,
        service: GatewayService,
        context: RequestContext,
        prepared: PreparedRequest,
    ) -> None:
        self._retries = TargetRetries(service.health)
        self._service = service
        self._context = context
        self._received = prepared.received
        self._byok_keys = prepared.byok_keys
        self._body: ParsedBody | None = prepared.body
        routes = prepared.routes
        self._first = routes[0]
        self._routes = routes if len(routes) == 1 else self._paused_last(routes)
        self._requested = prepared.body.fields.model
        self._prepared_target: PreparedTarget | None = None
        self._next_index = 0
        self._skip_errors: list[VaiError] = []
        self._thread_error: ThreadUnsupported | None = None

    @property
    def max_tokens(self) -> int:
        """Tokens of the response, as the present target limits them; 0 before the first."""
        return 0 if self._prepared_target is None else self._prepared_target.max_tokens

    async def build_first(self) -> Attempt[bytes]:
        """The first attempt.

        Raises:
            VaiError: no target accepts the request; the error is that of the first.
        """
        attempt = await self._enter_next()
        self._body = None
        if attempt is None:
            raise self._skip_errors[0]
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
            self._first_error, self._is_first_clients_fault = fault, context.is_byok
        self._report_breaker(self._retries.record_failure(fault), fault)
        attempt = await self._retries.next_attempt(self, fault, remaining)
        self._body = None
        if attempt is not None:
            self._context.attempts += 1
        return attempt

    async def build_retry(self, *, without_reasoning: bool) -> Attempt[bytes] | None:
        """See `vai.exchange.attempts.AttemptBuilder`."""
        service, target = self._service, self._prepared_target
        if target is None:  # no target was entered
            return None
        destination = service.choose_destination(target.route, self._byok_keys)
        try:
            mode = await service.preparer.run_work(
                mode_without_reasoning if without_reasoning else choose_mode,
                self._body or await self._parse_again(),
                self._received,
                target,
            )
        except InvalidRequest:  # the provider rejected a block that VAI cannot read
            return None
        self._mode = mode
        return None if mode is None else Attempt(mode, destination.upstream)

    def close(self, *, answered: bool) -> None:
        """See `vai.exchange.attempts.RetryPlan`."""
        self._report_breaker(self._retries.close(answered=answered), None)
        self._mode = None
        route = self._context.route
        if not answered or route is None:
            return
        if (
            len(self._routes) > 1
            or route.spec.id in self._service.health.provider_errors.last_errors
        ):
            self._record_response(route)

    def _report_breaker(self, change: BreakerChange | None, fault: UpstreamFault | None) -> None:
        """Write a line about a change of the present target's breaker, if any."""
        if change is None or self._context.is_simulated:
            return
        alerts, target = self._service.alerts, self._retries.target
        if not isinstance(change, BreakerOpened):
            alerts.breaker_closed(target)
        elif fault is not None:
            alerts.breaker_opened(target, fault, change.seconds)

    def _record_response(self, route: Route) -> None:
        """Record that `route` answered, and a fallback when it is not the first target."""
        service = self._service
        troubles = service.health.provider_errors
        troubles.record_response(route.spec.id, is_byok=self._context.is_byok)
        if len(self._routes) == 1:
            return
        if route is self._first:
            if troubles.fallback_runs:
                troubles.clear_fallbacks(service.alias_of(self._requested))
        elif not self._is_first_clients_fault:
            alias = service.alias_of(self._requested)
            missed = troubles.record_fallback(alias, service.health.clock())
            if missed is not None:
                service.alerts.warn_of_fallback(alias, self._first.name, missed, self._first_error)

    async def build_next_target(self) -> Attempt[bytes] | None:
        """See `vai.exchange.attempts.AttemptBuilder`."""
        attempt = None
        if self._next_index < len(self._routes):
            attempt = await self._enter_next()
        if attempt is None and self._thread_error is not None:
            # A skipped target can serve this client once it sends no thread.
            raise self._thread_error
        return attempt

    async def _parse_again(self) -> ParsedBody:
        """Parse the body, where no step before this one has just parsed it."""
        self._body = await self._service.preparer.parse_body(self._received.body)
        return self._body

    async def _enter_next(self) -> Attempt[bytes] | None:
        """An attempt at the next target that accepts the request."""
        context = self._context
        while self._next_index < len(self._routes):
            route = self._routes[self._next_index]
            self._next_index += 1
            try:
                attempt = await self._build_first_at(route)
            except (AuthenticationFailed, InvalidRequest, Overloaded) as error:
                self._skip_errors.append(error)
                if route is self._first:
                    self._skip_first(error)
                if isinstance(error, ThreadUnsupported):
                    self._thread_error = error
                context.route = context.route or route
                continue
            context.route = route
            if self._next_index > 1:
                passed = self._routes[: self._next_index - 1]
                context.skipped_models = [one.name for one in passed]
            return attempt
        return None

    def _skip_first(self, error: VaiError) -> None:
        """Record why the first target is skipped. The client has to correct what the wire format
        cannot express, and a missing key beside other BYOK keys."""
        self._first_error = error
        self._is_first_clients_fault = isinstance(error, InvalidRequest) or (
            isinstance(error, AuthenticationFailed) and bool(self._byok_keys)
        )

    async def _build_first_at(self, route: Route) -> Attempt[bytes]:
        service, context = self._service, self._context
        destination = service.choose_destination(route, self._byok_keys)
        target = _target_of(route)
        if not destination.is_byok:
            self._check_breaker(target)
        body = self._body or await self._parse_again()
        prepared = service.prepare_target(context, body.fields, route, destination)
        if body.needs_helper:
            mode = await service.preparer.run_work(choose_mode, body, self._received, prepared)
        else:  # as `run_work` does, without its coroutine
            mode = choose_mode(body.fields, self._received, prepared)
        self._retries.enter_target(target, is_byok=destination.is_byok)
        context.enter_target(prepared)
        self._prepared_target, self._mode = prepared, mode
        return Attempt(mode, destination.upstream)

    def _check_breaker(self, target: Target) -> None:
        health = self._service.health
        breaker = health.find_breaker(target)
        if breaker is not None and (wait := breaker.seconds_until_retry(health.clock())) > 0:
            raise Overloaded(
                "The provider failed repeatedly and its circuit breaker is open",
                provider=target[0],
                code="breaker_open",
                retry_after=wait,
            )

    def _paused_last(self, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """Move paused targets (429) to the end; otherwise the order stays."""
        health = self._service.health
        now = health.clock()

        def is_cooling(route: Route) -> bool:
            breaker = health.find_breaker(_target_of(route))
            return breaker is not None and breaker.is_paused(now)

        return tuple(sorted(routes, key=is_cooling))


def _target_of(route: Route) -> Target:
    # A model name can be as long as a body, and the breakers keep the names that fail.
    return route.spec.id, route.model[:_MAX_NAME]
