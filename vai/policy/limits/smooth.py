"""The smooth mode: what is allowed in a minute is spread over it.

This is the generic cell rate algorithm, written as a leaking bucket: every charge raises
the level, time lowers it at limit/60 a second, and a charge passes while the level stays
below five seconds' worth. It comes on top of the window and never in its place: alone, a
bucket that holds a minute's worth lets 199 of 100 through in 60 seconds.

Levels are in thousandths of a unit and times in milliseconds, whole numbers both, so that
every store computes the same.
"""

from __future__ import annotations

__all__ = ["MILLI", "burst_level", "drained_level", "seconds_until_spaced"]

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
