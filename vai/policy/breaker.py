"""When requests to a target that keeps failing are stopped.

    closed --(failures in a row, or most of many)--> open --(its time is over)--> half open
      ^                                               ^                              |
      +---- the probe is answered --------------------+---- the probe fails --------+

Invariants: only outages count, as `vai.policy.error_attribution` defines them. A process has
breakers only for targets that failed lately; a working target costs no entry and no lookup.
While half open, a breaker admits one exchange and refuses all others until that one is answered,
fails or gives up. If none of that happens for as long as the breaker was open at first, the next
one may try, so that a hanging probe does not block all requests.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from vai.policy.recent_counter import RecentCounter
from vai.types.settings import Duration, SettingsSection

__all__ = ["Breaker", "BreakerRules", "Breakers", "Target"]

Target = tuple[str, str]
"""Provider id and model: an overloaded model shows nothing about the provider's others."""

_SPAN: Final = 10.0
_MANY: Final = 20
_MOST: Final = 0.5
_LONGEST_PAUSE: Final = 60.0


class BreakerRules(SettingsSection, frozen=True, kw_only=True):
    """When requests to a model that keeps failing are stopped: `failures` in a row open a breaker,
    for `open_for` at first and twice as long after each probe that fails, up to `max_open`."""

    enabled: bool = True
    failures: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    open_for: Duration = 5.0
    max_open: Duration = 60.0


class Breaker:
    """One target that failed lately. Times are readings of one clock, in seconds."""

    __slots__ = ("_counter", "_failures_in_row", "_paused_until", "_rules", "_trips", "open_until")

    def __init__(self, rules: BreakerRules, now: float) -> None:
        self._rules = rules
        self._counter = RecentCounter(_SPAN, now)
        self._failures_in_row = 0
        self._trips = 0
        self.open_until = 0.0
        self._paused_until = now

    @property
    def is_open(self) -> bool:
        """Whether requests to the target are stopped, except probes."""
        return self._trips > 0

    def seconds_until_retry(self, now: float) -> float:
        """Seconds until a request may be sent; 0 for now."""
        return max(self.open_until - now, 0.0)

    def is_paused(self, now: float) -> bool:
        """Whether the target has requested a pause."""
        return now < self._paused_until

    def begin_attempt(self, now: float) -> bool:
        """An exchange begins, as `seconds_until_retry` allows; returns whether it is the probe."""
        if self.is_open:
            self.open_until = now + self._rules.open_for
        return self.is_open

    def record_failure(self, now: float, *, probe: bool) -> bool:
        """An outage; returns whether the breaker opens for it. Failures of exchanges that began
        before it opened, and are no probe, add nothing."""
        if self.is_open and not probe:
            return False
        self._failures_in_row += 1
        self._counter.count_event(now)
        self._counter.count_marked(now)
        total, bad = self._counter.recent_counts(now)
        is_too_much = self._failures_in_row >= self._rules.failures or (
            total >= _MANY and bad > total * _MOST
        )
        if not probe and not is_too_much:
            return False
        self._trips += 1
        lasts = self._rules.open_for * 2 ** min(self._trips - 1, 30)
        self.open_until = now + min(lasts, self._rules.max_open)
        return True

    def record_success(self, now: float, *, probe: bool) -> bool:
        """The target works, whatever its response; returns whether the breaker can be removed."""
        if self.is_open and not probe:
            return False
        self._failures_in_row = self._trips = 0
        self.open_until = now
        if probe:
            self._counter = RecentCounter(_SPAN, now)
        self._counter.count_event(now)
        return not self._counter.recent_counts(now)[1] and not self.is_paused(now)

    def record_pause(self, now: float, seconds: float) -> None:
        """The target requested a pause. It steers exchanges with a choice, and stops none."""
        self._paused_until = now + min(seconds, _LONGEST_PAUSE)

    def abandon_probe(self, now: float) -> None:
        """The probe ended without showing the target's health; another may be sent."""
        self.open_until = now


class Breakers:
    """The breakers of one process, at most `room`; the one whose failure is oldest goes first."""

    def __init__(self, rules: BreakerRules, room: int = 1024) -> None:
        self._rules = rules
        self._room = room
        self._breakers: dict[Target, Breaker] = {}

    def __len__(self) -> int:
        return len(self._breakers)

    def find_breaker(self, target: Target) -> Breaker | None:
        """The breaker of a target that failed lately, else None."""
        return self._breakers.get(target)

    def ensure_breaker(self, target: Target, now: float) -> Breaker:
        """The breaker of a target that fails now."""
        breaker = self._breakers.pop(target, None) or Breaker(self._rules, now)
        while len(self._breakers) >= self._room:
            del self._breakers[next(iter(self._breakers))]
        self._breakers[target] = breaker
        return breaker

    def remove_breaker(self, target: Target) -> None:
        """The target works again."""
        self._breakers.pop(target, None)

    def count_open(self) -> dict[str, int]:
        """Provider -> how many of its models have an open breaker."""
        counts: dict[str, int] = {}
        for (provider, _), breaker in self._breakers.items():
            if breaker.is_open:
                counts[provider] = counts.get(provider, 0) + 1
        return counts
