"""The door to what is counted: one set of operations, in shared memory or on a server.

The law: a place that was given is given back once, by `settle` or `release` of whoever took
it, by `reclaim` of its dead owner or by `expire`; whichever comes second does nothing. What
was charged to a window is only ever lowered by the `settle` that gives its place back.

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
    """Within the window, with what is reserved."""


class LeaseUse(msgspec.Struct, frozen=True):
    """A place that is taken."""

    handle: int
    kind: Literal["request", "session"]
    owner: int
    """The claim of the worker that took it."""
    principals: tuple[str, ...]
    tokens: int
    """Reserved for it."""
    since: float
    last_heartbeat: float
    """Last sign of life of a session; of a request the time it began."""


class LimitsSnapshot(msgspec.Struct, frozen=True):
    """Everything a store knows at one time, as far as it can be read without stopping it."""

    principals: tuple[PrincipalUse, ...]
    leases: tuple[LeaseUse, ...]


class LimitStore(Protocol):
    """Decides and keeps count."""

    async def admit(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision:
        """Take a place for a request: one of each principal's requests and running ones, and
        `tokens` of its tokens (see `reservation`).

        The principals are at most MAX_PRINCIPALS, and no two of them have one name.
        """
        ...

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        """Give a request's place back and charge what was `used` in place of what was reserved.

        What was reserved for nothing is free again at once; what was used beyond it counts
        from now. Never waits and never fails: a store that cannot do it now does it later.
        Says False when the place was not the caller's any more.
        """
        ...

    async def acquire_session(self, principals: tuple[Principal, ...], now: float, /) -> Decision:
        """Take a place for a live session. Its beginning counts as a request."""
        ...

    async def record_heartbeat(self, handle: int, now: float, /) -> bool:
        """Show that a session lives. False: it has lapsed, and must end."""
        ...

    def release(self, handle: int, /) -> bool:
        """Give a place back; what was charged stays. As `settle` in all else."""
        ...

    async def list_sessions(self) -> tuple[LeaseUse, ...]:
        """The live sessions, of all workers."""
        ...

    async def expire_sessions(self, silent_since: float, /) -> tuple[int, ...]:
        """Free the sessions whose last sign of life is older; returns their handles."""
        ...

    async def reclaim_leases(self, owner: int, /) -> int:
        """Free all that a dead worker held (by its claim); returns how many places that were.

        What it had charged stays charged: nobody knows how much of it was used.
        """
        ...

    async def read_snapshot(self, now: float, /) -> LimitsSnapshot:
        """What is counted and held."""
        ...
