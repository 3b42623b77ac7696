"""How much memory this process may use, and how it returns freed memory to the system.

Large requests allocate and free large buffers. By default glibc keeps them: each freed one raises
the size from which buffers get pages of their own (up to 32 MiB), and smaller buffers stay in the
heap. In a container, that memory stays unavailable to other processes.
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
    """Bytes that this process and its siblings may use: the container's, else the machine's."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _limit_files():
        with suppress(OSError, ValueError):  # absent, or "max"
            limits.append(int(file.read_text()))
    return min(limits)


def _limit_files() -> list[Path]:
    """The files with the memory limits of this control group and its parents, version 1 or 2."""
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
    """Make glibc return buffers of 256 KiB and more to the system as soon as they are freed, and
    return all memory that is free now."""
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
        """Note that a request body of `size` bytes was freed. Call it in the loop."""
        self._freed += size
        if self._freed >= _WORTH_TRIMMING and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_AFTER, self._trim_heap)

    def _trim_heap(self) -> None:
        self._timer = None
        self._freed = 0
        gc.collect()  # a reference cycle that a failed request left holds its body too
        libc = _load_glibc()
        if libc is not None:
            libc.malloc_trim(0)


def _load_glibc() -> Any:
    """The C library, where it is one that has these functions."""
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
