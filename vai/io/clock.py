"""The clock of every deadline.

It is CLOCK_MONOTONIC in seconds. asyncio's and uvloop's timers use the same clock, so a reading
can be passed to ``loop.call_at`` as it is. uvloop's own ``loop.time()`` is the time at which the
current turn of the loop began; VAI computes deadlines from the true time instead.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from time import monotonic, time

__all__ = ["monotonic", "span_in_words", "today"]


_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400


def today() -> date:
    """The day in UTC; prices change with it."""
    return _date_of(int(time()) // _DAY)


@lru_cache(2)  # one date for all requests of a day
def _date_of(days: int) -> date:
    return date.fromordinal(_EPOCH + days)


def span_in_words(seconds: float) -> str:
    """A span of time as an operator reads it: `0.4 s`, `5 min 3 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    left = int(seconds)
    parts: list[str] = []
    for size, unit in units:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))
