"""The manager's maintenance of the limits, from the control block alone.

Invariants: a lease belongs to a worker generation, and a generation that no worker slot has is
dead. So the manager keeps no state: a new manager, or one that failed the first time, reads the
remaining work from the control block.
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
    """The leases that are held on this machine."""

    running: int
    sessions: int
    expired: int
    """Sessions that this turn ended because they sent no heartbeat."""


class PrincipalCapacity(msgspec.Struct, frozen=True):
    """The room for principals: users, keys and addresses."""

    callers: int
    """The principals that are counted, as the manager last saw them; at most some seconds old."""
    most: int
    """The least number of principals that fit."""
    is_full: bool
    """Whether a request was refused within the last minute because there was no room."""


def prepare_section(
    control_block: ControlBlock, principals: int = DEFAULT_PRINCIPALS
) -> LimitsSection:
    """Prepare the section of a new control block. Its creator calls this before workers start."""
    return LimitsSection.prepare(control_block.open_section(SECTION_ID), principals, DEFAULT_LEASES)


def open_section(control_block: ControlBlock) -> LimitsSection:
    """The limits' section. Raises ControlBlockError or ValueError if the control block has none."""
    return LimitsSection(control_block.open_section(SECTION_ID))


def read_capacity(control_block: ControlBlock, now: float) -> PrincipalCapacity:
    """How much of the room for principals is in use. Raises as `open_section` does."""
    section = Layout(control_block.open_section(SECTION_ID))
    return PrincipalCapacity(
        control_block.callers, section.principals, snapshot.is_full(section, now)
    )


def reclaim_worker(control_block: ControlBlock, worker: WorkerSlot) -> None:
    """Free the leases of the dead owner of `worker`, before its slot is freed."""
    with suppress(LockUnavailable):  # a stopped process holds the mutex; the next turn does it
        leases.reclaim_leases(open_section(control_block), worker.generation)


def run_maintenance(
    control_block: ControlBlock, section: LimitsSection, silent_since: float
) -> ConcurrencyTotals:
    """One turn, twice a second: free the leases of dead workers, end silent sessions.

    Sessions whose last heartbeat is before `silent_since` end (as in `expire_sessions`).
    """
    expired = 0
    with suppress(LockUnavailable):  # the next turn does it
        for owner in _orphaned_owners(control_block, section):
            leases.reclaim_leases(section, owner)
        expired = len(leases.expire_sessions(section, silent_since))
    running, sessions = snapshot.count_leases(section)
    return ConcurrencyTotals(running, sessions, expired)


def _orphaned_owners(control_block: ControlBlock, section: LimitsSection) -> set[int]:
    """The owners of leases that no worker slot has."""
    # In this order: a worker has a slot before it takes a lease.
    owners = snapshot.lease_owners(section)
    return owners - {slot.generation for slot in control_block.taken_slots()}
