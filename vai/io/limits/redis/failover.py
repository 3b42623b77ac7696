"""The limits of several machines while their Redis server may be unavailable.

Invariants: a request never fails because the server is unavailable. If the server does not respond
in time, the local store decides the call and all that follow until a probe succeeds; then this
worker returns to the server by itself. A lease is returned to the store that it was taken from.
A node is one group of processes: all its workers and its manager use the same name for it, and
after a restart it has another one, so that it never treats a lease of the former group as its own.

Without the server each machine applies its limits on its own: n disconnected machines admit up to n
times as much in all. A machine does not divide its limits, because it does not know how many others
there are, and most of them are idle most of the time. The local store does not count what the
server admitted before, and the server does not count what the local store admitted, so right after
a switch a limit may be filled once on each side.
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

__all__ = ["Failover", "FailoverLimits", "StoreName", "open_limits", "reclaim_worker"]

StoreName = Literal["redis", "local"]

T = TypeVar("T")

_GROWTH: Final = 1.5
_KEEPS_ALL: Final = "noeviction"
"""The eviction policy with which a full server refuses writes and keeps all keys."""


class Failover(NamedTuple):
    """A switch of the store in use."""

    to: StoreName
    reason: str
    """Why the server is not used; empty when it is. Safe to print."""
    number: int
    """Switches so far, this one included; 0 while the server has never been reached."""


class FailoverLimits:
    """A `LimitStore` that prefers a server, and never fails because of it.

    It begins with the local store, and `open` probes the server.

    Args:
        local: the store of this machine. Its handles are below 2**62.
        remote: the server's store; `aclose` closes it.
        on_switch: called with every switch, on the loop.
        on_eviction_policy: called once with a policy by which the server may forget counters.
        lease: seconds until a lease on the server lapses; the worker renews it three times in it.
        probe: seconds between two probes of an unavailable server, at first and at most.
        clock: the clock of `since`, seconds.
    """

    def __init__(
        self,
        local: LimitStore,
        remote: RedisLimits,
        on_switch: Callable[[Failover], None],
        *,
        on_eviction_policy: Callable[[str], None] = lambda _: None,
        lease: float,
        probe: tuple[float, float] = (1.0, 5.0),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._local = local
        self._remote = remote
        self._on_switch = on_switch
        self._on_eviction_policy = on_eviction_policy
        self._policy = _KEEPS_ALL
        self._lease = lease
        self._probe = probe
        self._clock = clock
        self._left = asyncio.Event()
        self._maintenance: asyncio.Task[None] | None = None
        self.state: StoreName = "local"
        """The store in use."""
        self.since = clock()
        """When that store came into use."""
        self.switches = 0
        """How often the store changed."""
        self.reason = "not reached yet"
        """Why the server is not used; empty when it is. Safe to print."""

    async def open(self) -> None:
        """Probe the server once, and begin to maintain its leases. Never fails; waits no
        longer than a call may."""
        await self._try_rejoin()
        self._maintenance = asyncio.create_task(self._maintain_remote())

    async def aclose(self) -> None:
        """Stop maintaining the leases, and disconnect."""
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.wait([self._maintenance])
        await self._remote.aclose()

    # -- the store ---------------------------------------------------------------------

    async def admit(
        self, principals: tuple[Principal, ...], tokens: int, now: float, /
    ) -> Decision:
        if self.state == "redis":
            try:
                return await self._remote.admit(principals, tokens, now)
            except RedisUnavailable as away:
                self._leave_remote(away)
        return await self._local.admit(principals, tokens, now)

    def settle(self, handle: int, used: int, now: float, /) -> bool:
        return self._store_of(handle).settle(handle, used, now)

    async def acquire_session(self, principals: tuple[Principal, ...], now: float, /) -> Decision:
        if self.state == "redis":
            try:
                return await self._remote.acquire_session(principals, now)
            except RedisUnavailable as away:
                self._leave_remote(away)
        return await self._local.acquire_session(principals, now)

    async def record_heartbeat(self, handle: int, now: float, /) -> bool:
        if not self._remote.is_holding(handle):
            return await self._local.record_heartbeat(handle, now)
        # Whether it has lapsed is unknown: the worker registers it again after a rejoin.
        return await self._try_remote(
            lambda: self._remote.record_heartbeat(handle, now), otherwise=True
        )

    def release(self, handle: int, /) -> bool:
        return self._store_of(handle).release(handle)

    async def list_sessions(self) -> tuple[LeaseUse, ...]:
        none: tuple[LeaseUse, ...] = ()
        remote = await self._try_remote(self._remote.list_sessions, otherwise=none)
        return (*await self._local.list_sessions(), *remote)

    async def expire_sessions(self, silent_since: float, /) -> tuple[int, ...]:
        none: tuple[int, ...] = ()
        remote = await self._try_remote(
            lambda: self._remote.expire_sessions(silent_since), otherwise=none
        )
        return (*await self._local.expire_sessions(silent_since), *remote)

    async def reclaim_leases(self, owner: int, /) -> int:
        """See `LimitStore.reclaim_leases`. Leases on an unavailable server lapse there."""
        remote = await self._try_remote(lambda: self._remote.reclaim_leases(owner), otherwise=0)
        return remote + await self._local.reclaim_leases(owner)

    async def read_snapshot(self, now: float, /) -> LimitsSnapshot:
        """See `LimitStore.read_snapshot`: the figures of the store in use, the leases of both."""
        local = await self._local.read_snapshot(now)
        remote = await self._try_remote(lambda: self._remote.read_snapshot(now), otherwise=None)
        if remote is None:
            return local
        return LimitsSnapshot(remote.principals, (*local.leases, *remote.leases))

    # -- inside ------------------------------------------------------------------------

    def _store_of(self, handle: int) -> LimitStore:
        return self._remote if self._remote.is_holding(handle) else self._local

    async def _try_remote(self, question: Callable[[], Awaitable[T]], *, otherwise: T) -> T:
        """The server's result, or `otherwise` when the server is unavailable."""
        if self.state == "redis":
            try:
                return await question()
            except RedisUnavailable as away:
                self._leave_remote(away)
        return otherwise

    def _leave_remote(self, away: RedisUnavailable) -> None:
        if self.state == "redis":
            self._left.set()
            self._switch_to("local", away.reason)

    async def _try_rejoin(self) -> None:
        try:
            await self._remote.rejoin()
        except RedisUnavailable as away:
            if self.reason != away.reason and not self.switches:
                self.reason = away.reason
                self._on_switch(Failover("local", away.reason, 0))
            return
        self._left.clear()
        self._switch_to("redis", "")
        await self._try_remote(self._check_eviction_policy, otherwise=None)

    async def _check_eviction_policy(self) -> None:
        policy = await self._remote.eviction_policy() or self._policy
        if policy not in (_KEEPS_ALL, self._policy):
            self._on_eviction_policy(policy)
        self._policy = policy

    def _switch_to(self, to: StoreName, reason: str) -> None:
        self.state, self.reason = to, reason
        self.since = self._clock()
        self.switches += 1
        self._on_switch(Failover(to, reason, self.switches))

    async def _maintain_remote(self) -> None:
        """Renew the leases on the server, and probe it while it is unavailable, until cancelled."""
        wait, longest = self._probe
        while True:
            if self.state == "redis":
                wait = self._probe[0]
                await self._renew_when_due()
            else:
                await asyncio.sleep(wait)
                wait = min(longest, wait * _GROWTH)
                await self._try_rejoin()

    async def _renew_when_due(self) -> None:
        """Renew when it is time; stop waiting when the server becomes unavailable."""
        try:
            async with asyncio.timeout(self._lease / 3):
                await self._left.wait()
        except TimeoutError:
            await self._try_remote(self._remote.renew_leases, otherwise=None)
            await self._try_remote(self._check_eviction_policy, otherwise=None)


