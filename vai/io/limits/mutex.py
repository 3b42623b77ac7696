"""A mutex in shared memory that its holder's death unlocks.

Invariants: the process that takes it learns, once, whether the holder before died with it, and
no process waits for it without an end. It is a robust, process-shared pthread mutex: the kernel
walks the list of those a dead thread held, so there is no instruction at which a SIGKILL
leaves it locked. `multiprocessing.Lock` stays locked, and `flock` costs four times as much.

The functions are called with the interpreter's lock held (PyDLL): one call takes a tenth of
a microsecond, less than letting go of the lock and taking it again. So only one thread of a
process may use a mutex, and between taking and releasing it nothing may be awaited.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time

__all__ = ["PATIENCE", "SIZE", "LockUnavailable", "RobustMutex"]

SIZE = 64
"""Bytes to set aside for one, a cache line; glibc uses 40 of them."""

PATIENCE = 0.25
"""Seconds to wait for a holder that lives and does not let go: it is stopped. The wait stands
still with all its streams, so it is short, and not repeated until a process got through."""

_YIELDS = 20
_NAP, _LONGEST_NAP = 50e-6, 500e-6
_PROCESS_SHARED = _ROBUST = 1


class LockUnavailable(RuntimeError):
    """The holder lives and does not let go, or this system has no such mutex."""


class RobustMutex:
    """One mutex in `buffer`, a writable buffer of SIZE bytes at an address divisible by 8."""

    __slots__ = ("_buffer", "_consistent", "_deadline_passed", "_trylock", "address", "release")

    def __init__(self, buffer: memoryview) -> None:
        if sys.platform != "linux":
            raise LockUnavailable("robust mutexes exist on Linux only")
        self._buffer = (ctypes.c_char * SIZE).from_buffer(buffer)
        self.address = ctypes.cast(self._buffer, ctypes.POINTER(ctypes.c_char))
        library = ctypes.PyDLL(None)
        self._trylock = library.pthread_mutex_trylock
        self._consistent = library.pthread_mutex_consistent
        self.release = library.pthread_mutex_unlock
        """Let go; called with `address`. The function itself, because a call more costs
        as much as the unlocking."""
        self._deadline_passed = False

    def initialise(self) -> None:
        """Make the mutex; once for its buffer, before any other process opens it."""
        library = ctypes.PyDLL(None)
        attributes = ctypes.create_string_buffer(SIZE)
        for answer in (
            library.pthread_mutexattr_init(attributes),
            library.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED),
            library.pthread_mutexattr_setrobust(attributes, _ROBUST),
            library.pthread_mutex_init(self.address, attributes),
        ):
            if answer:
                raise LockUnavailable(f"no robust mutex: {os.strerror(answer)}")

    def acquire(self) -> bool:
        """Take it. True: the holder before died, and what it guarded may be half written.

        Raises LockUnavailable when it is not to be had in time.
        """
        # The response is taken once. EOWNERDEAD gives the mutex, so a second try after it would
        # wait for itself.
        status: int = self._trylock(self.address)
        if status:
            return self._check_acquired(status if status != errno.EBUSY else self._poll_lock())
        self._deadline_passed = False
        return False

    def _poll_lock(self) -> int:
        # Polled: pthread_mutex_lock has no end, and pthread_mutex_timedlock runs on the time of
        # day; with eight processes on two cores it was no faster, and once slept to its end.
        # Most waits end within the yields: the holder needs a few microseconds, or a turn on
        # this very core.
        for _ in range(_YIELDS):
            os.sched_yield()
            status: int = self._trylock(self.address)
            if status != errno.EBUSY:
                return status
        deadline = time.monotonic() + (0.0 if self._deadline_passed else PATIENCE)
        nap = _NAP
        while time.monotonic() < deadline:
            time.sleep(nap)
            nap = min(nap * 2, _LONGEST_NAP)
            status = self._trylock(self.address)
            if status != errno.EBUSY:
                return status
        self._deadline_passed = True
        raise LockUnavailable("the holder of the lock is stopped")

    def _check_acquired(self, status: int) -> bool:
        self._deadline_passed = False
        if status == errno.EOWNERDEAD:
            # At once, not after a repair: a mutex let go in this state is lost for good.
            # What must be repaired is up to the caller: the result reports it.
            self._consistent(self.address)
            return True
        if status:
            raise LockUnavailable(f"the lock is beyond repair: {os.strerror(status)}")
        return False
