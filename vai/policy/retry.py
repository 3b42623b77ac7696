"""What follows a failed attempt: a retry after a wait, another target, or an end.

Invariants: a retry is for failures that pass by themselves and have cost nothing. So only those
qualify that came before the provider can have worked on the request (no connection), or that its
own response reports (a status that permits a retry); silence does not, because VAI cannot know
whether the provider computed and billed the response. All retries of a process share a budget for
each provider: when a provider is down, repeating every request would double the load that causes
the failure.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from vai.errors import UpstreamFault, UpstreamRejected
from vai.policy.error_attribution import may_fall_back
from vai.policy.recent_counter import RecentCounter
from vai.types.settings import Duration, SettingsSection

__all__ = [
    "FLOOR",
    "WINDOW",
    "NextTarget",
    "Retry",
    "RetryBudget",
    "RetryDecision",
    "RetryRules",
    "RetryState",
    "Stop",
    "WithoutReasoning",
    "decide",
    "is_retryable",
    "retry_delay",
]

WINDOW: Final = 10.0
"""Seconds over which a budget is a share of the requests."""
FLOOR: Final = 3
"""Retries within a window that are always granted, or a quiet gateway could never retry."""

_UNSENT: Final = frozenset(
    {"connect_timeout", "upstream_connect", "upstream_dns", "upstream_proxy", "upstream_tls"}
)
"""Codes of failures before a byte of the request was sent."""
_STALE: Final = "upstream_stale"
"""A reused connection that had just ended: the next attempt uses another."""
_PASSING: Final = frozenset(
    {"api_error", "overloaded_error", "provider_error", "rate_limit_error", "timeout_error"}
)
_CONFLICT: Final = 409


class RetryRules(SettingsSection, frozen=True, kw_only=True):
    """What is retried at the same target before the client has received a byte.

    `max_attempts` counts the attempts at one target, the first among them. A wait is drawn from
    0 to `base_delay`, doubled for each attempt but at most `max_delay`; a provider that requests
    a longer one gets no retry. `budget` is the share of a provider's requests that may
    be retries.
    """

    enabled: bool = True
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 2
    base_delay: Duration = 0.25
    max_delay: Duration = 5.0
    budget: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1


class Retry(msgspec.Struct, frozen=True):
    """The same request to the same target, after `delay` seconds."""

    delay: float


class WithoutReasoning(msgspec.Struct, frozen=True):
    """The request without its history's reasoning to the same target, at once."""


class NextTarget(msgspec.Struct, frozen=True):
    """The request to the next target, if there is one."""


class Stop(msgspec.Struct, frozen=True):
    """No further attempt: the client receives the error."""


RetryDecision = Retry | WithoutReasoning | NextTarget | Stop


class RetryState(msgspec.Struct, frozen=True, kw_only=True):
    """The input of a decision, beside the error and the time.

    `rules` are None where nothing is retried. `retries` counts those of the present target;
    `remaining` are the seconds that the exchange has left. `may_drop_reasoning`: the
    provider refused the history's reasoning, and the request still has it.
    `breaker_open_until` is a reading of the clock, `jitter` a random number from 0 to 1.
    """

    rules: RetryRules | None
    remaining: float
    retries: int = 0
    is_byok: bool = False
    may_drop_reasoning: bool = False
    breaker_open_until: float = 0.0
    is_within_budget: bool = True
    jitter: float = 0.0


def decide(error: UpstreamFault, state: RetryState, now: float) -> RetryDecision:
    """What an exchange does after `error`, before it has any byte of a response."""
    if state.remaining <= 0:
        return Stop()
    if state.may_drop_reasoning:
        return WithoutReasoning()
    delay = _delay_if_retried(error, state, now)
    if delay is not None:
        return Retry(delay)
    return NextTarget() if may_fall_back(error, is_byok=state.is_byok) else Stop()


def _delay_if_retried(error: UpstreamFault, state: RetryState, now: float) -> float | None:
    """Seconds to wait for a retry at the present target; None for no retry."""
    rules = state.rules
    if rules is None or state.retries + 1 >= rules.max_attempts:
        return None
    if not state.is_within_budget or not is_retryable(error, is_byok=state.is_byok):
        return None
    delay = retry_delay(state.retries + 1, error, rules, jitter=state.jitter)
    if delay is None or delay >= state.remaining or state.breaker_open_until > now + delay:
        return None
    return delay


def is_retryable(fault: UpstreamFault, *, is_byok: bool) -> bool:
    """Whether the same request may well succeed at the same target.

    The owner of a BYOK key has to keep its limits, so the client gets a 429 at once.
    """
    if not isinstance(fault, UpstreamRejected):
        return fault.code in _UNSENT or fault.code == _STALE
    if is_byok and fault.status < 500:
        return False
    if fault.should_retry is not None:
        return fault.should_retry
    return fault.type in _PASSING or fault.status == _CONFLICT


def retry_delay(
    repeat: int, fault: UpstreamFault, rules: RetryRules, *, jitter: float
) -> float | None:
    """Seconds to wait before retry number `repeat` (from 1); None when it would be too long.

    Full jitter: requests that failed together do not come back together. `jitter` is a random
    number from 0 to 1.
    """
    if fault.code == _STALE:
        return 0.0
    longest: float = min(rules.max_delay, rules.base_delay * 2.0 ** (repeat - 1))
    wait = longest * jitter
    if fault.retry_after is None:
        return wait
    return None if fault.retry_after > rules.max_delay else max(wait, fault.retry_after)


class RetryBudget:
    """The retries that one process may send to one provider."""

    __slots__ = ("_counter", "_share")

    def __init__(self, share: float, now: float) -> None:
        self._share = share
        self._counter = RecentCounter(WINDOW, now)

    def record_request(self, now: float) -> None:
        """A request that is no retry went to the provider."""
        self._counter.count_event(now)

    def allows_retry(self, fault: UpstreamFault, now: float) -> bool:
        """Whether one more retry is within the budget."""
        if fault.code == _STALE:  # no server has worked on it
            return True
        requests, retries = self._counter.recent_counts(now)
        return retries + 1 <= max(FLOOR, self._share * requests)

    def record_retry(self, fault: UpstreamFault, now: float) -> None:
        """A retry after `fault` is made."""
        if fault.code != _STALE:
            self._counter.count_marked(now)
