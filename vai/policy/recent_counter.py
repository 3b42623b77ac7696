"""Counts recent events, and how many of them are marked, in two numbers and no list.

Invariants: memory does not grow with the number of events. There are two buckets, the running one
and the one before, and the one before fades out as the running one fills; the counts are exact
when events come evenly and never off by more than one bucket.
"""

from __future__ import annotations

__all__ = ["RecentCounter"]


class RecentCounter:
    """Counts over about the last `span` seconds; times are readings of any one clock."""

    __slots__ = ("_all", "_before", "_began", "_marked", "_span")

    def __init__(self, span: float, now: float) -> None:
        self._span = span
        self._began = now
        self._all = 0
        self._marked = 0
        self._before = (0, 0)

    def count_event(self, now: float) -> None:
        """Count one event."""
        if now - self._began >= self._span:
            self._rotate_buckets(now)
        self._all += 1

    def count_marked(self, now: float) -> None:
        """Mark one of the counted events."""
        if now - self._began >= self._span:
            self._rotate_buckets(now)
        self._marked += 1

    def recent_counts(self, now: float) -> tuple[float, float]:
        """The number of events, and of marked ones."""
        if now - self._began >= self._span:
            self._rotate_buckets(now)
        fading = 1 - (now - self._began) / self._span
        return self._all + self._before[0] * fading, self._marked + self._before[1] * fading

    def _rotate_buckets(self, now: float) -> None:
        recent = now - self._began < 2 * self._span
        self._before = (self._all, self._marked) if recent else (0, 0)
        self._began = self._began + self._span if recent else now
        self._all = self._marked = 0
