"""What an exchange does when an attempt fails before the caller has had anything.

Invariants: closing, waiting and sending are the conductor's; whether, where and
after what wait something is tried again is the plan's. It is asked only while the caller has
not been sent a byte of an answer, and every step it takes is bounded: repeats of one target
by their number and by a budget, targets by their list, and a mended request by there being
one kind of mending.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from vai.errors import UpstreamFault, UpstreamRejected
from vai.exchange.mode import ExchangeMode
from vai.exchange.ports import Clock, Upstream
from vai.policy.breaker import Breaker, BreakerRules, Breakers, Target
from vai.policy.error_attribution import is_outage, may_fall_back
from vai.policy.provider_errors import ProviderErrors
from vai.policy.retry import RetryBudget, RetryRules, is_retryable, retry_delay
from vai.providers.decode.upstream_errors import is_reasoning_rejection

__all__ = ["Attempt", "Persistence", "ProviderHealth", "RetryPlan"]

T = TypeVar("T")


class Attempt(msgspec.Struct, Generic[T], frozen=True):
    """One more way to an answer, to be gone after `delay` seconds."""

    mode: ExchangeMode[T]
    upstream: Upstream
    delay: float = 0.0


class RetryPlan(Protocol[T]):
    """The further attempts of one exchange."""

    async def next_attempt(self, fault: UpstreamFault, remaining: float, /) -> Attempt[T] | None:
        """What to try after `fault`; None when the caller is to be told of it.

        `remaining` is how many seconds the exchange has left; no delay reaches them.
        """
        ...

    def close(self, *, answered: bool) -> None:
        """No further attempt will be made. Called once; `answered` says that the last one was."""
        ...


class ProviderHealth:
    """What one process knows of its providers: who fails, and how much has been repeated.

    Rules that are None switch their part off. `chance` gives random numbers from 0 to 1.
    There is a budget for each provider and class of keys (the gateway's, callers' own), so
    that callers with keys of their own cannot use up what the others have.
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
        """The budget for repeats. Provider ids are those of the settings, so they are few."""
        key = (provider, is_byok)
        budget = self._budgets.get(key)
        if budget is None:
            share = 0.0 if self.retry_rules is None else self.retry_rules.budget
            budget = self._budgets[key] = RetryBudget(share, self.clock())
        return budget

    def find_breaker(self, target: Target) -> Breaker | None:
        """The breaker of a target that failed lately."""
        return self.breakers.find_breaker(target) if self.breakers else None


class Persistence(ABC, Generic[T]):
    """A plan that mends a request once, repeats it at its target, and then moves on.

    A subclass knows the targets: it says which one is turned to (`enter`), and builds what
    an attempt needs. An exchange with a caller's own key neither looks at breakers nor
    counts for them: what such a key meets with is its owner's affair.
    """

    def __init__(self, health: ProviderHealth) -> None:
        self._health = health
        self._target: Target = ("", "")
        self._own_key = False
        self._is_probe = False
        self._is_mended = False
        self._repeats = 0

    @abstractmethod
    async def again(self, *, mended: bool) -> Attempt[T] | None:
        """A fresh attempt at the present target; `mended`: without the history's reasoning.

        None if the request cannot be mended, or may not be.
        """

    @abstractmethod
    async def move(self) -> Attempt[T] | None:
        """An attempt at the next target, having entered it; None when there is none."""

    def left_alone(self, fault: UpstreamFault, seconds: float) -> None:
        """The present target failed with `fault` once too often: its breaker has opened, for so
        long. For subclasses that have somewhere to tell it."""

    def taken_back(self) -> None:
        """The present target's breaker has closed again. As `left_alone`."""

    def enter(self, target: Target, *, own_key: bool) -> None:
        """The attempts from here on are made at `target`."""
        self._target, self._own_key = target, own_key
        self._repeats = 0
        health = self._health
        now = health.clock()
        if health.retry_rules is not None:
            health.retry_budget(target[0], is_byok=own_key).record_request(now)
        breaker = None if own_key else health.find_breaker(target)
        self._is_probe = breaker is not None and breaker.begin_attempt(now)

    async def next_attempt(self, fault: UpstreamFault, remaining: float, /) -> Attempt[T] | None:
        """See `RetryPlan`."""
        now = self._health.clock()
        self._note(fault, now)
        if remaining <= 0:
            return None
        if not self._is_mended and is_reasoning_rejection(fault):
            self._is_mended = True
            mended = await self.again(mended=True)
            if mended is not None:
                return mended
        delay = self._delay(fault, now, remaining)
        if delay is not None:
            self._repeats += 1
            attempt = await self.again(mended=self._is_mended)
            return None if attempt is None else replace(attempt, delay=delay)
        return await self.move() if may_fall_back(fault, is_byok=self._own_key) else None

    def close(self, *, answered: bool) -> None:
        """See `RetryPlan`."""
        breaker = None if self._own_key else self._health.find_breaker(self._target)
        if breaker is None:
            return
        now = self._health.clock()
        if answered:
            self._is_well(breaker, now)
        elif self._is_probe:
            breaker.abandon_probe(now)

    def _delay(self, fault: UpstreamFault, now: float, remaining: float) -> float | None:
        """Seconds to wait for a repeat at the present target; None for no repeat."""
        health, rules = self._health, self._health.retry_rules
        if rules is None or self._repeats + 1 >= rules.max_attempts:
            return None
        if not is_retryable(fault, is_byok=self._own_key):
            return None
        delay = retry_delay(self._repeats + 1, fault, rules, jitter=health.random_jitter())
        if delay is None or delay >= remaining:
            return None
        breaker = None if self._own_key else health.find_breaker(self._target)
        if breaker is not None and breaker.seconds_until_retry(now + delay) > 0:
            return None
        budget = health.retry_budget(self._target[0], is_byok=self._own_key)
        return delay if budget.grants(fault, now) else None

    def _note(self, fault: UpstreamFault, now: float) -> None:
        """Hold `fault` against the target, as far as it is the target's."""
        breakers = self._health.breakers
        if breakers is None or self._own_key:
            return
        if is_outage(fault):
            breaker = breakers.ensure_breaker(self._target, now)
            if breaker.record_failure(now, probe=self._is_probe):
                self.left_alone(fault, breaker.seconds_until_retry(now))
            self._is_probe = False
        elif fault.type == "rate_limit_error" and fault.retry_after:
            breakers.ensure_breaker(self._target, now).record_pause(now, fault.retry_after)
        if self._is_probe and isinstance(fault, UpstreamRejected) and not is_outage(fault):
            self._is_well(breakers.ensure_breaker(self._target, now), now)

    def _is_well(self, breaker: Breaker, now: float) -> None:
        was_open = breaker.is_open
        is_forgotten = breaker.record_success(now, probe=self._is_probe)
        self._is_probe = False
        if was_open and not breaker.is_open:
            self.taken_back()
        if is_forgotten and self._health.breakers is not None:
            self._health.breakers.remove_breaker(self._target)
