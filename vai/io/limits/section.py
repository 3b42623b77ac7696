"""The section of the board that holds the limits, and the one way into it.

The law: nothing is written outside `enter` and `leave`, and whoever enters finds everything
as it should be, whatever became of those before. What is read outside is for the eye only.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from vai.io.limits.layout import (
    BUCKET,
    DEFAULT_LEASES,
    DEFAULT_SUBJECTS,
    H_DIRTY,
    H_LAYOUT,
    H_LEASES,
    H_MAGIC,
    H_SECRET,
    H_SUBJECTS,
    KEYS,
    LAYOUT,
    MAGIC,
    MUTEX,
    ROW_MASK,
    Layout,
)
from vai.io.limits.mutex import SIZE as MUTEX_SIZE
from vai.io.limits.mutex import RobustMutex
from vai.io.limits.repair import repair

__all__ = ["LimitsSection"]


class LimitsSection(Layout):
    """The words and the mutex over them."""

    __slots__ = ("mutex",)

    def __init__(self, view: memoryview) -> None:
        """Open a section that was prepared. Raises ValueError if `view` is none."""
        super().__init__(view)
        self.mutex = RobustMutex(_mutex_of(view))

    @classmethod
    def prepare(
        cls, view: memoryview, principals: int = DEFAULT_SUBJECTS, leases: int = DEFAULT_LEASES
    ) -> LimitsSection:
        """Make a zeroed `view` of `section_size` bytes a section; by the board's maker, once."""
        if not 0 < principals < ROW_MASK // 2 - BUCKET or not 0 < leases < ROW_MASK:
            raise ValueError("too many principals or places, or none")
        words = view.cast("q")
        words[H_LAYOUT], words[H_SUBJECTS], words[H_LEASES] = LAYOUT, principals, leases
        for place in (H_SECRET, H_SECRET + 1):
            words[place] = int.from_bytes(secrets.token_bytes(8), "little", signed=True)
        RobustMutex(_mutex_of(view)).initialise()
        words[KEYS] = 1  # the gateway's own row: always there, in no bucket
        words[H_MAGIC] = MAGIC  # last: without it this is nothing
        return cls(view)

    def enter(self) -> None:
        """Take the mutex, and make right what a dead holder left. Then `leave`, in a `finally`.

        Raises LockUnavailable.
        """
        if self.mutex.acquire():
            self.words[H_DIRTY] = 1
        if self.words[H_DIRTY]:
            try:
                repair(self)
                self.words[H_DIRTY] = 0
            except BaseException:
                self.leave()
                raise

    def leave(self) -> None:
        """Let others in."""
        self.mutex.release(self.mutex.address)

    @contextmanager
    def held(self) -> Iterator[None]:
        """`enter` and `leave`, for what is not done with every request."""
        self.enter()
        try:
            yield
        except BaseException:
            self.words[H_DIRTY] = 1
            raise
        finally:
            self.leave()


def _mutex_of(view: memoryview) -> memoryview:
    return view[MUTEX * 8 : MUTEX * 8 + MUTEX_SIZE]
