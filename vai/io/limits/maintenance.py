"""What the manager does for the limits, from the control block alone.

Invariants: a lease belongs to a worker generation, and a generation that no worker slot carries
is dead. So nothing has to be remembered: a manager that is new, or that failed the first time,
finds what remains to be done by looking.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from vai.io.control_block import ControlBlock, WorkerSlot
from vai.io.limits import leases, snapshot
from vai.io.limits.layout import DEFAULT_LEASES, DEFAULT_PRINCIPALS, Layout, section_size
from vai.io.limits.mutex import LockUnavailable
from vai.io.limits.section import LimitsSection

__all__ = [
    "SECTION_ID",
    "ConcurrencyTotals",
    "PrincipalCapacity",
    "open_section",
    "prepare_section",
    "read_capacity",
    "reclaim_worker",
    "run_maintenance",
    "section_sizes",
]

SECTION_ID = 1
"""The id of the limits' section of the control block."""


def section_sizes(principals: int = DEFAULT_PRINCIPALS) -> dict[int, int]:
    """The section sizes of a control block, for so many principals."""
    return {SECTION_ID: section_size(principals, DEFAULT_LEASES)}


class ConcurrencyTotals(msgspec.Struct, frozen=True):
    """What is held on this machine."""

    running: int
    sessions: int
    expired: int
    """Sessions that expired in this turn, for their silence."""


class PrincipalCapacity(msgspec.Struct, frozen=True):
    """The room for principals: users, keys and addresses."""

    callers: int
    """Those that are counted, as the manager last saw them; at most some seconds old."""
    most: int
    """As many find room at least."""
    is_full: bool
    """Whether one was refused within the last minute because there was none."""


def prepare_section(
    control_block: ControlBlock, principals: int = DEFAULT_PRINCIPALS
) -> LimitsSection:
    """Prepare the section of a new control block; by its creator, before any worker starts."""
    return LimitsSection.prepare(control_block.open_section(SECTION_ID), principals, DEFAULT_LEASES)


def open_section(control_block: ControlBlock) -> LimitsSection:
    """The limits of a control block. Raises ControlBlockError or ValueError without any."""
    return LimitsSection(control_block.open_section(SECTION_ID))


def read_capacity(control_block: ControlBlock, now: float) -> PrincipalCapacity:
    """How much of the room for principals is in use. Raises as `open_section` does."""
    section = Layout(control_block.open_section(SECTION_ID))
    return PrincipalCapacity(
        control_block.callers, section.principals, snapshot.is_full(section, now)
    )


def reclaim_worker(control_block: ControlBlock, worker: WorkerSlot) -> None:
    """Free what the dead owner of `worker` held; before its slot is free."""
    with suppress(LockUnavailable):  # a stopped process holds it; the next turn does it
        leases.reclaim_leases(open_section(control_block), worker.generation)


def run_maintenance(
    control_block: ControlBlock, section: LimitsSection, silent_since: float
) -> ConcurrencyTotals:
    """One turn, twice a second: free the leases of dead workers, end silent sessions.

    `silent_since` is the time (as for `expire_sessions`) since when a session must have sent a
    heartbeat.
    """
    expired = 0
    with suppress(LockUnavailable):  # the next turn does it
        for owner in _orphaned_owners(control_block, section):
            leases.reclaim_leases(section, owner)
        expired = len(leases.expire_sessions(section, silent_since))
    running, sessions = snapshot.count_leases(section)
    return ConcurrencyTotals(running, sessions, expired)


def _orphaned_owners(control_block: ControlBlock, section: LimitsSection) -> set[int]:
    """The owners of leases that are in no worker slot."""
    # In this order: a worker has a slot before it takes a lease.
    owners = snapshot.lease_owners(section)
    return owners - {slot.generation for slot in control_block.taken_slots()}
