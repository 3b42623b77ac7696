"""The sliding window: at most L in any 60 seconds, never one more.

Time is cut into slots of 5 seconds, and a window is the slot of now and the 12 before it.
Thirteen, because 60 seconds that begin inside a slot touch 13 of them: with 12 a full burst
at the end of one slot and another 55 seconds later would both pass. The price is that room
comes back after 60 to 65 seconds instead of after 60.

A slot number is the time divided by 5; slot `n` is stored at index ``n % 13``.

The smooth mode spreads what is allowed in a minute over it. It is the generic cell rate
algorithm, written as a leaking bucket: every charge raises the level, time lowers it at limit/60
a second, and a charge passes while the level stays below five seconds' worth. It comes on top of
the window and never replaces it: alone, a bucket that holds a minute's worth passes 199 of 100
requests in 60 seconds. Levels are in thousandths of a unit and times in milliseconds, both whole
numbers, so that every store computes the same.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "MILLI",
    "SLOTS",
    "SLOT_SECONDS",
    "burst_level",
    "drained_level",
    "expired_slots",
    "seconds_until_reset",
    "seconds_until_room",
    "seconds_until_spaced",
    "slot_at",
]

SLOT_SECONDS = 5
SLOTS = 13


def slot_at(now: float) -> int:
    """The slot of a time in seconds (not negative)."""
    return int(now) // SLOT_SECONDS


def expired_slots(last: int, slot: int) -> range:
    """The slot numbers whose counters must be zeroed when a window last moved at `last` moves on.

    Taken modulo SLOTS they are indexes; there are at most SLOTS of them.
    """
    return range(max(last, slot - SLOTS) + 1, slot + 1)


def seconds_until_room(
    slots: Sequence[int], slot: int, now: float, *, cost: int, limit: int
) -> float:
    """Seconds until `cost` fits under `limit` if nothing else is charged; 0.0 if it does now.

    `slots` are the counters of a window that has moved to `slot`. A cost beyond the limit is
    counted as the limit.
    """
    excess = sum(slots) + min(cost, limit) - limit
    if excess <= 0:
        return 0.0
    for number in range(slot - SLOTS + 1, slot + 1):
        excess -= slots[number % SLOTS]
        if excess <= 0:
            return max(0.0, (number + SLOTS) * SLOT_SECONDS - now)
    return seconds_until_reset(slots, slot, now)


def seconds_until_reset(slots: Sequence[int], slot: int, now: float) -> float:
    """Seconds until everything that is charged now has left the window."""
    for number in range(slot, slot - SLOTS, -1):
        if slots[number % SLOTS]:
            return max(0.0, (number + SLOTS) * SLOT_SECONDS - now)
    return 0.0


MILLI = 1000
_BURST_SECONDS = 5


def burst_level(limit: int) -> int:
    """How high the level may get, in thousandths: five seconds' worth, one unit at least."""
    return max(MILLI, limit * MILLI * _BURST_SECONDS // 60)


def drained_level(level: int, elapsed_ms: int, limit: int) -> int:
    """The level after `elapsed_ms` without a charge."""
    return max(0, level - max(0, elapsed_ms) * limit // 60)


def seconds_until_spaced(level: int, cost: int, limit: int) -> float:
    """Seconds until `cost` passes at this level; 0.0 if it does now.

    A cost beyond the burst passes when the bucket is empty, and delays what comes after it.
    """
    excess = level - max(0, burst_level(limit) - cost * MILLI)
    # Whole milliseconds, and one more: both readings of the clock were rounded down.
    return (excess * 60 // limit + 2) / 1000 if excess > 0 else 0.0
