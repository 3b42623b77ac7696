"""Whoever is killed or stands still, no more are let in than may be, and no place is lost.

How many ran at once is read from the upstream's journal. Its entries lie inside of the places
they were given: a request arrives after it was let in, and its answer ends before its place is
given back. Only those of a killed worker end with the worker, whenever the upstream learns it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.chaos.caller import Caller, call, request
from tests.chaos.rig import FULL, Group, Simulated, log_defects, serving, settings, until
from tests.e2e.books import Books

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600 if FULL else 90)]

SECONDS = 300.0 if FULL else 8.0
EVERY = 2.0
LIMIT = 7
CALLERS = 24
BRIEF = "openai/x;ttft=0.05;tokens=4;tps=40"
HELD = "claude-held;tokens=9;tps=0.01"
SETTLED = 2.0
"""Seconds until nothing is held when nobody asks any more."""


def limited(simulator: Simulated, **more: Any) -> dict[str, Any]:
    limits = {"per_user": {"concurrent_requests": LIMIT, "requests_per_minute": 0}}
    return settings(simulator, limits=limits, breaker={"enabled": False}, **more)


class Load:
    """Callers who never give up, and the books of their upstream."""

    def __init__(self, group: Group, simulator: Simulated) -> None:
        self.group = group
        self.told: Counter[int] = Counter()
        self.kills: list[float] = []
        self.over = False
        self._simulator = simulator
        self._first = self._read = simulator.last
        self._entries: dict[int, dict[str, Any]] = {}

    async def run(self, hurt: Callable[[], None], seconds: float) -> None:
        """Load for so long, and something that hurts every two seconds of it."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(CALLERS):
                tasks.create_task(self._ask(stream=number % 2 == 0))
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                await asyncio.sleep(EVERY)
                hurt()
                self.note()
            await asyncio.sleep(0.5)
            self.over = True

    async def _ask(self, *, stream: bool) -> None:
        sent = request(BRIEF, stream=stream, max_tokens=9, close=True)
        while not self.over:
            caller = await call(self.group.port, sent)
            await caller.end(30)
            self.told[caller.status] += 1
            if caller.status != 200:
                await asyncio.sleep(0.02)

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.kills.append(time.monotonic())

    def note(self) -> None:
        """Copy the journal before it forgets."""
        for entry in self._simulator.journal(after=max(self._first, self._read - 200)):
            self._entries[entry["n"]] = entry
            self._read = max(self._read, entry["n"])

    def most(self) -> int:
        """How many ran at once at most."""
        self.note()
        moments: list[tuple[float, int]] = []
        for entry in self._entries.values():
            ended = entry["client_closed"] if entry["ended"] is None else entry["ended"]
            assert ended is not None, "nothing may run any more"
            if entry["outcome"] != "completed":  # its worker died then
                ended = max([at for at in self.kills if at <= ended], default=ended)
            moments += [(entry["received"], 1), (max(ended, entry["received"]), -1)]
        running = most = 0
        for _, change in sorted(moments):
            running += change
            most = max(most, running)
        return most


async def take_all(group: Group, books: Books) -> list[Caller]:
    """Exactly the limit is let in; those who were, their streams standing still."""
    sent = request(HELD, stream=True, max_tokens=9)
    callers = [await call(group.port, sent) for _ in range(3 * LIMIT)]
    for caller in callers:
        await caller.until(b"\r\n\r\n")
    inside = [caller for caller in callers if caller.status == 200]
    assert len(inside) == LIMIT, Counter(caller.status for caller in callers)
    assert books.running == LIMIT
    for caller in callers:
        if caller.status != 200:
            caller.leave()
    return inside


def rests(books: Books) -> None:
    until(books.at_rest, SETTLED)


async def _all_leave(callers: list[Caller]) -> None:
    for caller in callers:
        caller.leave()
    await asyncio.sleep(0.01)


