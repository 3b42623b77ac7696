"""The places that are held: taken, given back, and known by numbers that are used once.

The law: a handle is the number of a place and the generation of its taking. A holder that
slept while its place was freed and taken again holds a handle of an older generation, and
whatever it does with it does nothing. Everything here happens under the mutex.
"""

from __future__ import annotations

from vai.io.limits.layout import (
    H_FREE,
    H_HIGH,
    KEYS,
    L_BEAT,
    L_GENERATION,
    L_KIND,
    L_OWNER,
    L_ROWS,
    L_SINCE,
    L_SLOT,
    L_TOKENS,
    LEASE_WORDS,
    NOBODY,
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
    "expire",
    "find",
    "free",
    "handle_of",
    "next_place",
    "read_column",
    "reclaim",
    "rows_of",
    "take",
]

_PLACE_BITS = 20
_PLACE_MASK = (1 << _PLACE_BITS) - 1
GENERATIONS = 1 << 40
"""Takings of one place until a handle comes again: at a million a second, 12 days of one place
taken and given back without a pause."""


def next_place(section: Layout) -> int:
    """The number of a free place; -1 if all are taken. It is not taken yet."""
    words = section.words
    free = words[H_FREE]
    if free:
        return words[section.free + free - 1]
    high = words[H_HIGH]
    return high if high < section.places else -1


def take(
    section: Layout,
    place: int,
    owner: int,
    kind: int,
    rows: int,
    tokens: int,
    slot: int,
    now_ms: int,
) -> int:
    """Take the place that `next_place` named; its handle. The rows' counts are the caller's."""
    words = section.words
    free = words[H_FREE]
    if free:
        words[H_FREE] = free - 1
    else:
        words[H_HIGH] = place + 1
    at = section.leases + place * LEASE_WORDS
    generation = words[at + L_GENERATION] % (GENERATIONS - 1) + 1  # from 1: no handle is 0
    words[at + L_GENERATION] = generation
    words[at + L_KIND] = kind
    words[at + L_ROWS] = rows
    words[at + L_TOKENS] = tokens
    words[at + L_SLOT] = slot
    words[at + L_SINCE] = now_ms
    if kind == SESSION:
        words[at + L_BEAT] = now_ms
    words[at + L_OWNER] = owner  # last: now it is held
    return handle_of(generation, place)


def handle_of(generation: int, place: int) -> int:
    """The number a place is known by while it is held."""
    return generation << _PLACE_BITS | place


def find(section: Layout, handle: int) -> int:
    """The position of the lease of a handle; 0 if it is not held any more."""
    place = handle & _PLACE_MASK
    if handle <= 0 or place >= section.places:
        return 0
    at = section.leases + place * LEASE_WORDS
    words = section.words
    if words[at + L_GENERATION] != handle >> _PLACE_BITS or not words[at + L_OWNER]:
        return 0
    return at


def free(section: Layout, at: int) -> int:
    """Give the place of the lease at `at` back; its handle."""
    words = section.words
    words[at + L_OWNER] = 0  # first: from here on it is not held, whatever happens below
    count = R_SESSIONS if words[at + L_KIND] == SESSION else R_RUNNING
    rows = words[at + L_ROWS]
    while rows:
        words[section.rows + ((rows & ROW_MASK) - 1) * ROW_WORDS + count] -= 1
        rows >>= ROW_BITS
    place = (at - section.leases) // LEASE_WORDS
    known = words[H_FREE]
    words[section.free + known] = place
    words[H_FREE] = known + 1
    return handle_of(words[at + L_GENERATION], place)


def rows_of(section: Layout, at: int) -> list[int]:
    """The positions of the rows that the lease at `at` hangs on."""
    rows = section.words[at + L_ROWS]
    found = []
    while rows:
        found.append(section.rows + ((rows & ROW_MASK) - 1) * ROW_WORDS)
        rows >>= ROW_BITS
    return found


def reclaim(section: LimitsSection, owner: int) -> int:
    """Free all that the worker of that claim held, and let it take nothing more.

    What it had charged stays charged. Returns how many places it held. Raises LockUnavailable.
    """
    if owner == NOBODY:
        return 0
    words = section.words
    with section.held():
        for place in range(OWNERS, KEYS):
            if words[place] == owner:
                words[place] = 0
        held = [
            section.leases + place * LEASE_WORDS
            for place, holder in enumerate(read_column(section, L_OWNER))
            if holder == owner
        ]
        for at in held:
            free(section, at)
    return len(held)


def expire(section: LimitsSection, silent_since: float) -> tuple[int, ...]:
    """Free the sessions whose last sign of life is older than that; their handles.

    Raises LockUnavailable.
    """
    before = int(silent_since * 1000)
    with section.held():
        return tuple(
            [
                free(section, section.leases + place * LEASE_WORDS)
                for place, (owner, kind, beat) in enumerate(
                    zip(
                        read_column(section, L_OWNER),
                        read_column(section, L_KIND),
                        read_column(section, L_BEAT),
                        strict=True,
                    )
                )
                if owner and kind == SESSION and beat < before
            ]
        )


def read_column(section: Layout, word: int) -> list[int]:
    end = section.leases + section.words[H_HIGH] * LEASE_WORDS
    column: list[int] = section.words[section.leases + word : end : LEASE_WORDS].tolist()
    return column
