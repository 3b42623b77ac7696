"""Who a process is, and how it is made to die with its parent.

A pid alone names nobody: the kernel hands it out again. A pid and its start time do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "NOBODY",
    "Identity",
    "die_with_parent",
    "is_alive",
    "myself",
    "outlive_signals_of",
]

_PR_SET_PDEATHSIG = 1
_STATE_FIELD, _START_FIELD = 0, 19  # of /proc/<pid>/stat, counted behind the command name
_DEAD_STATES = frozenset((b"Z", b"X", b"x"))


class Identity(NamedTuple):
    """A process: its pid and, where the system tells it, its start time in clock ticks."""

    pid: int
    start: int


NOBODY = Identity(0, 0)


def _stat(pid: int) -> list[bytes] | None:
    try:
        # The command name may hold spaces and parentheses; the last ")" ends it.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def myself() -> Identity:
    """The identity of the calling process; start is 0 where there is no /proc."""
    fields = _stat(os.getpid())
    return Identity(os.getpid(), int(fields[_START_FIELD]) if fields else 0)


def is_alive(who: Identity) -> bool:
    """Whether that very process still runs. A zombie does not: it holds nothing any more."""
    if who.pid <= 0:
        return False
    if sys.platform != "linux":
        return _answers(who.pid)
    try:
        fields = _stat(who.pid)
    except OSError:
        # No descriptor left to read with. A signal needs none, and knows all but the start.
        return _answers(who.pid)
    if fields is None or fields[_STATE_FIELD] in _DEAD_STATES:
        return False
    return who.start in (0, int(fields[_START_FIELD]))


def _answers(pid: int) -> bool:
    """Whether there is a process `pid`, be it a zombie or another one of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` (a pid) ends; at once if it has ended.

    SIGKILL, not SIGTERM: a parent that was killed leaves nobody to drain for, and an orphan
    that goes on serving would keep the port. Outside Linux this does nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have gone before the request was heard by the kernel.
    if os.getppid() != parent:
        os._exit(1)


def outlive_signals_of(parent: int) -> None:
    """For a process that must stay until `parent` is done: deaf to SIGTERM, dead with it.

    A service manager that signals a whole group would else take it away during a drain.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_parent(parent)
