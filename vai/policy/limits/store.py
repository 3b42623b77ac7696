"""The port to the counters: one set of operations, in shared memory or on a server.

Invariants: a lease is returned once, by `settle` or `release` of the worker that took it, by
`reclaim_leases` of its dead owner or by `expire_sessions`; a second return does nothing. Only the
`settle` that returns a lease ever lowers what was charged to a window.

All times are readings of one monotonic clock, in seconds, passed in; a store that has a
clock of its own (a server shared by machines) uses that.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import Principal

__all__ = ["LeaseUse", "LimitStore", "LimitsSnapshot", "PrincipalUse"]


class PrincipalUse(msgspec.Struct, frozen=True):
    """What one principal uses now."""

    name: str
    running: int
    sessions: int
    requests: int
    """Within the window."""
    tokens: int
    """Within the window, reserved ones included."""


class LeaseUse(msgspec.Struct, frozen=True):
    """A lease that is held."""

    handle: int
    kind: Literal["request", "session"]
    owner: int
    """The generation of the worker that took it."""
    principals: tuple[str, ...]
    tokens: int
    """Reserved for it."""
    since: float
    last_heartbeat: float
    """The last heartbeat of a session; of a request the time it began."""


class LimitsSnapshot(msgspec.Struct, frozen=True):
    """Everything a store holds at one time, as far as it can be read without stopping it."""

    principals: tuple[PrincipalUse, ...]
    leases: tuple[LeaseUse, ...]


class LimitStore(Protocol):
    """Decides and counts."""

    async def admit(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision:
        """Take a lease for a request: one of each principal's requests and running ones, and
        `tokens` of its tokens (see `capped_reservation`).

        The principals are at most MAX_PRINCIPALS, and no two of them have one name.
        """
        ...

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        """Return a request's lease and charge what was `used` instead of what was reserved.

        What was reserved and not used is free again at once; what was used beyond it counts from
        now. Never waits and never fails: a store that cannot do it now does it later.
        False: the lease was no longer held.
        """
        ...

    async def acquire_session(self, principals: tuple[Principal, ...], now: float, /) -> Decision:
        """Take a lease for a live session. Its beginning counts as a request."""
        ...

    async def record_heartbeat(self, handle: int, now: float, /) -> bool:
        """Record that a session lives. False: it has lapsed, and must end."""
        ...

    def release(self, handle: int, /) -> bool:
        """Return a lease; what was charged stays. Otherwise as `settle`."""
        ...

    async def list_sessions(self) -> tuple[LeaseUse, ...]:
        """The live sessions, of all workers."""
        ...

    async def expire_sessions(self, silent_since: float, /) -> tuple[int, ...]:
        """Free the sessions whose last heartbeat is older; returns their handles."""
        ...

    async def reclaim_leases(self, owner: int, /) -> int:
        """Free all leases of a dead worker (by its generation); returns how many there were.

        What it had charged stays charged: how much of it was used is unknown.
        """
        ...

    async def read_snapshot(self, now: float, /) -> LimitsSnapshot:
        """The counters and the held leases."""
        ...
