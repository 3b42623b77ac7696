"""How much memory this process may use, and how it gives back what it has used.

Large buffers come and go with large requests. By default glibc keeps them: each one that is
freed raises the size from which buffers get pages of their own (up to 32 MiB), and what lies
below stays in the heap. In a container that memory is missing for others for good.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Trimmer", "give_back_large_buffers", "memory_limit"]

_CGROUP = Path("/sys/fs/cgroup")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE = 256 * 1024
_WORTH_TRIMMING = 4 * 1024 * 1024
_AFTER = 0.5


def memory_limit() -> int:
    """Bytes that this process and its siblings may use: of the container, else the machine."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _limit_files():
        with suppress(OSError, ValueError):  # absent, or "max"
            limits.append(int(file.read_text()))
    return min(limits)


def _limit_files() -> list[Path]:
    """Where control groups of versions 1 and 2 say their limit, this one's and its parents'."""
    files = [_CGROUP / "memory.max", _CGROUP / "memory/memory.limit_in_bytes"]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for group in (Path(path), *Path(path).parents):
                below = str(group).lstrip("/")
                if not controllers:
                    files.append(_CGROUP / below / "memory.max")
                elif "memory" in controllers.split(","):
                    files.append(_CGROUP / "memory" / below / "memory.limit_in_bytes")
    return files


def give_back_large_buffers() -> None:
    """Have buffers of 256 KiB and more returned to the system as soon as they are freed, and
    what is free now."""
    libc = _load_glibc()
    if libc is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)
        libc.malloc_trim(0)


class Trimmer:
    """Returns the heap's free pages to the system soon after large requests."""

    def __init__(self) -> None:
        self._freed = 0
        self._timer: asyncio.TimerHandle | None = None

    def note_freed(self, size: int) -> None:
        """Note that a request body of `size` bytes is gone. Call it in the loop."""
        self._freed += size
        if self._freed >= _WORTH_TRIMMING and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AFTER, self._trim_heap)

    def _trim_heap(self) -> None:
        self._timer = None
        self._freed = 0
        gc.collect()  # what a failed request left in a cycle holds its body too
        libc = _load_glibc()
        if libc is not None:
            libc.malloc_trim(0)


def _load_glibc() -> Any:
    """The C library, where it is one that has these functions."""
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
