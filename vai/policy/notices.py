"""Which of many subjects may write a log line now.

Invariants: memory does not grow with the number of subjects. Each has a line at most once per
interval, and the next one reports how many were left out. Subjects beyond the number that VAI
remembers share one line.
"""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["NoticeLimiter"]


class NoticeLimiter:
    """The lines of one process. Times are readings of one clock, in seconds.

    Args:
        every: seconds between two lines of one subject.
        room: the largest number of remembered subjects.
    """

    __slots__ = ("_every", "_lines", "_others", "_room")

    def __init__(self, every: float = 60.0, room: int = 256) -> None:
        self._every = every
        self._room = room
        self._lines: dict[Hashable, _Line] = {}
        self._others = _Line(0.0)

    def __len__(self) -> int:
        return len(self._lines)

    def admit_line(self, subject: Hashable, now: float) -> int | None:
        """How many lines of `subject` were left out since its last one, when it may have one now;
        None when this one is left out too."""
        line = self._lines.pop(subject, None)
        if line is None:
            self._make_room(now)
            line = _Line(now) if len(self._lines) < self._room else self._others
        if line is not self._others:
            self._lines[subject] = line  # at the end
        if now < line.due:
            line.left_out += 1
            return None
        left_out, line.left_out = line.left_out, 0
        line.due = now + self._every
        return left_out

    def _make_room(self, now: float) -> None:
        """Drop subjects whose interval is over, the longest unused first, while there is no
        room."""
        lines = self._lines
        while len(lines) >= self._room:
            oldest = next(iter(lines))
            if lines[oldest].due > now:
                return
            del lines[oldest]


class _Line:
    """When a subject may have its next line, and how many were left out since the last one."""

    __slots__ = ("due", "left_out")

    def __init__(self, due: float) -> None:
        self.due = due
        self.left_out = 0
