"""The limits of a group of processes: their section of the control block, and who maintains it.

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
"""Seconds between two counts of the principals, which look at every counter row."""


def make_control_block(most_callers: int) -> ControlBlock:
    """The control block of a group or a single process; its limits have room for `most_callers`."""
    sections = {**maintenance.section_sizes(most_callers), **SECTIONS, **FAILURE_SECTIONS}
    control_block = ControlBlock.create(sections=sections)
    maintenance.prepare_section(control_block, most_callers)
    return control_block


class WorkerLimits:
    """A worker's way to the limits, from its start to its end."""

    def __init__(
        self, settings: LimitSettings, control_block: ControlBlock, slot: WorkerSlot
    ) -> None:
        self._local = SharedLimits(
            maintenance.open_section(control_block), slot.index, slot.generation
        )
        self._remote: FailoverLimits | None = None
        self._keeping: asyncio.Task[None] | None = None
        if settings.store == "redis":
            # Here, because the client comes with an extra that others need not install.
            from vai.io.limits.redis.failover import open_limits  # noqa: PLC0415

            # All workers use the same server; the first of them reports what is wrong with it.
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
        """Where is counted."""
        return self._remote or self._local

    async def open_store(self) -> None:
        """Begin. Waits for a server no longer than a request would."""
        self._keeping = asyncio.create_task(self._retry_give_back())
        if self._remote is not None:
            await self._remote.open()

    async def aclose(self) -> None:
        """End. What is still held is freed by the manager, or lapses."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self._remote is not None:
            await self._remote.aclose()

    async def _retry_give_back(self) -> None:
        """Give back what could not be when it was tried: the next request, which would do it
        too, may never come."""
        while True:
            await asyncio.sleep(_EVERY)
            with suppress(LockUnavailable):
                self._local.settle_deferred()


def _report_failover(switch: Failover) -> None:
    """One line for each time that the limits are counted elsewhere."""
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
    """A worker that leaves the warning to another one."""


def reclaim_leases(control_block: ControlBlock, slot: WorkerSlot) -> None:
    """Free what the dead owner of `slot` held, on the server too; runs in the manager."""
    from vai.io.limits.redis.failover import reclaim_worker  # noqa: PLC0415 - see `WorkerLimits`

    maintenance.reclaim_worker(control_block, slot)
    try:
        settings = load()  # a reload may have changed them since the manager began
    except ConfigError:
        if (snapshot := handover.received_snapshot()) is None:
            return  # what is held there lapses
        settings = snapshot.build_settings()
    asyncio.run(reclaim_worker(settings.limits.redis, control_block, slot.generation))


class LimitsMaintenance:
    """The manager's turn at the limits. Can be pickled until it is first called.

    Args:
        idle: seconds without a sign of life after which a live session is ended.
    """

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._section: LimitsSection | None = None
        self._count_due = 0.0

    def __call__(self, control_block: ControlBlock) -> None:
        """Free what no process holds any more, end silent sessions, publish the totals."""
        if self._section is None:
            self._section = maintenance.open_section(control_block)
        now = time.monotonic()
        totals = maintenance.run_maintenance(control_block, self._section, now - self._idle)
        control_block.publish_totals(totals.running, totals.sessions)
        if now >= self._count_due:
            self._count_due = now + _COUNT_EVERY
            control_block.publish_callers(snapshot.count_principals(self._section, now))


def maintain_alone(app: Sanic[Any, Any], settings: Settings) -> None:
    """Have a process without a manager tend its own limits."""

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
