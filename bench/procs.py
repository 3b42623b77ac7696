"""What the kernel says about processes: their tree, CPU, memory, and how busy a core is.

Read from /proc, so Linux alone. CPU is that of a whole tree, and counts children that
have already ended, because work that a gateway moves to another process is still its
cost.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["core_seconds", "cpu_seconds", "pss_bytes", "tree"]

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """`root` and every process below it that is alive, `root` first."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree at `root`, with its ended children."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            total += sum(map(int, _stat(pid)[11:15]))
    return total / _TICK


def pss_bytes(root: int) -> int:
    """Proportional set size of the tree at `root`: shared pages are counted once."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def core_seconds(core: int) -> float:
    """How long `core` has been busy since boot, whoever kept it so."""
    for line in (_PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            times = [int(field) for field in fields[:8]]
            return (sum(times) - times[3] - times[4]) / _TICK  # but for idle and iowait
    raise LookupError(f"no core {core}")


def _stat(pid: int) -> list[str]:
    """The fields after the command's name, which may itself contain blanks and brackets."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
