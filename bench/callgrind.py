"""A process under callgrind: the command that starts it, and what it has executed so far.

Needs valgrind (``apt install valgrind``). The counter is read while the process waits, so that
what it executed belongs to whole requests and events.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.ways import WayError

__all__ = [
    "HASH_SEED",
    "CannotCountError",
    "count_least",
    "is_installed",
    "reset_count",
    "run_command",
    "set_counting",
    "under_callgrind",
    "write_profile",
]

HASH_SEED = {"PYTHONHASHSEED": "0"}
"""Seeded hashes lay out the same tables in every run."""

_EVENTS = re.compile(r"^events-\d+: (\d+)$", re.MULTILINE)
_IDLE_SECONDS = 30.0


class CannotCountError(Exception):
    """Nothing can be counted or compared here; the text is one line."""


def run_command(name: str, count: Callable[[], int]) -> int:
    """Run a command that counts, and return its exit code; say in one line why it does not count.

    Returns 0 also where something is missing to count, and 2 when a process failed.
    """
    if not is_installed():
        print(f"{name}: skipped, valgrind is not installed")
        return 0
    try:
        return count()
    except CannotCountError as reason:
        print(f"{name}: skipped, {reason}")
        return 0
    except WayError as failure:
        print(f"{name}: FAILED, {failure}")
        return 2


def is_installed() -> bool:
    """Whether this machine has what counts."""
    return shutil.which("valgrind") is not None and shutil.which("vgdb") is not None


def under_callgrind(profile: Path) -> list[str]:
    """The command to put before another one; the profile is written to `profile` at the end."""
    return [
        *("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no"),
        f"--callgrind-out-file={profile}",
    ]


def set_counting(pid: int, switch: str) -> None:
    """Begin to count (`switch` is "on") or end it ("off")."""
    _ask(pid, f"instrumentation {switch}")


def reset_count(pid: int) -> None:
    """Begin again at nothing, when the process waits."""
    _await_idle(pid)
    _ask(pid, "zero")


def write_profile(pid: int, profile: Path) -> Path:
    """Write what was counted since the count was reset, when the process waits; the file.

    Args:
        pid: the process.
        profile: the path with which it was started. No profile was written before.
    """
    _await_idle(pid)
    _ask(pid, "dump")
    return profile.with_name(f"{profile.name}.1")


def _read_count(pid: int) -> int:
    """Instructions of all threads since counting began, read when the process waits."""
    _await_idle(pid)
    return sum(int(found) for found in _EVENTS.findall(_ask(pid, "status internal")))


def count_least(pid: int, play: Callable[[], None], times: int) -> int:
    """The least that the process executes for one `play`."""
    readings = [_read_count(pid)]
    for _ in range(times):
        play()
        readings.append(_read_count(pid))
    return min(after - before for before, after in itertools.pairwise(readings))


def _ask(pid: int, command: str) -> str:
    # vgdb leaves a process that waits alone for 100 ms by default before it interrupts the wait.
    argv = ["vgdb", "--max-invoke-ms=1", f"--pid={pid}", *command.split()]
    asked = subprocess.run(argv, check=False, capture_output=True, text=True)
    if asked.returncode:
        raise WayError(f"vgdb {command!r} failed: {asked.stderr.strip()}")
    return asked.stdout


def _await_idle(pid: int) -> None:
    ending = time.monotonic() + _IDLE_SECONDS
    while time.monotonic() < ending:
        # The fields after the command's name, which may contain blanks; the first is the state.
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S":
            return
        time.sleep(0.001)
    raise WayError(f"process {pid} was busy for {_IDLE_SECONDS:.0f} s without a request")
