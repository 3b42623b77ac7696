"""What admission costs when many processes want it at once.

Two figures of one run: flat out, where every process does nothing but admit and settle, so
that somebody always has the mutex; and paced, where each pauses as a worker does that has
requests to serve. The times are those of single admissions, as their caller sees them.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from bench.suite import Figures
from vai.io.control_block import control_block_directory
from vai.io.limits.layout import section_size
from vai.io.limits.mutex import LockUnavailable
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal

__all__ = ["run"]

_PROCESSES = 8
_SECONDS = 2.0
_PAUSE = 0.001  # eight processes: at most 8,000 exchanges a second, more than two cores serve
_KEPT = 100_000


def run() -> Figures:
    """Median and 99th percentile of an admission in microseconds, and pairs a second."""
    found: Figures = {}
    with tempfile.TemporaryDirectory(dir=control_block_directory()) as folder:
        path = Path(folder) / "limits"
        path.write_bytes(bytes(section_size()))
        with path.open("r+b") as file:
            LimitsSection.prepare(memoryview(mmap.mmap(file.fileno(), 0)))
        for name, pause in (("flat_out", 0.0), ("paced", _PAUSE)):
            times, done = _together(path, pause)
            cuts = statistics.quantiles(times, n=100)
            found[f"micro.admission_{name}_p50.us"] = cuts[49]
            found[f"micro.admission_{name}_p99.us"] = cuts[98]
            found[f"micro.admission_{name}.per_s"] = done / _SECONDS
    return found


def _together(path: Path, pause: float) -> tuple[list[float], int]:
    spawn = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for place in range(_PROCESSES):
        here, there = spawn.Pipe()
        process = spawn.Process(target=_work, args=(path, place, pause, there))
        process.start()
        ends.append(here)
        processes.append(process)
    for end in ends:
        end.recv()  # it is up
    begin = time.monotonic() + 0.1
    for end in ends:
        end.send(begin)
    times: list[float] = []
    done = 0
    for end in ends:
        some, count = end.recv()
        times += some
        done += count
    for process in processes:
        process.join()
    return times, done


def _work(path: Path, place: int, pause: float, parent: Connection) -> None:
    with path.open("r+b") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0))
    limits = SharedLimits(LimitsSection(view), place, os.getpid())
    unlimited = LimitSet(requests=1 << 30, tokens=1 << 50, concurrency=1 << 20)
    principals = (Principal(GATEWAY, unlimited), Principal(f"user:{place}", unlimited))
    times: list[float] = []
    done = 0
    parent.send(None)
    begin: float = parent.recv()
    time.sleep(max(0.0, begin - time.monotonic()))
    while time.monotonic() < begin + _SECONDS:
        start = time.perf_counter()
        try:
            decision = limits.take_lease(principals, 1000, time.monotonic())
        except LockUnavailable:
            continue
        if len(times) < _KEPT:
            times.append((time.perf_counter() - start) * 1e6)
        limits.settle_lease(decision.handle, 400, time.monotonic())
        done += 1
        if pause:
            time.sleep(pause)
    parent.send((times, done))
