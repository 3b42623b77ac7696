"""The clock that every deadline is a reading of.

It is CLOCK_MONOTONIC in seconds, which is also what asyncio's and uvloop's timers run on,
so a reading can be handed to ``loop.call_at`` as it is. uvloop's own ``loop.time()`` is the
time at which the current turn of the loop began; a deadline is better taken from the true time.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from time import monotonic

__all__ = ["monotonic", "today"]


def today() -> date:
    """The day in UTC, which is the day that prices change at."""
    return datetime.now(UTC).date()
