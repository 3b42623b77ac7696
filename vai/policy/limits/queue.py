"""Who is let in next when requests wait for a place: the subjects in turn, each in its order.

The law: one who queues a hundred requests delays nobody else by more than one of them, and
the queue is bounded for each subject and in all. What waits is the caller's; this is only the
order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """What waits, by subject.

    Args:
        most: how many may wait in all.
        each: how many of one subject may.
    """

    def __init__(self, *, most: int, each: int) -> None:
        self._most, self._each = most, each
        self._turns: deque[str] = deque()
        self._waiting: dict[str, deque[T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def join(self, subject: str, one: T) -> bool:
        """Have `one` wait; False when there is no room for it."""
        line = self._waiting.get(subject)
        if self._count >= self._most or (line is not None and len(line) >= self._each):
            return False
        if line is None:
            line = self._waiting[subject] = deque()
            self._turns.append(subject)
        line.append(one)
        self._count += 1
        return True

    def leave(self, subject: str, one: T) -> bool:
        """`one` waits no more; False if it did not."""
        line = self._waiting.get(subject)
        if line is None or one not in line:
            return False
        line.remove(one)
        self._left(subject, line)
        return True

    def serve(self, admit: Callable[[str, T], bool]) -> int:
        """Offer a place to the subjects in turn until all were refused once in a row.

        `admit` says whether it was taken. A subject that is refused (its own limit) does not
        stand in the way of the next. Returns how many were let in.
        """
        served = refused = 0
        while refused < len(self._turns):
            subject = self._turns[0]
            self._turns.rotate(-1)
            line = self._waiting[subject]
            if admit(subject, line[0]):
                line.popleft()
                self._left(subject, line)
                served, refused = served + 1, 0
            else:
                refused += 1
        return served

    def _left(self, subject: str, line: deque[T]) -> None:
        self._count -= 1
        if not line:
            del self._waiting[subject]
            self._turns.remove(subject)
