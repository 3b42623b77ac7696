"""The limits of a group: their section of the control block, and its maintenance.

Main makes the section before any worker serves, each worker opens it when it starts, and the
manager maintains it. A single process does all three itself.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vai.config import ConfigError, Settings, load
from vai.config.schema import LimitSettings
from vai.gateway.process import handover
from vai.io.control_block import ControlBlock, WorkerSlot
from vai.io.group_record import SECTIONS
from vai.io.limits import maintenance, snapshot
from vai.io.limits.mutex import LockUnavailable
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.io.log import log
from vai.io.shared_failures import FAILURE_SECTIONS
from vai.policy.limits.store import LimitStore

if TYPE_CHECKING:
    from sanic import Sanic

    from vai.io.limits.redis.failover import Failover, FailoverLimits

__all__ = [
    "LimitsMaintenance",
    "WorkerLimits",
    "maintain_alone",
    "make_control_block",
    "reclaim_leases",
]

_EVERY = 0.5
_COUNT_EVERY = 2.5
"""Seconds between two counts of the principals, which read every counter row."""


def make_control_block(most_callers: int) -> ControlBlock:
    """The control block of a group or a single process; its limits have room for `most_callers`."""
    sections = {**maintenance.section_sizes(most_callers), **SECTIONS, **FAILURE_SECTIONS}
    control_block = ControlBlock.create(sections=sections)
    maintenance.prepare_section(control_block, most_callers)
    return control_block


class WorkerLimits:
    """A worker's access to the limit store, from its start to its end."""

    def __init__(
        self, settings: LimitSettings, control_block: ControlBlock, slot: WorkerSlot
    ) -> None:
        self._local = SharedLimits(
            maintenance.open_section(control_block), slot.index, slot.generation
        )
        self._remote: FailoverLimits | None = None
        self._keeping: asyncio.Task[None] | None = None
        if settings.store == "redis":
            # Imported here, because the Redis client belongs to an optional extra.
            from vai.io.limits.redis.failover import open_limits  # noqa: PLC0415

            # All workers use the same server; only the first warns of its policy.
            evicting = _warn_of_eviction if slot.index == 0 else _ignore_eviction
            self._remote = open_limits(
                settings.redis,
                control_block,
                slot.generation,
                self._local,
                _report_failover,
                evicting,
            )

    @property
    def store(self) -> LimitStore:
        """The limit store of this worker."""
        return self._remote or self._local

    async def open_store(self) -> None:
        """Open the store. Waits for a server no longer than a request does."""
        self._keeping = asyncio.create_task(self._retry_give_back())
        if self._remote is not None:
            await self._remote.open()

    async def aclose(self) -> None:
        """Close the store. The manager frees the leases still held, or they lapse."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self._remote is not None:
            await self._remote.aclose()

    async def _retry_give_back(self) -> None:
        """Retry the settlements that found the lock taken: the next request, which would retry
        them too, may never come."""
        while True:
            await asyncio.sleep(_EVERY)
            with suppress(LockUnavailable):
                self._local.settle_deferred()


def _report_failover(switch: Failover) -> None:
    """Write one line for each change of the limit store."""
    if switch.to == "redis":
        log.info("limits are counted on the Redis server")
    else:
        log.warning(
            "Redis is unavailable: {}; until it is back, each machine counts the limits by itself,"
            " and they may be exceeded across machines",
            switch.reason,
        )


def _warn_of_eviction(policy: str) -> None:
    log.warning(
        "the Redis server's maxmemory-policy is {}: when its memory is full it may forget what is"
        " counted, and limits are exceeded; set it to noeviction",
        policy,
    )


def _ignore_eviction(policy: str) -> None:
    """Do nothing: the first worker warns."""


def reclaim_leases(control_block: ControlBlock, slot: WorkerSlot) -> None:
    """Free the leases of the dead owner of `slot`, on the server too; runs in the manager."""
    from vai.io.limits.redis.failover import reclaim_worker  # noqa: PLC0415 - see `WorkerLimits`

    maintenance.reclaim_worker(control_block, slot)
    try:
        settings = load()  # a reload may have changed them since the manager began
    except ConfigError:
        if (snapshot := handover.received_snapshot()) is None:
            return  # leases on the server lapse
        settings = snapshot.build_settings()
    asyncio.run(reclaim_worker(settings.limits.redis, control_block, slot.generation))


class LimitsMaintenance:
    """The manager's maintenance of the limits. Can be pickled until it is first called.

    Args:
        idle: seconds without a sign of life after which it ends a live session.
    """

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._section: LimitsSection | None = None
        self._count_due = 0.0

    def __call__(self, control_block: ControlBlock) -> None:
        """Free the leases of ended processes, end silent sessions, publish the totals."""
        if self._section is None:
            self._section = maintenance.open_section(control_block)
        now = time.monotonic()
        totals = maintenance.run_maintenance(control_block, self._section, now - self._idle)
        control_block.publish_totals(totals.running, totals.sessions)
        if now >= self._count_due:
            self._count_due = now + _COUNT_EVERY
            control_block.publish_callers(snapshot.count_principals(self._section, now))


def maintain_alone(app: Sanic[Any, Any], settings: Settings) -> None:
    """Have a process without a manager maintain its own limits."""

    async def tend(app: Sanic[Any, Any]) -> None:
        control_block: ControlBlock = app.ctx.membership.control_block
        tending = LimitsMaintenance(settings.limits.session_idle_timeout)
        while True:
            tending(control_block)
            await asyncio.sleep(_EVERY)

    async def begin(app: Sanic[Any, Any]) -> None:
        if app.ctx.membership.row.number < 0:
            app.ctx.tending = asyncio.create_task(tend(app))

    async def stop(app: Sanic[Any, Any]) -> None:
        task: asyncio.Task[None] | None = getattr(app.ctx, "tending", None)
        if task is not None:
            task.cancel()

    app.before_server_start(begin)
    app.after_server_stop(stop)
