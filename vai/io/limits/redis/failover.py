"""The limits of several machines while their server may be away.

The law: a caller never pays for the server's absence. A call it does not answer in time is
answered from the local store, and so are all that follow until a probe is answered; then
this worker goes back by itself. A place is given back where it was taken.

Away from the server each machine allows what its limits say, for itself: with n machines cut
off, up to n times as much in all, and not a fraction of it, because a machine does not know
how many others there are and most of them are idle most of the time. What it had admitted
before is not counted locally, nor is what it admits locally counted by the server when it is
back, so right after a change a limit may be filled once on each side.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Literal, NamedTuple, TypeVar

from vai.config.schema import Redis
from vai.io.control_block import ControlBlock
from vai.io.limits.redis.client import RedisClient, RedisUnavailable
from vai.io.limits.redis.store import RedisLimits
from vai.policy.limits.decision import Decision
from vai.policy.limits.sets import Principal
from vai.policy.limits.store import LeaseUse, LimitsSnapshot, LimitStore

__all__ = ["Failover", "FailoverLimits", "Place", "open_limits", "reclaim"]

Place = Literal["redis", "local"]

T = TypeVar("T")

_GROWTH: Final = 1.5
_KEEPS_ALL: Final = "noeviction"
"""The eviction policy by which a server that is full refuses to write and forgets nothing."""


class Failover(NamedTuple):
    """From now on is counted elsewhere."""

    to: Place
    reason: str
    """Why the server is not used; empty when it is. Safe to print."""
    number: int
    """Switches so far, this one included; 0 when the server was never reached yet."""


class FailoverLimits:
    """A `LimitStore` that prefers a server, and never fails for its sake.

    It begins local, and `open` looks for the server.

    Args:
        local: the store of this machine. Its handles are below 2**62.
        remote: the server's store; closed with this.
        told: hears of every switch, on the loop.
        evicting: hears, once, of a policy by which the server may forget what is counted.
        lease: seconds that what is held on the server lasts; it is renewed three times in one.
        probe: seconds between two looks for a server that is away, at first and at most.
        clock: of `since`, seconds.
    """

    def __init__(
        self,
        local: LimitStore,
        remote: RedisLimits,
        told: Callable[[Failover], None],
        *,
        evicting: Callable[[str], None] = lambda _: None,
        lease: float,
        probe: tuple[float, float] = (1.0, 5.0),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._local = local
        self._remote = remote
        self._told = told
        self._evicting = evicting
        self._policy = _KEEPS_ALL
        self._lease = lease
        self._probe = probe
        self._clock = clock
        self._left = asyncio.Event()
        self._upkeep: asyncio.Task[None] | None = None
        self.state: Place = "local"
        """Where is counted now."""
        self.since = clock()
        """When it became so."""
        self.switches = 0
        """How often it changed."""
        self.reason = "not reached yet"
        """Why the server is not used; empty when it is. Safe to print."""

    async def open(self) -> None:
        """Look for the server once, and begin to look after it. Never fails; waits no longer
        than a call may."""
        await self._rejoin()
        self._upkeep = asyncio.create_task(self._look_after())

    async def aclose(self) -> None:
        """Stop looking after the server, and hang up."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep])
        await self._remote.aclose()

    # -- the store ---------------------------------------------------------------------

    async def admit(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision:
        if self.state == "redis":
            try:
                return await self._remote.admit(principals, tokens, now)
            except RedisUnavailable as away:
                self._leave(away)
        return await self._local.admit(principals, tokens, now)

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        return self._holder(handle).settle(handle, used, now)

    async def acquire_session(self, principals: tuple[Principal, ...], now: float, /) -> Decision:
        if self.state == "redis":
            try:
                return await self._remote.acquire_session(principals, now)
            except RedisUnavailable as away:
                self._leave(away)
        return await self._local.acquire_session(principals, now)

    async def record_heartbeat(self, handle: int, now: float, /) -> bool:
        if not self._remote.holds(handle):
            return await self._local.record_heartbeat(handle, now)
        # Away, nothing says that it has lapsed: it is made known again when the server is back.
        return await self._asked(lambda: self._remote.record_heartbeat(handle, now), otherwise=True)

    def release(self, handle: int, /) -> bool:
        return self._holder(handle).release(handle)

    async def list_sessions(self) -> tuple[LeaseUse, ...]:
        nobody: tuple[LeaseUse, ...] = ()
        found = await self._asked(self._remote.list_sessions, otherwise=nobody)
        return (*await self._local.list_sessions(), *found)

    async def expire_sessions(self, silent_since: float, /) -> tuple[int, ...]:
        nobody: tuple[int, ...] = ()
        found = await self._asked(
            lambda: self._remote.expire_sessions(silent_since), otherwise=nobody
        )
        return (*await self._local.expire_sessions(silent_since), *found)

    async def reclaim_leases(self, owner: int, /) -> int:
        """See `LimitStore.reclaim`. What is held on a server that is away lapses there."""
        found = await self._asked(lambda: self._remote.reclaim_leases(owner), otherwise=0)
        return found + await self._local.reclaim_leases(owner)

    async def read_snapshot(self, now: float, /) -> LimitsSnapshot:
        """See `LimitStore.snapshot`: the figures of where is counted now, the places of both."""
        local = await self._local.read_snapshot(now)
        found = await self._asked(lambda: self._remote.read_snapshot(now), otherwise=None)
        if found is None:
            return local
        return LimitsSnapshot(found.principals, (*local.leases, *found.leases))

    # -- inside ------------------------------------------------------------------------

    def _holder(self, handle: int) -> LimitStore:
        return self._remote if self._remote.holds(handle) else self._local

    async def _asked(self, question: Callable[[], Awaitable[T]], *, otherwise: T) -> T:
        """What the server says, or `otherwise` when it is away."""
        if self.state == "redis":
            try:
                return await question()
            except RedisUnavailable as away:
                self._leave(away)
        return otherwise

    def _leave(self, away: RedisUnavailable) -> None:
        if self.state == "redis":
            self._left.set()
            self._switch("local", away.reason)

    async def _rejoin(self) -> None:
        try:
            await self._remote.rejoin()
        except RedisUnavailable as away:
            if self.reason != away.reason and not self.switches:
                self.reason = away.reason
                self._told(Failover("local", away.reason, 0))
            return
        self._left.clear()
        self._switch("redis", "")
        await self._asked(self._look_at_policy, otherwise=None)

    async def _look_at_policy(self) -> None:
        policy = await self._remote.eviction_policy() or self._policy
        if policy not in (_KEEPS_ALL, self._policy):
            self._evicting(policy)
        self._policy = policy

    def _switch(self, to: Place, reason: str) -> None:
        self.state, self.reason = to, reason
        self.since = self._clock()
        self.switches += 1
        self._told(Failover(to, reason, self.switches))

    async def _look_after(self) -> None:
        """Renew what is held on the server, and look for it while it is away, until cancelled."""
        wait, longest = self._probe
        while True:
            if self.state == "redis":
                wait = self._probe[0]
                await self._renew()
            else:
                await asyncio.sleep(wait)
                wait = min(longest, wait * _GROWTH)
                await self._rejoin()

    async def _renew(self) -> None:
        """Wait until it is time, or the server was left; renew then."""
        try:
            async with asyncio.timeout(self._lease / 3):
                await self._left.wait()
        except TimeoutError:
            await self._asked(self._remote.renew, otherwise=None)
            await self._asked(self._look_at_policy, otherwise=None)


def open_limits(
    settings: Redis,
    board: ControlBlock,
    claim: int,
    local: LimitStore,
    told: Callable[[Failover], None],
    evicting: Callable[[str], None],
) -> FailoverLimits:
    """A worker's way to the server, with `local` for when it is away."""
    remote = _remote(settings, board, claim)
    return FailoverLimits(local, remote, told, evicting=evicting, lease=settings.lease)


async def reclaim(settings: Redis, board: ControlBlock, claim: int) -> None:
    """Free what a dead worker of this node held. What cannot be now lapses with its lease."""
    remote = _remote(settings, board, 0)
    try:
        with suppress(RedisUnavailable):
            await remote.reclaim_leases(claim)
    finally:
        await remote.aclose()


def _remote(settings: Redis, board: ControlBlock, claim: int) -> RedisLimits:
    if settings.url is None:
        raise ValueError("limits.redis.url: required")
    line = RedisClient(
        settings.url.reveal(),
        ca_file=settings.ca_file,
        prefix=settings.prefix,
        timeout=settings.timeout,
        lease=settings.lease,
    )
    # The board's name has the pid of main and a random part; machines add their own name.
    return RedisLimits(line, node=f"{platform.node()}:{board.path.stem}", claim=claim)
