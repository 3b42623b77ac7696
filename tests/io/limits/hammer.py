"""A program: many processes on one store, some of them killed at any time.

Every child tells in a word of its own how many places it holds: after it was given one and
before it gives it back, so that the sum never says more than is held. The sum is read inside
the mutex, where nothing is given; it must not exceed the limit.

    PATH exact      how many of each limit are admitted, over 8 processes
    PATH kills N    so many children die at random times; prints what was seen

PATH is that of the fast path in C; "": Python alone. With "mixed:" before it, every other child
uses it.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import time
from collections.abc import Callable

import orjson

from tests.io.limits.compiled import switch_to
from tests.io.limits.faults import audit
from vai.io.limits import leases, mutex, snapshot
from vai.io.limits.layout import Layout, section_size
from vai.io.limits.mutex import RobustMutex
from vai.io.limits.section import LimitsSection
from vai.io.limits.shared import SharedLimits
from vai.policy.limits.sets import GATEWAY, LimitSet, Principal

PROCESSES = 8
SUBJECTS, PLACES = 64, 256
NOW, WINDOW = 1000.0, 65.0
LIMITS = (1, 7, 100)
_INSIDE = 100
"""The word that counts deaths inside the mutex."""


class Group:
    """The store, and a word for each child."""

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, section_size(SUBJECTS, PLACES)))
        self.section = LimitsSection.prepare(self.view, SUBJECTS, PLACES)
        self.told = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self.claims = 0
        self.children: dict[int, tuple[int, int]] = {}  # pid -> place, claim

    def start(self, place: int, work: Callable[[SharedLimits, int], None]) -> None:
        self.claims += 1
        pid = os.fork()
        if not pid:
            code = 1
            try:
                if IS_MIXED and place % 2:
                    switch_to("")
                work(SharedLimits(LimitsSection(self.view), place, self.claims), place)
                code = 0
            finally:
                os._exit(code)
        self.children[pid] = (place, self.claims)

    def finish(self) -> None:
        """Wait for all; each must have ended well."""
        for pid in list(self.children):
            _, status = os.waitpid(pid, 0)
            assert status == 0, f"a child failed: {status}"
            del self.children[pid]

    def kill(self, pid: int) -> None:
        """Kill one and do the manager's part; it may end in the middle of anything."""
        place, claim = self.children.pop(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.told[place] = 0  # first: it holds nothing, so what it held may be given away
        leases.reclaim_leases(self.section, claim)

    def everywhere(self, work: Callable[[SharedLimits, int], None]) -> int:
        """Do `work` in all processes at once; the sum of what they tell."""
        for place in range(PROCESSES):
            self.told[place] = 0
            self.start(place, work)
        self.finish()
        return sum(self.told[:PROCESSES].tolist())


def until_refused(
    principals: tuple[Principal, ...], now: float
) -> Callable[[SharedLimits, int], None]:
    """Take what there is; refused three times, so that a refusal too early would be seen."""

    def work(limits: SharedLimits, place: int) -> None:
        told, refused = 0, 0
        while refused < 3:
            if limits.take_lease(principals, 1, now).is_admitted:
                told += 1
            else:
                refused += 1
        GROUP.told[place] = told

    return work


def exact() -> dict[str, list[int]]:
    """How many passed for each limit; in three minutes for those of a minute."""
    found: dict[str, list[int]] = {}
    now = NOW
    for name in ("requests", "tokens", "concurrency", "smooth"):
        for limit in LIMITS:
            limits = LimitSet(requests=limit, smooth=True)
            if name != "smooth":
                limits = LimitSet(**{name: limit})
            principals = tuple(
                Principal(f"{who}:{name}:{limit}", limits) for who in ("all", "user")
            )
            counts = []
            for _ in range(1 if name == "concurrency" else 3):
                now += WINDOW
                counts.append(GROUP.everywhere(until_refused(principals, now)))
                for claim in range(1, GROUP.claims + 1):
                    leases.reclaim_leases(GROUP.section, claim)
            found[f"{name}:{limit}"] = counts
            audit(GROUP.section)
    return found


WHO = (
    Principal(GATEWAY, LimitSet(concurrency=7)),
    Principal("user:a", LimitSet(concurrency=5, tokens=10**9)),
)


def churn(limits: SharedLimits, place: int) -> None:
    """Take and give back for ever, up to three places at a time."""
    random.seed(os.getpid())
    told, held, turn = GROUP.told, [], 0
    while True:
        turn += 1
        new = Principal(f"ip:{random.randrange(300)}", LimitSet(requests=50), listed=False)
        now = NOW + turn / 50
        found = limits.take_lease((*WHO, new) if turn % 2 else WHO, 50, now)
        if found.is_admitted:
            held.append(found.handle)
            told[place] = len(held)
        if held and (len(held) == 3 or not found.is_admitted or turn % 3 == 0):
            told[place] = len(held) - 1
            limits.settle_lease(held.pop(), turn % 90, now)


def look() -> int:
    """How many places are held; what must hold does, at this moment."""
    section = GROUP.section
    with section.locked():
        told = sum(GROUP.told[:PROCESSES].tolist())
        copy = Layout(memoryview(bytes(section.words)))
    audit(copy)
    figures = {one.name: one for one in snapshot.read_snapshot(copy, NOW).principals}
    running = figures[GATEWAY].running
    assert told <= running <= 7, (told, running)
    assert figures["user:a"].running <= 5 if "user:a" in figures else True
    return running


def kills(deaths: int) -> dict[str, int]:
    """What was seen while children died."""
    acquire = RobustMutex.acquire

    def counting(taken: RobustMutex) -> bool:
        dead = acquire(taken)
        GROUP.told[_INSIDE] += dead  # by the process that has the mutex now
        return dead

    RobustMutex.acquire = counting  # type: ignore[method-assign]
    for place in range(4):
        GROUP.start(place, churn)
    for _ in range(deaths):
        time.sleep(random.random() * 0.02)
        victim = random.choice(list(GROUP.children))
        place = GROUP.children[victim][0]
        GROUP.kill(victim)
        look()
        GROUP.start(place, churn)
    for pid in list(GROUP.children):
        GROUP.kill(pid)
    assert look() == 0
    last = SharedLimits(GROUP.section, 0, GROUP.claims + 1)
    admitted = sum(last.take_lease(WHO[:1], 1, 10**6).is_admitted for _ in range(20))
    return {"deaths": deaths, "inside": GROUP.told[_INSIDE], "admitted_after": admitted}


GROUP = Group()
IS_MIXED = False

if __name__ == "__main__":
    signal.alarm(300)
    mutex.PATIENCE = 30.0  # a holder that gets no turn on a busy machine is not stopped
    IS_MIXED = sys.argv[1].startswith("mixed:")
    switch_to(sys.argv[1].removeprefix("mixed:"))
    result = exact() if sys.argv[2] == "exact" else kills(int(sys.argv[3]))
    sys.stdout.buffer.write(orjson.dumps(result))
