"""What the manager does for the limits, by the board alone.

The law: a place belongs to a claim, and a claim that no row of the board carries belongs to
nobody. So nothing has to be remembered: a manager that is new, or that could not do it the
first time, finds what is left to be done by looking.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from vai.io.control_block import ControlBlock, WorkerSlot
from vai.io.limits import leases, snapshot
from vai.io.limits.layout import DEFAULT_LEASES, DEFAULT_SUBJECTS, Layout, section_size
from vai.io.limits.mutex import LockUnavailable
from vai.io.limits.section import LimitsSection

__all__ = [
    "SECTION",
    "ConcurrencyTotals",
    "PrincipalCapacity",
    "open_section",
    "prepare",
    "reclaim",
    "room",
    "sections",
    "tick",
]

SECTION = 1
"""The id of the limits' section on the board."""


def sections(principals: int = DEFAULT_SUBJECTS) -> dict[int, int]:
    """What to make a board with, for so many principals."""
    return {SECTION: section_size(principals, DEFAULT_LEASES)}


class ConcurrencyTotals(msgspec.Struct, frozen=True):
    """What is held on the box."""

    running: int
    sessions: int
    expired: int
    """Sessions that were ended in this turn, for their silence."""


class PrincipalCapacity(msgspec.Struct, frozen=True):
    """The room for callers: users, keys and addresses."""

    callers: int
    """Those that are counted, as the manager last saw them; at most some seconds old."""
    most: int
    """As many find room at least."""
    is_full: bool
    """Whether one was refused within the last minute because there was none."""


def prepare(board: ControlBlock, principals: int = DEFAULT_SUBJECTS) -> LimitsSection:
    """Make the section of a board that was made with `sections`; its maker, before any worker."""
    return LimitsSection.prepare(board.section(SECTION), principals, DEFAULT_LEASES)


def open_section(board: ControlBlock) -> LimitsSection:
    """The limits of a board. Raises BoardError or ValueError where there are none."""
    return LimitsSection(board.section(SECTION))


def room(board: ControlBlock, now: float) -> PrincipalCapacity:
    """How much of the room for callers is in use. Raises as `open_section` does."""
    section = Layout(board.section(SECTION))
    return PrincipalCapacity(board.callers, section.principals, snapshot.is_full(section, now))


def reclaim(board: ControlBlock, row: WorkerSlot) -> None:
    """Free what the dead owner of `row` held; before the row is free."""
    with suppress(LockUnavailable):  # somebody stands still inside; the next `tick` does it
        leases.reclaim(open_section(board), row.claim)


def tick(board: ControlBlock, section: LimitsSection, silent_since: float) -> ConcurrencyTotals:
    """One turn, twice a second: free what nobody holds any more, end silent sessions.

    `silent_since` is the time (as for `expire`) since when a session must have shown life.
    """
    expired = 0
    with suppress(LockUnavailable):  # the next turn does it
        for owner in _orphans(board, section):
            leases.reclaim(section, owner)
        expired = len(leases.expire(section, silent_since))
    running, sessions = snapshot.totals(section)
    return ConcurrencyTotals(running, sessions, expired)


def _orphans(board: ControlBlock, section: LimitsSection) -> set[int]:
    """The claims that hold something and are on no row."""
    # In this order: a worker is on the board before it takes anything.
    owners = snapshot.owners(section)
    return owners - {row.claim for row in board.taken()}
