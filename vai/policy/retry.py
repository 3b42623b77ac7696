"""When a failed attempt is made once more at the same target, and after what wait.

Invariants: a repeat is for what passes by itself and has cost nothing. So only
failures qualify that came before the provider can have worked on the request (no connection)
or in its own words (a status that says try again); silence does not, because whether the
answer was computed and billed cannot be known. All repeats of a process share a budget for
each provider: when a provider is down, repeating everything would double the load it is
failing under.
"""

from __future__ import annotations

from typing import Final

import msgspec

from vai.errors import UpstreamFault, UpstreamRejected
from vai.policy.recent_counter import RecentCounter

__all__ = ["FLOOR", "WINDOW", "RetryBudget", "RetryRules", "is_retryable", "retry_delay"]

WINDOW: Final = 10.0
"""Seconds over which a budget is a share of the requests."""
FLOOR: Final = 3
"""Repeats within a window that are always granted, or a quiet gateway could never repeat."""

_UNSENT: Final = frozenset(
    {"connect_timeout", "upstream_connect", "upstream_dns", "upstream_proxy", "upstream_tls"}
)
"""Codes of failures before a byte of the request had gone out."""
_STALE: Final = "upstream_stale"
"""A kept connection that had just ended: the next one is another."""
_PASSING: Final = frozenset(
    {"api_error", "overloaded_error", "provider_error", "rate_limit_error", "timeout_error"}
)
_CONFLICT: Final = 409


class RetryRules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be set.

    `max_attempts` counts the tries of one target, the first among them. A wait is drawn from
    0 to `base_delay`, doubled for each try but at most `max_delay` (seconds); a provider that
    asks for a longer one is not asked again. `budget` is the share of requests that may be
    repeats.
    """

    max_attempts: int = 2
    base_delay: float = 0.25
    max_delay: float = 5.0
    budget: float = 0.1


def is_retryable(fault: UpstreamFault, *, is_byok: bool) -> bool:
    """Whether the same request may well succeed at the same target.

    With a caller's own key its limits are the caller's to keep, so a 429 is told at once.
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
    """Seconds to wait before the `repeat`-th repeat (from 1); None when it would be too long.

    Full jitter: those who failed together do not come back together. `chance` is a random
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
    """How many repeats one provider may be given, for one process."""

    __slots__ = ("_counter", "_share")

    def __init__(self, share: float, now: float) -> None:
        self._share = share
        self._counter = RecentCounter(WINDOW, now)

    def record_request(self, now: float) -> None:
        """A request went to the provider that is no repeat."""
        self._counter.count_event(now)

    def grants(self, fault: UpstreamFault, now: float) -> bool:
        """Whether one more repeat is within the budget; if so, it is taken."""
        if fault.code == _STALE:  # nobody has worked on it
            return True
        asked, repeated = self._counter.recent_counts(now)
        if repeated + 1 > max(FLOOR, self._share * asked):
            return False
        self._counter.count_marked(now)
        return True
