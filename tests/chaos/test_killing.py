"""A worker that is killed takes its own requests with it and nothing else.

Which requests were its own is not guessed: the victim is stopped first, the kernel is
asked for the connections it holds, and only then it is killed. A request may fail only
when its connection was in such a list.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop

from tests.chaos.caller import call, request
from tests.chaos.rig import (
    FULL,
    Group,
    Simulated,
    log_defects,
    percentile,
    serving,
    settings,
    until,
)

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(240 if FULL else 90)]

SECONDS = 60.0 if FULL else 10.0
EVERY = 2.0
BACK = 1.0
STREAMS, ASKERS = 16, 6
MODELS = ("claude-x", "openai/x")


class Loss(NamedTuple):
    """A request that was not answered as it should be."""

    kind: str
    port: int
    began: float
    ended: float
    tail: bytes


class Kill(NamedTuple):
    """A worker's end, and whose connections it held."""

    at: float
    pid: int
    ports: set[int]


class _Load:
    """Streams, JSON and health probes, all at once, until told to stop."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.lost: list[Loss] = []
        self.fine: Counter[str] = Counter()
        self.refused = 0
        self.over = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(STREAMS):
                tasks.create_task(self._stream(MODELS[number % 2], number))
            for number in range(ASKERS):
                tasks.create_task(self._ask(MODELS[number % 2]))
            tasks.create_task(self._probe())

    async def _one(self, kind: str, sent: bytes, ending: bytes) -> None:
        """One request on a connection of its own, judged."""
        began = time.monotonic()
        try:
            caller = await call(self._group.port, sent)
        except ConnectionRefusedError:
            self.refused += 1
            return
        await caller.end(30)
        if caller.status == 200 and ending in caller.data:
            self.fine[kind] += 1
        else:
            tail = bytes(caller.data[-200:])
            self.lost.append(Loss(kind, caller.port, began, time.monotonic(), tail))

    async def _stream(self, model: str, seed: int) -> None:
        await asyncio.sleep(seed / STREAMS)
        while not self.over:
            knobs = ";tokens=20;tps=20;chunk=1"
            sent = request(model + knobs, stream=True, close=True)
            await self._one("stream", sent, b"message_stop")

    async def _ask(self, model: str) -> None:
        sent = request(model + ";tokens=5;ttft=0.02", stream=False, close=True)
        while not self.over:
            await self._one("json", sent, b"end_turn")
            await asyncio.sleep(0.01)

    async def _probe(self) -> None:
        sent = b"GET /health HTTP/1.1\r\nHost: vai\r\nConnection: close\r\n\r\n"
        while not self.over:
            await self._one("health", sent, b'"healthy"')
            await asyncio.sleep(0.02)


async def _kill_one(group: Group, dice: random.Random) -> tuple[Kill, float]:
    """Kill a worker; how long until there are as many as before."""
    pid = dice.choice(group.workers())
    os.kill(pid, signal.SIGSTOP)
    ports = group.callers_of(pid)
    os.kill(pid, signal.SIGKILL)
    at = time.monotonic()
    while pid in group.workers() or len(group.workers()) < 2:
        assert time.monotonic() - at < 10, group.log()
        await asyncio.sleep(0.005)
    return Kill(at, pid, ports), time.monotonic() - at


def test_only_the_dead_workers_requests_are_lost(simulator: Simulated, tmp_path: Path) -> None:
    with serving(settings(simulator), tmp_path / "killing") as group:
        load = _Load(group)
        kills: list[Kill] = []
        times: list[float] = []

        async def run() -> None:
            working = asyncio.create_task(load.run())
            dice = random.Random(7)
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                await asyncio.sleep(EVERY - (times[-1] if times else 1.0))
                kill, back = await _kill_one(group, dice)
                kills.append(kill)
                times.append(back)
            load.over = True
            await working

        uvloop.run(run())
        stray = [loss for loss in load.lost if not _explained(loss, kills)]
        held = sum(len(kill.ports) for kill in kills)
        print(
            f"{len(kills)} kills, {held} connections held by the dead; lost {len(load.lost)}, "
            f"stray {len(stray)}; fine: {dict(load.fine)}; "
            f"back after p50 {percentile(times, 0.5):.2f} s, "
            f"worst {max(times):.2f} s"
        )
        assert not stray
        assert load.refused == 0
        assert len(load.lost) <= held
        assert load.fine["stream"] > STREAMS
        assert percentile(times, 0.5) <= BACK
        until(lambda: group.running == 0, 2)
        assert not log_defects(group.log())


def _explained(loss: Loss, kills: list[Kill]) -> bool:
    return any(
        loss.port in kill.ports and loss.began <= kill.at <= loss.ended + 0.01 for kill in kills
    )
