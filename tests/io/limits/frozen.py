"""A program: workers that are stopped, inside the mutex or with places in hand, and go on later.

PATH    of the fast path in C; "": Python alone
"""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable

import orjson

from tests.io.limits.compiled import switch_to
from tests.io.limits.faults import audit
from vai.io.limits import leases, snapshot
from vai.io.limits.layout import SESSION, section_size
from vai.io.limits.mutex import LockUnavailable
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import LimitSet, Principal

WHO = (Principal("user:a", LimitSet(concurrency=2, tokens=1000)),)


def child(work: Callable[[], object]) -> int:
    """Fork one that does `work` and stops itself on the way; its pid, once it has stopped."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status
    return pid


def wake(pid: int) -> int:
    os.kill(pid, signal.SIGCONT)
    return os.waitpid(pid, 0)[1]


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def inside(view: memoryview) -> dict[str, object]:
    """The holder of the mutex is stopped: nobody hangs, nothing is lost."""
    limits = store = SharedLimits(LimitsSection(view), 1, 2)
    mine = asyncio.run(store.admit(WHO, 10, 100.0)).handle

    def hold() -> None:
        section = LimitsSection(view)
        with section.locked():
            stop()

    pid = child(hold)
    refused, waits = [], []
    for _ in range(3):
        begin = time.monotonic()
        refused.append(asyncio.run(store.admit(WHO, 10, 100.0)).refused)
        waits.append(time.monotonic() - begin)
    settled = store.settle(mine, 5, 100.0)
    unavailable = 0
    try:
        leases.reclaim_leases(limits.section, 2)
    except LockUnavailable:
        unavailable = 1
    held = len(snapshot.read_snapshot(limits.section, 100.0).leases)
    status = wake(pid)
    after = asyncio.run(store.admit(WHO, 10, 100.0))
    audit(limits.section)
    found = snapshot.read_snapshot(limits.section, 100.0).principals[-1]
    return {
        "refused": refused,
        "waits": waits,
        "settled": settled,
        "unavailable": unavailable,
        "held_meanwhile": held,
        "status": status,
        "after": after.is_admitted,
        "running": found.running,
        "tokens": found.tokens,
    }


def killed_inside(view: memoryview) -> bool:
    """It is killed instead of woken: the next one finds everything as it should be."""
    limits = SharedLimits(LimitsSection(view), 1, 3)

    def hold() -> None:
        section = LimitsSection(view)
        section.lock()
        stop()

    pid = child(hold)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    found = limits.take_lease((Principal("user:b", LimitSet(concurrency=1)),), 1, 100.0)
    audit(limits.section)
    return found.is_admitted


def outside(view: memoryview) -> dict[str, object]:
    """A worker is stopped, taken for dead, and wakes with places that are others' by now."""
    limits = SharedLimits(LimitsSection(view), 1, 20)
    report = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
    who = (Principal("user:c", LimitSet(concurrency=2, tokens=1000)),)

    def sleeper() -> None:
        mine = SharedLimits(LimitsSection(view), 0, 10)
        taken = [mine.take_lease(who, 100, 100.0).handle for _ in range(2)]
        live = mine.take_lease(who, 0, 100.0, SESSION).handle
        stop()
        report[0] = mine.settle_lease(taken[0], 0, 101.0)
        report[1] = mine.release_lease(taken[1])
        report[2] = mine.touch_session(live, 101.0)
        report[3] = mine.take_lease(who, 1, 101.0).is_admitted
        report[4] = 1

    pid = child(sleeper)
    freed = leases.reclaim_leases(limits.section, 10)
    taken = [limits.take_lease(who, 100, 100.0).is_admitted for _ in range(3)]
    status = wake(pid)
    found = {one.name: one for one in snapshot.read_snapshot(limits.section, 101.0).principals}[
        "user:c"
    ]
    audit(limits.section)
    return {
        "freed": freed,
        "taken": taken,
        "status": status,
        "report": report[:5].tolist(),
        "running": found.running,
        "tokens": found.tokens,
    }


def run() -> dict[str, object]:
    def fresh() -> memoryview:
        view = memoryview(mmap.mmap(-1, section_size(64, 32)))
        LimitsSection.prepare(view, 64, 32)
        return view

    return {
        "inside": inside(fresh()),
        "killed_inside": killed_inside(fresh()),
        "outside": outside(fresh()),
    }


if __name__ == "__main__":
    signal.alarm(60)
    switch_to(sys.argv[1])
    sys.stdout.buffer.write(orjson.dumps(run()))
