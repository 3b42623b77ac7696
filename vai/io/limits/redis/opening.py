"""The limits' server as the settings name it.

Invariants: a node is one group of processes. All its workers and its manager give
it the same name, and after a restart it has another, so that nothing of the group before is
taken for its own.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import suppress

from vai.config.schema import Redis
from vai.io.control_block import ControlBlock
from vai.io.limits.redis.fallback import Failover, FailoverLimits
from vai.io.limits.redis.line import RedisClient, RedisUnavailable
from vai.io.limits.redis.store import RedisLimits
from vai.policy.limits.store import LimitStore

__all__ = ["open_limits", "reclaim"]


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
