"""The limits of one box behind the door that all stores share.

The law: giving back is never lost. While the mutex is not to be had, because its holder is
stopped, what is new is refused and what is given back is kept for later; there is never more
of that than there are places.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from vai.io.limits import upkeep
from vai.io.limits.mutex import LockUnavailable
from vai.io.warn import RateLimitedWarning
from vai.policy.limits.decision import Decision

if TYPE_CHECKING:
    from collections.abc import Callable

    from vai.io.limits.shared import SharedLimits
    from vai.policy.limits.sets import Principal
    from vai.policy.limits.store import LeaseUse, LimitsSnapshot

__all__ = ["LocalLimits"]

_UNAVAILABLE = Decision(refused="capacity", retry_after=1.0)


class LocalLimits:
    """A `LimitStore` in shared memory."""

    def __init__(self, limits: SharedLimits) -> None:
        self._limits = limits
        self._later: deque[Callable[[], bool]] = deque()
        self._warn = RateLimitedWarning()

    async def admit(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision:
        try:
            if self._later:
                self.settle_deferred()
            decision = self._limits.take_request(principals, tokens, now)
            if decision.refused == "capacity":
                self._warn(
                    "a request was refused because the limits have no room for one more caller "
                    "or running request; see limits.max_callers and `vai limits`"
                )
            return decision
        except LockUnavailable:
            return _UNAVAILABLE

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        return self._give_back(partial(self._limits.settle_lease, handle, used, now))

    async def acquire_session(self, principals: tuple[Principal, ...], now: float, /) -> Decision:
        try:
            return self._limits.take_session(principals, now)
        except LockUnavailable:
            return _UNAVAILABLE

    async def record_heartbeat(self, handle: int, now: float, /) -> bool:
        try:
            return self._limits.touch_session(handle, now)
        except LockUnavailable:
            return True  # nothing says that it has lapsed; the next beat will tell

    def release(self, handle: int, /) -> bool:
        return self._give_back(partial(self._limits.release_lease, handle))

    async def list_sessions(self) -> tuple[LeaseUse, ...]:
        return upkeep.sessions(self._limits.section)

    async def expire_sessions(self, silent_since: float, /) -> tuple[int, ...]:
        return upkeep.expire(self._limits.section, silent_since)

    async def reclaim_leases(self, owner: int, /) -> int:
        return upkeep.reclaim(self._limits.section, owner)

    async def read_snapshot(self, now: float, /) -> LimitsSnapshot:
        return upkeep.snapshot(self._limits.section, now)

    def settle_deferred(self) -> None:
        """Do what could not be done; also called by a timer, for a worker that falls idle.

        Raises LockUnavailable when it still cannot be done; nothing is lost then.
        """
        while self._later:
            self._later[0]()
            self._later.popleft()

    def _give_back(self, act: Callable[[], bool]) -> bool:
        try:
            if self._later:
                self.settle_deferred()
            return act()
        except LockUnavailable:
            self._later.append(act)
            return True
