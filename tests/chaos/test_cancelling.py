"""Requests that are given up at any moment cost nothing that is not given back.

Every cancellation may hit any await of a worker: the wait for a connection, the connect,
the head, the body. Whatever is lost there is lost for ever, so it is counted afterwards.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
import uvloop

from tests.chaos.caller import call, request
from tests.chaos.rig import FULL, Group, Simulated, log_defects, providers, serving, settings, until

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900 if FULL else 120)]

ENOUGH, SECONDS = (50_000, 800.0) if FULL else (20_000, 15.0)
AT_LEAST = ENOUGH if FULL else 5_000
LATEST = 0.012  # seconds until a caller gives up
POOLS = {"anthropic": 10, "openai": 2}
"""Connections a worker may hold: one pool with room, and one with a line of waiters."""
CALLERS = 32
MODELS = ("claude-x;ttft=0.003;tokens=4", "openai/x;ttft=0.003;tokens=20;tps=10000")


class _Storm:
    """Callers that give up, and the most connections that were seen meanwhile."""

    def __init__(self, group: Group, upstream: int) -> None:
        self._group = group
        self._upstream = upstream
        self._sent = [
            request(model, stream=stream, max_tokens=1000)
            for model in MODELS
            for stream in (False, True)
        ]
        self.given_up = self.answered = self.most = 0
        self._over = False

    async def rage(self) -> None:
        ends = time.monotonic() + SECONDS
        watching = asyncio.create_task(self._watch())
        await asyncio.gather(*(self._caller(random.Random(seed), ends) for seed in range(CALLERS)))
        self._over = True
        await watching

    async def _caller(self, dice: random.Random, ends: float) -> None:
        while self.given_up < ENOUGH and time.monotonic() < ends:
            caller = await call(self._group.port, dice.choice(self._sent))
            await asyncio.sleep(dice.uniform(0, LATEST))
            if b"message_stop" in caller.data or b"stop_reason" in caller.data:
                self.answered += 1
            else:
                self.given_up += 1
            caller.leave(dice.choice(("fin", "reset")))

    async def _watch(self) -> None:
        """The system's view of the pools, a few times a second: it is not cheap."""
        while not self._over:
            for pid in self._group.workers():
                self.most = max(
                    self.most, self._group.upstream_sockets(self._upstream, [pid]).total()
                )
            await asyncio.sleep(0.25)


def test_what_is_given_up_is_given_back(simulator: Simulated, tmp_path: Path) -> None:
    rows = providers(simulator)
    for name, row in rows.items():
        row["max_connections"] = POOLS[name]
    said = settings(simulator, providers=rows)
    upstream = int(simulator.url.rpartition(":")[2])
    with serving(said, tmp_path / "storm") as group:
        uvloop.run(_warm_up(group))
        before, memory = group.probe(), group.memory()
        storm = _Storm(group, upstream)
        began = time.monotonic()
        uvloop.run(storm.rage())
        print(
            f"{storm.given_up} given up, {storm.answered} answered in "
            f"{time.monotonic() - began:.1f} s; at most {storm.most} upstream sockets a worker"
        )
        assert storm.given_up >= AT_LEAST
        assert storm.most <= sum(POOLS.values())

        uvloop.run(_ten_at_once(group))
        until(lambda: group.running == 0, 2)
        after = until(lambda: _at_rest(group), 10)
        for pid, worker in after.items():
            print(f"before {before[pid]}\nafter  {worker}")
            pooled = sum(opened for opened, _, _ in worker["pools"].values())
            had = sum(opened for opened, _, _ in before[pid]["pools"].values())
            assert worker["fds"] - pooled <= before[pid]["fds"] - had + 2
        grown = (group.memory() - memory) / len(after) / 2**20
        print(f"memory grew by {grown:.1f} MiB a worker")
        assert grown < 16
        _idle_ones_are_used(group, simulator)
        assert not log_defects(group.log())


async def _warm_up(group: Group) -> None:
    for _ in range(20):
        await _ten_at_once(group)


async def _ten_at_once(group: Group) -> None:
    sent = [
        request(MODELS[n % 2], stream=n % 4 < 2, max_tokens=1000, close=True) for n in range(10)
    ]
    callers = [await call(group.port, one) for one in sent]
    for caller in callers:
        await caller.end(5)
        assert caller.status == 200, caller.body
        assert b"stop_reason" in caller.body


def _at_rest(group: Group) -> dict[int, dict[str, object]] | None:
    found = group.probe()
    for worker in found.values():
        idle = all(
            (opened, waiting) == (idle, 0) for opened, idle, waiting in worker["pools"].values()
        )
        if not idle or worker["tasks"] > 5:
            return None
    return found


def _idle_ones_are_used(group: Group, simulator: Simulated) -> None:
    """What lies in the pools is alive: one request after the other needs no new connection."""

    async def one_by_one() -> None:
        for pid in group.workers():
            with group.only(pid):
                for model in MODELS:
                    sent = request(model, stream=False, max_tokens=1000, close=True)
                    caller = await call(group.port, sent)
                    await caller.end(5)
                    assert caller.status == 200, caller.body

    uvloop.run(one_by_one())  # a pool that is empty makes its first one here
    made = simulator.stats()["connections"]
    uvloop.run(one_by_one())
    # The figures themselves are asked for over a connection each time.
    assert simulator.stats()["connections"] - made <= 1
    for worker in group.probe().values():
        for name, (opened, _, _) in worker["pools"].items():
            assert opened <= POOLS[name]
