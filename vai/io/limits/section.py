"""The section of the control block that holds the limits, and its lock.

Invariants: no process writes outside `lock` and `unlock`, and a process that locks finds all words
consistent, whatever happened to the holders before. Reads without the lock are for display only.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from vai.io.limits.layout import (
    BUCKET,
    DEFAULT_LEASES,
    DEFAULT_PRINCIPALS,
    H_DIRTY,
    H_LAYOUT,
    H_LEASES,
    H_MAGIC,
    H_PRINCIPALS,
    H_SECRET,
    KEYS,
    LAYOUT,
    MAGIC,
    MUTEX,
    ROW_MASK,
    Layout,
)
from vai.io.limits.mutex import SIZE as MUTEX_SIZE
from vai.io.limits.mutex import RobustMutex
from vai.io.limits.repair import repair_section

__all__ = ["LimitsSection"]


class LimitsSection(Layout):
    """The words and the mutex over them."""

    __slots__ = ("mutex",)

    def __init__(self, view: memoryview) -> None:
        """Open a prepared section. Raises ValueError if `view` is none."""
        super().__init__(view)
        self.mutex = RobustMutex(_mutex_of(view))

    @classmethod
    def prepare(
        cls, view: memoryview, principals: int = DEFAULT_PRINCIPALS, leases: int = DEFAULT_LEASES
    ) -> LimitsSection:
        """Make a zeroed `view` of `section_size` bytes a section. Its creator calls this once."""
        if not 0 < principals < ROW_MASK // 2 - BUCKET or not 0 < leases < ROW_MASK:
            raise ValueError("too many principals or leases, or none")
        words = view.cast("q")
        words[H_LAYOUT], words[H_PRINCIPALS], words[H_LEASES] = LAYOUT, principals, leases
        for offset in (H_SECRET, H_SECRET + 1):
            words[offset] = int.from_bytes(secrets.token_bytes(8), "little", signed=True)
        RobustMutex(_mutex_of(view)).initialise()
        words[KEYS] = 1  # the gateway's own row: always there, in no bucket
        words[H_MAGIC] = MAGIC  # last: without it this is no section
        return cls(view)

    def lock(self) -> None:
        """Take the mutex, and repair what a dead holder left. Call `unlock` in a `finally`.

        Raises LockUnavailable.
        """
        if self.mutex.acquire():
            self.words[H_DIRTY] = 1
        if self.words[H_DIRTY]:
            try:
                repair_section(self)
                self.words[H_DIRTY] = 0
            except BaseException:
                self.unlock()
                raise

    def unlock(self) -> None:
        """Release the mutex."""
        self.mutex.release(self.mutex.address)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """`lock` and `unlock` as a context, for operations outside the hot path."""
        self.lock()
        try:
            yield
        except BaseException:
            self.words[H_DIRTY] = 1
            raise
        finally:
            self.unlock()


def _mutex_of(view: memoryview) -> memoryview:
    return view[MUTEX * 8 : MUTEX * 8 + MUTEX_SIZE]