def test_killed_workers_take_their_places_with_them(simulator: Simulated, tmp_path: Path) -> None:
    with serving(limited(simulator), tmp_path) as group:
        books = Books(group.process.pid)
        load = Load(group, simulator)
        dice = random.Random(5)

        def hurt() -> None:
            workers = group.workers()
            if len(workers) == 2:
                load.kill(dice.choice(workers))

        uvloop.run(load.run(hurt, SECONDS))
        rests(books)
        most = load.most()
        print(f"{len(load.kills)} kills, {dict(load.told)} answers, at most {most} at once")
        assert load.kills
        assert load.told[200] > LIMIT
        assert load.told[429] > LIMIT
        assert set(load.told) <= {0, 200, 429}, load.told
        assert most == LIMIT

        async def again() -> None:
            await _all_leave(await take_all(group, books))

        uvloop.run(again())
        rests(books)
        assert not log_defects(group.log())


def test_places_of_the_dead_are_free_and_counted_once(simulator: Simulated, tmp_path: Path) -> None:
    """All workers die while they hold all there is; the next ones give exactly that again."""
    with serving(limited(simulator), tmp_path) as group:
        books = Books(group.process.pid)

        async def run() -> None:
            for _ in range(3):
                # Who dies younger counts as one that could not start, and a few of those in a
                # row end the group.
                await asyncio.sleep(0.5)
                await take_all(group, books)
                died = time.monotonic()
                for pid in group.workers():
                    os.kill(pid, signal.SIGKILL)
                await until_rest(books)
                print(f"reclaimed after {time.monotonic() - died:.3f} s")
                group.ready()

        uvloop.run(run())
        assert not log_defects(group.log())


async def until_rest(books: Books) -> None:
    async with asyncio.timeout(SETTLED):
        while not books.at_rest():
            await asyncio.sleep(0.002)


def test_without_a_manager_limits_hold_and_the_next_one_cleans_up(
    simulator: Simulated, tmp_path: Path
) -> None:
    with serving(limited(simulator), tmp_path) as group:
        books = Books(group.process.pid)
        manager = books.control_block.manager

        async def run() -> None:
            inside = await take_all(group, books)
            # Stopped first: then it cannot see the worker die.
            os.kill(manager.pid, signal.SIGSTOP)
            os.kill(manager.pid, signal.SIGKILL)
            await _all_leave(inside)
            await until_rest(books)
            inside = await take_all(group, books)  # nobody asks the manager
            victim = random.Random(3).choice(group.workers())
            os.kill(victim, signal.SIGKILL)
            until(lambda: books.control_block.manager.pid not in (0, manager.pid), 20)
            await _all_leave(inside)

        uvloop.run(run())
        until(books.at_rest, 5)
        group.ready()

        async def again() -> None:
            await _all_leave(await take_all(group, books))

        uvloop.run(again())
        rests(books)


@pytest.mark.parametrize("is_replaced", [False, True], ids=["wakes", "replaced"])
def test_whoever_stood_still_is_counted_once(
    simulator: Simulated, tmp_path: Path, *, is_replaced: bool
) -> None:
    """A worker stops with all the places in hand, and wakes up or is taken for hung."""
    said = limited(simulator, manager={"hung_after": 1.5 if is_replaced else 60, "heartbeat": 0.1})
    with serving(said, tmp_path) as group:
        books = Books(group.process.pid)

        async def run() -> None:
            frozen, other = group.workers()
            with group.only(frozen):
                sent = request(HELD, stream=True, max_tokens=9)
                inside = [await call(group.port, sent) for _ in range(LIMIT)]
                for caller in inside:
                    await caller.until(b"\r\n\r\n")
                    assert caller.status == 200
            os.kill(frozen, signal.SIGSTOP)
            with_other = await call(group.port, request(BRIEF, stream=False, close=True))
            await with_other.end()
            assert with_other.status == 429
            assert books.running == LIMIT
            if is_replaced:
                until(lambda: frozen not in group.workers(), 15)
                await until_rest(books)
                group.ready()
                await _all_leave(inside)
            else:
                await _all_leave(inside)  # it cannot know
                assert books.running == LIMIT
                os.kill(frozen, signal.SIGCONT)
            await until_rest(books)
            assert other in group.workers()
            await _all_leave(await take_all(group, books))

        uvloop.run(run())
        rests(books)
        assert not log_defects(group.log())
