"""A mutex in shared memory that unlocks when its holder dies.

Invariants: the next process that takes it finds out, once, whether the holder before died with it,
and every wait for it has an end. It is a robust, process-shared pthread mutex: the kernel walks the
list of the mutexes of a dead thread, so there is no instruction at which a SIGKILL leaves it
locked. `multiprocessing.Lock` stays locked, and `flock` costs four times as much.

The functions run with the interpreter's lock held (PyDLL): one call takes a tenth of a microsecond,
less than releasing that lock and taking it again. So only one thread of a process may use a mutex,
and no code may await anything while it holds the mutex.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time

__all__ = ["PATIENCE", "SIZE", "LockUnavailable", "RobustMutex"]

SIZE = 64
"""Bytes to reserve for a mutex, a cache line; glibc uses 40 of them."""

PATIENCE = 0.25
"""Seconds to wait for a living holder that does not release the mutex: it is stopped. The wait
blocks all streams of this process, so it is short, and not repeated until a process got the
mutex."""

_YIELDS = 20
_NAP, _LONGEST_NAP = 50e-6, 500e-6
_PROCESS_SHARED = _ROBUST = 1


class LockUnavailable(RuntimeError):
    """The holder lives and does not release the mutex, or the system has no such mutex."""


class RobustMutex:
    """One mutex in `buffer`, a writable buffer of SIZE bytes at an address divisible by 8."""

    __slots__ = ("_buffer", "_consistent", "_trylock", "address", "deadline_passed", "release")

    def __init__(self, buffer: memoryview) -> None:
        if sys.platform != "linux":
            raise LockUnavailable("robust mutexes exist on Linux only")
        self._buffer = (ctypes.c_char * SIZE).from_buffer(buffer)
        self.address = ctypes.cast(self._buffer, ctypes.POINTER(ctypes.c_char))
        library = ctypes.PyDLL(None)
        self._trylock = library.pthread_mutex_trylock
        self._consistent = library.pthread_mutex_consistent
        self.release = library.pthread_mutex_unlock
        """Release the mutex; call it with `address`. The C function itself, because one more
        Python call costs as much as the unlocking."""
        self.deadline_passed = False
        """Whether the last wait had no success: then the next one is short."""

    def initialise(self) -> None:
        """Initialise the mutex; once for its buffer, before any other process opens it."""
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
        """Take the mutex. True: its holder died, and the guarded data may be half written.

        Raises LockUnavailable when it cannot be taken in time.
        """
        # Called once: after EOWNERDEAD this process has the mutex, so a second attempt would
        # wait for itself.
        status: int = self._trylock(self.address)
        if status:
            return self._check_acquired(status if status != errno.EBUSY else self._poll_lock())
        self.deadline_passed = False
        return False

    def _poll_lock(self) -> int:
        # Polled: pthread_mutex_lock waits without limit, and pthread_mutex_timedlock uses the
        # time of day; with eight processes on two cores it was no faster, and once slept to its
        # end. Most waits end within the yields: the holder needs a few microseconds, or a turn
        # on this very core.
        for _ in range(_YIELDS):
            os.sched_yield()
            status: int = self._trylock(self.address)
            if status != errno.EBUSY:
                return status
        deadline = time.monotonic() + (0.0 if self.deadline_passed else PATIENCE)
        nap = _NAP
        while time.monotonic() < deadline:
            time.sleep(nap)
            nap = min(nap * 2, _LONGEST_NAP)
            status = self._trylock(self.address)
            if status != errno.EBUSY:
                return status
        self.deadline_passed = True
        raise LockUnavailable("the holder of the lock is stopped")

    def _check_acquired(self, status: int) -> bool:
        self.deadline_passed = False
        if status == errno.EOWNERDEAD:
            # Before any repair: a mutex released in this state is lost for good. The result
            # reports that the caller must repair the data.
            self._consistent(self.address)
            return True
        if status:
            raise LockUnavailable(f"the lock is beyond repair: {os.strerror(status)}")
        return False
