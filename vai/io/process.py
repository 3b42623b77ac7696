"""The identity of a process, and how the kernel ends it with its parent.

A pid alone does not identify a process, because the kernel reuses it; pid and start time do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "NO_PROCESS",
    "ProcessIdentity",
    "StartWatch",
    "State",
    "cpu_seconds",
    "current_process",
    "die_with_parent",
    "identify_process",
    "is_alive",
    "is_stopped",
    "parent_pid",
    "process_age",
]

_PR_SET_PDEATHSIG = 1
_STATE_FIELD, _PARENT_FIELD, _USER_FIELD, _SYSTEM_FIELD, _START_FIELD = (
    0,
    1,
    11,
    12,
    19,
)  # of /proc/<pid>/stat, counted behind the command name
_DEAD_STATES = frozenset((b"Z", b"X", b"x"))


class State(IntEnum):
    """What a worker is doing."""

    FREE = 0
    STARTING = 1
    SERVING = 2
    DRAINING = 3
    STOPPED = 4


class ProcessIdentity(NamedTuple):
    """A process: its pid and, where the system reports it, its start time in clock ticks."""

    pid: int
    start: int


NO_PROCESS = ProcessIdentity(0, 0)


def _read_stat(pid: int) -> list[bytes] | None:
    try:
        # The command name may hold spaces and parentheses; the last ")" ends it.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def identify_process(pid: int) -> ProcessIdentity:
    """The identity of the process `pid`; start is 0 if it has ended or there is no /proc."""
    fields = _read_stat(pid)
    return ProcessIdentity(pid, int(fields[_START_FIELD]) if fields else 0)


def current_process() -> ProcessIdentity:
    """The identity of the calling process; start is 0 where there is no /proc."""
    return identify_process(os.getpid())


def process_age(pid: int) -> float:
    """Seconds since the process `pid` began, time before an exec included; 0 if unknown."""
    start = identify_process(pid).start
    if not start:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - start / os.sysconf("SC_CLK_TCK"))


def is_alive(who: ProcessIdentity) -> bool:
    """Whether that very process still runs. A zombie does not: it holds nothing any more."""
    if who.pid <= 0:
        return False
    if sys.platform != "linux":
        return _exists(who.pid)
    try:
        fields = _read_stat(who.pid)
    except OSError:
        # No descriptor left to read with. A signal needs none, and checks all but the start.
        return _exists(who.pid)
    if fields is None or fields[_STATE_FIELD] in _DEAD_STATES:
        return False
    return who.start in (0, int(fields[_START_FIELD]))


def parent_pid(pid: int) -> int:
    """The process that started `pid` and still runs; 0 where that is unknown."""
    fields = _read_stat(pid)
    return int(fields[_PARENT_FIELD]) if fields else 0


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped the process; False where that is unknown."""
    fields = _read_stat(pid)
    return fields is not None and fields[_STATE_FIELD] in (b"T", b"t")


def cpu_seconds(pid: int) -> float | None:
    """Seconds of processor time that a process has used, in steps of 10 ms; None if unknown."""
    try:
        fields = _read_stat(pid)
    except OSError:
        return None
    if fields is None:
        return None
    return (int(fields[_USER_FIELD]) + int(fields[_SYSTEM_FIELD])) / os.sysconf("SC_CLK_TCK")


def _exists(pid: int) -> bool:
    """Whether there is a process `pid`, be it a zombie or another one with that pid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` (a pid) ends; at once if it has ended.

    SIGKILL, not SIGTERM: a parent that was killed leaves no client to drain for, and an orphan
    that continues to serve would keep the port. Outside Linux this does nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have ended before this call reached the kernel.
    if os.getppid() != parent:
        os._exit(1)


class StartWatch:
    """Judges a starting process by the processor time that it uses.

    Wall-clock time does not distinguish a process that hangs from one that a container limits to a
    tenth of a core. Outside Linux only wall-clock time is available, and it decides.

    Args:
        pid: the process.
        patience: seconds of processor time that a start may use, and seconds of wall-clock
            time that it may go without using any.
    """

    _PROGRESS = 0.02
    """Seconds of processor time that count as progress; two steps of the kernel's clock."""

    def __init__(self, pid: int, patience: float) -> None:
        self._pid = pid
        self._patience = patience
        self._used = 0.0
        self._since = time.monotonic()

    def give_up_reason(self, awake_since: float = 0.0) -> str:
        """Why to give up the start; empty while it makes progress.

        Args:
            awake_since: when this process itself was last resumed, monotonic seconds. The time
                before it does not count.
        """
        used, now = cpu_seconds(self._pid), time.monotonic()
        if used is not None and used - self._used >= self._PROGRESS:
            self._used, self._since = used, now
        if self._used > self._patience:
            return f"used {self._used:.0f} s of processor time without coming up"
        idle = now - max(self._since, awake_since)
        return f"did nothing for {idle:.0f} s while it started" if idle > self._patience else ""