def open_limits(
    settings: Redis,
    control_block: ControlBlock,
    generation: int,
    local: LimitStore,
    on_switch: Callable[[Failover], None],
    on_eviction_policy: Callable[[str], None],
) -> FailoverLimits:
    """A worker's limits on the server, with the store `local` as its failover."""
    remote = _redis_limits(settings, control_block, generation)
    return FailoverLimits(
        local, remote, on_switch, on_eviction_policy=on_eviction_policy, lease=settings.lease
    )


async def reclaim_worker(settings: Redis, control_block: ControlBlock, generation: int) -> None:
    """Free the leases of a dead worker of this node. Those that cannot be freed now lapse."""
    remote = _redis_limits(settings, control_block, 0)
    try:
        with suppress(RedisUnavailable):
            await remote.reclaim_leases(generation)
    finally:
        await remote.aclose()


def _redis_limits(settings: Redis, control_block: ControlBlock, generation: int) -> RedisLimits:
    if settings.url is None:
        raise ValueError("limits.redis.url: required")
    line = RedisClient(
        settings.url.reveal(),
        ca_file=settings.ca_file,
        prefix=settings.prefix,
        timeout=settings.timeout,
        lease=settings.lease,
    )
    # The control block's name has main's pid and a random part; the host name makes it unique.
    return RedisLimits(
        line, node=f"{platform.node()}:{control_block.path.stem}", generation=generation
    )
