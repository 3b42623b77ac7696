"""What an exchange does when an attempt fails before the client has received anything.

Invariants: the exchange closes, waits and sends; the plan decides whether, where and after what
wait to try again. The exchange consults the plan only while the client has received no byte of a
response. Every step of a plan is bounded: the retries of one target by their number and by a
budget, the targets by their list; the request without reasoning is sent once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from vai.errors import UpstreamFault, UpstreamRejected
from vai.exchange.mode import ExchangeMode
from vai.exchange.ports import Clock, Upstream
from vai.policy.breaker import Breaker, BreakerRules, Breakers, Target
from vai.policy.error_attribution import is_outage
from vai.policy.provider_errors import ProviderErrors
from vai.policy.retry import (
    NextTarget,
    Retry,
    RetryBudget,
    RetryDecision,
    RetryRules,
    RetryState,
    WithoutReasoning,
    decide,
)
from vai.providers.decode.upstream_errors import is_reasoning_rejection

__all__ = [
    "Attempt",
    "AttemptBuilder",
    "BreakerChange",
    "BreakerClosed",
    "BreakerOpened",
    "ProviderHealth",
    "RetryPlan",
    "TargetRetries",
]

T = TypeVar("T")


class Attempt(msgspec.Struct, Generic[T], frozen=True):
    """One more upstream request, to be made after `delay` seconds."""

    mode: ExchangeMode[T]
    upstream: Upstream
    delay: float = 0.0


class RetryPlan(Protocol[T]):
    """The further attempts of one exchange."""

    async def next_attempt(self, fault: UpstreamFault, remaining: float, /) -> Attempt[T] | None:
        """The attempt that follows `fault`; None when the client receives that error.

        `remaining` is how many seconds the exchange has left; no delay reaches them.
        """
        ...

    def close(self, *, answered: bool) -> None:
        """No attempt follows. Called once; `answered`: the last one got a response, no error."""
        ...


class AttemptBuilder(Protocol[T]):
    """Builds the attempts that `TargetRetries` decides on."""

    async def build_retry(self, *, without_reasoning: bool) -> Attempt[T] | None:
        """A fresh attempt at the present target, with or without the history's reasoning.

        None where the request is impossible without it, or must not be sent again.
        """
        ...

    async def build_next_target(self) -> Attempt[T] | None:
        """An attempt at the next target, after entering it; None when there is none."""
        ...


class ProviderHealth:
    """What one process knows of its providers: which fail, and how much has been retried.

    Rules that are None switch their part off. `random_jitter` returns random numbers from 0 to 1.
    There is a budget for each provider and class of keys (the gateway's, BYOK keys), so that
    clients with BYOK keys cannot use up the budget of the others.
    """

    def __init__(
        self,
        retries: RetryRules | None,
        breaker: BreakerRules | None,
        *,
        clock: Clock,
        random_jitter: Callable[[], float],
        provider_errors: ProviderErrors | None = None,
    ) -> None:
        self.retry_rules = retries
        self.breakers = None if breaker is None else Breakers(breaker)
        self.provider_errors = ProviderErrors() if provider_errors is None else provider_errors
        self.clock = clock
        self.random_jitter = random_jitter
        self._budgets: dict[tuple[str, bool], RetryBudget] = {}

    def retry_budget(self, provider: str, *, is_byok: bool) -> RetryBudget:
        """The budget for retries. Provider ids come from the settings, so they are few."""
        key = (provider, is_byok)
        budget = self._budgets.get(key)
        if budget is None:
            share = 0.0 if self.retry_rules is None else self.retry_rules.budget
            budget = self._budgets[key] = RetryBudget(share, self.clock())
        return budget

    def find_breaker(self, target: Target) -> Breaker | None:
        """The breaker of a target that failed lately."""
        return self.breakers.find_breaker(target) if self.breakers else None


class BreakerOpened(msgspec.Struct, frozen=True):
    """The present target's breaker has opened, for so many seconds."""

    seconds: float


class BreakerClosed(msgspec.Struct, frozen=True):
    """The present target's breaker has closed again."""


BreakerChange = BreakerOpened | BreakerClosed


class TargetRetries:
    """Decides what follows a failed attempt: one request without reasoning, retries at the
    present target, and then the next target.

    A plan owns one, enters targets here, and builds the attempts. A request with a BYOK key
    neither checks breakers nor counts for them: its failures concern the owner of that key
    only.
    """

    __slots__ = (
        "_health", "_is_byok", "_is_probe", "_is_without_reasoning", "_retries", "target",
    )  # fmt: skip

    def __init__(self, health: ProviderHealth) -> None:
        self._health = health
        self.target: Target = ("", "")
        self._is_byok = False
        self._is_probe = False
        self._is_without_reasoning = False
        self._retries = 0

    def enter_target(self, target: Target, *, is_byok: bool) -> None:
        """The plan makes all further attempts at `target`."""
        self.target, self._is_byok = target, is_byok
        self._retries = 0
        health = self._health
        now = health.clock()
        if health.retry_rules is not None:
            health.retry_budget(target[0], is_byok=is_byok).record_request(now)
        breaker = None if is_byok else health.find_breaker(target)
        self._is_probe = breaker is not None and breaker.begin_attempt(now)

    def record_failure(self, fault: UpstreamFault) -> BreakerChange | None:
        """Count `fault` for the target's breaker, as far as the target is to blame."""
        health = self._health
        breakers, now = health.breakers, health.clock()
        if breakers is None or self._is_byok:
            return None
        if is_outage(fault):
            breaker = breakers.ensure_breaker(self.target, now)
            has_opened = breaker.record_failure(now, probe=self._is_probe)
            self._is_probe = False
            return BreakerOpened(breaker.seconds_until_retry(now)) if has_opened else None
        if fault.type == "rate_limit_error" and fault.retry_after:
            breakers.ensure_breaker(self.target, now).record_pause(now, fault.retry_after)
        if self._is_probe and isinstance(fault, UpstreamRejected):
            return self._record_success(breakers.ensure_breaker(self.target, now), now)
        return None

    async def next_attempt(
        self, builder: AttemptBuilder[T], fault: UpstreamFault, remaining: float
    ) -> Attempt[T] | None:
        """See `RetryPlan.next_attempt`; `builder` makes the attempt."""
        now = self._health.clock()
        decision = self._decide_next(fault, remaining, now)
        if isinstance(decision, WithoutReasoning):
            self._is_without_reasoning = True
            attempt = await builder.build_retry(without_reasoning=True)
            if attempt is not None:
                return attempt
            decision = self._decide_next(fault, remaining, now)
        if isinstance(decision, Retry):
            self._retries += 1
            self._retry_budget().record_retry(fault, now)
            attempt = await builder.build_retry(without_reasoning=self._is_without_reasoning)
            return None if attempt is None else replace(attempt, delay=decision.delay)
        return await builder.build_next_target() if isinstance(decision, NextTarget) else None

    def close(self, *, answered: bool) -> BreakerChange | None:
        """See `RetryPlan.close`."""
        breaker = None if self._is_byok else self._health.find_breaker(self.target)
        if breaker is None:
            return None
        now = self._health.clock()
        if answered:
            return self._record_success(breaker, now)
        if self._is_probe:
            breaker.abandon_probe(now)
        return None

    def _decide_next(self, fault: UpstreamFault, remaining: float, now: float) -> RetryDecision:
        health = self._health
        breaker = None if self._is_byok else health.find_breaker(self.target)
        state = RetryState(
            rules=health.retry_rules,
            retries=self._retries,
            remaining=remaining,
            is_byok=self._is_byok,
            may_drop_reasoning=not self._is_without_reasoning and is_reasoning_rejection(fault),
            breaker_open_until=0.0 if breaker is None else breaker.open_until,
            is_within_budget=self._retry_budget().allows_retry(fault, now),
            jitter=health.random_jitter(),
        )
        return decide(fault, state, now)

    def _retry_budget(self) -> RetryBudget:
        return self._health.retry_budget(self.target[0], is_byok=self._is_byok)

    def _record_success(self, breaker: Breaker, now: float) -> BreakerChange | None:
        was_open = breaker.is_open
        is_forgotten = breaker.record_success(now, probe=self._is_probe)
        self._is_probe = False
        if is_forgotten and self._health.breakers is not None:
            self._health.breakers.remove_breaker(self.target)
        return BreakerClosed() if was_open and not breaker.is_open else None
