"""The leases: taken, returned, and identified by handles that are used once.

Invariants: a handle is the index of a lease and the generation of its taking. If a lease was freed
and taken again, the handle of its former holder has an older generation and no effect. All
functions run under the mutex.
"""

from __future__ import annotations

from collections.abc import Sequence

from vai.io.limits.layout import (
    H_FREE,
    H_HIGH,
    KEYS,
    L_GENERATION,
    L_HEARTBEAT,
    L_KIND,
    L_OWNER,
    L_ROWS,
    L_SINCE,
    L_SLOT,
    L_TOKENS,
    LEASE_WORDS,
    NO_OWNER,
    OWNERS,
    R_RUNNING,
    R_SESSIONS,
    ROW_BITS,
    ROW_MASK,
    ROW_WORDS,
    SESSION,
    Layout,
)
from vai.io.limits.section import LimitsSection

__all__ = [
    "GENERATIONS",
    "expire_sessions",
    "find_lease",
    "free_lease",
    "next_free_index",
    "read_column",
    "reclaim_leases",
    "row_offsets",
    "to_handle",
    "write_lease",
]

_INDEX_BITS = 20
_INDEX_MASK = (1 << _INDEX_BITS) - 1
GENERATIONS = 1 << 40
"""Takings of one lease until a handle repeats: 12 days of one lease taken and returned a million
times a second without a pause."""


def next_free_index(section: Layout) -> int:
    """The index of a free lease, without taking it; -1 if all are taken."""
    words = section.words
    free = words[H_FREE]
    if free:
        return words[section.free + free - 1]
    high = words[H_HIGH]
    return high if high < section.lease_count else -1


def write_lease(
    section: Layout,
    index: int,
    owner: int,
    kind: int,
    rows: int,
    tokens: int,
    slot: int,
    now_ms: int,
) -> int:
    """Take the lease that `next_free_index` returned.

    Returns its handle. The caller updates the rows' counts.
    """
    words = section.words
    free = words[H_FREE]
    if free:
        words[H_FREE] = free - 1
    else:
        words[H_HIGH] = index + 1
    at = section.leases + index * LEASE_WORDS
    generation = words[at + L_GENERATION] % (GENERATIONS - 1) + 1  # from 1: no handle is 0
    words[at + L_GENERATION] = generation
    words[at + L_KIND] = kind
    words[at + L_ROWS] = rows
    words[at + L_TOKENS] = tokens
    words[at + L_SLOT] = slot
    words[at + L_SINCE] = now_ms
    if kind == SESSION:
        words[at + L_HEARTBEAT] = now_ms
    words[at + L_OWNER] = owner  # last: now it is held
    return to_handle(generation, index)


def to_handle(generation: int, index: int) -> int:
    """The number that identifies a lease while it is held."""
    return generation << _INDEX_BITS | index


def find_lease(section: Layout, handle: int) -> int:
    """The position of the lease of a handle; 0 if the lease is no longer held."""
    index = handle & _INDEX_MASK
    if handle <= 0 or index >= section.lease_count:
        return 0
    at = section.leases + index * LEASE_WORDS
    words = section.words
    if words[at + L_GENERATION] != handle >> _INDEX_BITS or not words[at + L_OWNER]:
        return 0
    return at


def free_lease(section: Layout, at: int, offsets: Sequence[int] | None = None) -> None:
    """Free the lease at `at`; `offsets` are its `row_offsets`, where the caller has them."""
    words = section.words
    words[at + L_OWNER] = 0  # first: from here on it is free, even if this process dies below
    count = R_SESSIONS if words[at + L_KIND] == SESSION else R_RUNNING
    for base in row_offsets(section, at) if offsets is None else offsets:
        words[base + count] -= 1
    free_count = words[H_FREE]
    words[section.free + free_count] = (at - section.leases) // LEASE_WORDS
    words[H_FREE] = free_count + 1


def row_offsets(section: Layout, at: int) -> list[int]:
    """The positions of the rows that the lease at `at` counts for."""
    rows, first = section.words[at + L_ROWS], section.rows - ROW_WORDS
    offsets = []
    while rows:
        offsets.append(first + (rows & ROW_MASK) * ROW_WORDS)
        rows >>= ROW_BITS
    return offsets


def reclaim_leases(section: LimitsSection, owner: int) -> int:
    """Free all leases of `owner`, and refuse it any more.

    Its charges stay. Returns how many leases it held. Raises LockUnavailable.
    """
    if owner == NO_OWNER:
        return 0
    words = section.words
    with section.locked():
        for index in range(OWNERS, KEYS):
            if words[index] == owner:
                words[index] = 0
        held = [
            section.leases + index * LEASE_WORDS
            for index, holder in enumerate(read_column(section, L_OWNER))
            if holder == owner
        ]
        for at in held:
            free_lease(section, at)
    return len(held)


def expire_sessions(section: LimitsSection, silent_since: float) -> tuple[int, ...]:
    """Free the sessions whose last heartbeat is before `silent_since`; returns their handles.

    Raises LockUnavailable.
    """
    before = int(silent_since * 1000)
    words, handles = section.words, []
    with section.locked():
        columns = zip(
            read_column(section, L_OWNER),
            read_column(section, L_KIND),
            read_column(section, L_HEARTBEAT),
            strict=True,
        )
        for index, (owner, kind, heartbeat) in enumerate(columns):
            if owner and kind == SESSION and heartbeat < before:
                at = section.leases + index * LEASE_WORDS
                free_lease(section, at)
                handles.append(to_handle(words[at + L_GENERATION], index))
    return tuple(handles)


def read_column(section: Layout, word: int) -> list[int]:
    """One word of each lease that was ever taken."""
    end = section.leases + section.words[H_HIGH] * LEASE_WORDS
    column: list[int] = section.words[section.leases + word : end : LEASE_WORDS].tolist()
    return column
