"""Clients that are slow, deaf or too many harm themselves and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import orjson
import pytest
import uvloop

from tests.chaos.caller import Caller, call, request
from tests.chaos.rig import (
    Group,
    Simulated,
    cpu_seconds,
    get,
    log_defects,
    percentile,
    serving,
    settings,
    until,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(90)]

DRIPPERS = 1000
HEAD, BODY = 6.0, 6.0
MEASURED = 4.0
ALLOWED = 1.2
NOISE = 0.003  # seconds

GOOD = request("claude-x;tokens=3;ttft=0.005", stream=False, max_tokens=100)


async def _good_traffic(group: Group, seconds: float) -> list[float]:
    """Requests at a steady pace on kept connections: seconds each took."""
    times: list[float] = []
    ends = time.monotonic() + seconds

    async def one(offset: float) -> None:
        caller = await call(group.port)
        await asyncio.sleep(offset)
        while time.monotonic() < ends:
            began = time.monotonic()
            caller.data.clear()
            caller.send(GOOD)
            await caller.until(b'"end_turn"', 5)
            times.append(time.monotonic() - began)
            await asyncio.sleep(0.04)
        caller.leave()

    await asyncio.gather(*(one(n * 0.005) for n in range(8)))
    return times


async def _drip(group: Group, opening: bytes, over: asyncio.Event) -> Caller:
    """A client that sends one byte every half a second until it is closed."""
    caller = await call(group.port, opening)
    while caller.ended is None and not over.is_set():
        await asyncio.sleep(0.5)
        if caller.ended is None:
            caller.send(b"x")
    return caller


HEAD_DRIP = b"POST /v1/messages HTTP/1.1\r\nHost: vai\r\nX-Slow: "
BODY_DRIP = HEAD_DRIP + b"1\r\nContent-Length: 100000\r\n\r\n{"


@pytest.mark.parametrize(
    ("opening", "limit"), [(HEAD_DRIP, HEAD), (BODY_DRIP, BODY)], ids=["head", "body"]
)
def test_drippers_are_ended_and_slow_nobody(
    simulator: Simulated, tmp_path: Path, opening: bytes, limit: float
) -> None:
    said = settings(simulator, head_timeout=HEAD, body_timeout=BODY)
    with serving(said, tmp_path / "group") as group:

        async def run() -> None:
            await _good_traffic(group, 0.5)
            quiet = await _good_traffic(group, MEASURED)
            over = asyncio.Event()
            began = time.monotonic()
            drips = [asyncio.create_task(_drip(group, opening, over)) for _ in range(DRIPPERS)]
            await asyncio.sleep(0.7)  # connecting a thousand is a burst of its own
            busy = await _good_traffic(group, MEASURED)
            async with asyncio.timeout(limit + 4):
                callers = await asyncio.gather(*drips)
            lived = [caller.ended - began for caller in callers if caller.ended is not None]
            kinds = {caller.status for caller in callers}
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                print(
                    f"good traffic {name}: {percentile(quiet, share) * 1000:.2f} ms alone, "
                    f"{percentile(busy, share) * 1000:.2f} ms with {DRIPPERS} drippers"
                )
            print(f"drippers lived {min(lived):.2f} to {max(lived):.2f} s, answered {kinds}")
            assert len(lived) == DRIPPERS
            assert max(lived) < limit + 1.5
            assert kinds == {408}
            for share in (0.5, 0.99):
                assert percentile(busy, share) < percentile(quiet, share) * ALLOWED + NOISE

        uvloop.run(run())
        assert not log_defects(group.log())


def test_without_descriptors_it_says_so_and_recovers(
    simulator: Simulated, tmp_path: Path
) -> None:
    # Both ends of the shortage: idle callers take all that a worker has.
    with serving(settings(simulator), tmp_path / "group", "--workers=1", descriptors=256) as group:
        (pid,) = group.workers()
        sent = request("claude-x;tokens=3", stream=False, max_tokens=100, close=True)

        async def run() -> None:
            idle = []
            for _ in range(400):
                idle.append(await call(group.port))
            await asyncio.sleep(0.3)
            spent, began = cpu_seconds(pid), time.monotonic()
            asked = [await call(group.port, sent) for _ in range(10)]
            await asyncio.sleep(1.5)
            share = (cpu_seconds(pid) - spent) / (time.monotonic() - began)
            # Some of the idle ones are connected: theirs are requests that need a descriptor.
            alive = [caller for caller in idle if caller.ended is None][:20]
            for caller in alive:
                caller.send(sent)
            await asyncio.sleep(1)
            statuses = sorted({caller.status for caller in alive})
            codes = {
                str(orjson.loads(caller.body)["error"].get("code"))
                for caller in alive
                if caller.status >= 500
            }
            print(
                f"{sum(c.ended is not None for c in idle)} of {len(idle)} idle were turned away, "
                f"statuses of the served {statuses} {codes}, of the newcomers "
                f"{sorted({c.status for c in asked})}; CPU {share:.0%}"
            )
            assert share < 0.2
            for caller in (*idle, *asked):
                if caller.ended is None:
                    caller.leave()

        uvloop.run(run())
        assert group.workers() == [pid]

        def answers() -> bool:
            async def one() -> int:
                caller = await call(group.port, sent)
                await caller.end(5)
                return caller.status

            with contextlib.suppress(ConnectionError):
                return uvloop.run(one()) == 200
            return False

        until(answers, 5)
        assert get(group.port, "/health")[0] == 200
        print(group.log()[:2000])
        assert not log_defects(group.log())


DEAF = 200
STALL = 1.0


@pytest.mark.parametrize("model", ["claude-x", "openai/x"], ids=["verbatim", "translated"])
def test_a_reader_that_stops_costs_little_and_is_cut(
    simulator: Simulated, tmp_path: Path, model: str
) -> None:
    said = settings(simulator, timers={"write_stall": STALL})
    with serving(said, tmp_path / "group") as group:
        small = request("claude-x;tokens=3", stream=True, max_tokens=100)
        sent = request(model + ";tokens=400000;chunk=50", stream=True)

        async def run() -> None:
            warm = await call(group.port, small)
            await warm.until(b"message_stop")
            warm.leave()
            memory, after = group.memory(), simulator.last
            began = time.monotonic()
            callers = []
            for _ in range(DEAF):
                caller = await call(group.port, receive_buffer=4096)
                caller.pause()
                caller.send(sent)
                callers.append(caller)
            asked = time.monotonic() - began
            most = 0
            while group.running or time.monotonic() - began < asked + STALL / 2:
                most = max(most, group.memory() - memory)
                assert time.monotonic() - began < asked + 20, group.inflight()
                await asyncio.sleep(0.05)
            took = time.monotonic() - began - asked
            entries = await asyncio.to_thread(simulator.journal, after)
            sizes = [entry["sent"] for entry in entries]
            print(
                f"{model}: {DEAF} deaf readers asked within {asked:.1f} s, the last was cut {took:.1f} s later; "
                f"memory at most {most / DEAF / 1024:.0f} KiB each; the upstream had sent "
                f"p50 {percentile(sizes, 0.5) / 2**20:.2f}, worst {max(sizes) / 2**20:.2f} MiB"
            )
            for caller in callers:
                caller.leave()
            assert len(sizes) == DEAF
            assert most < DEAF * 2**20
            assert max(sizes) < 2 * 2**20
            assert {entry["outcome"] for entry in entries} == {"client_closed"}

        uvloop.run(run())
        assert not log_defects(group.log())


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_a_reader_that_stops_before_the_end_is_cut_too(
    simulator: Simulated, tmp_path: Path, stream: bool
) -> None:
    """All has come from the upstream and waits in this process: no reason to wait for ever."""
    said = settings(simulator, timers={"write_stall": STALL}, keep_alive=2)
    with serving(said, tmp_path / "group") as group:
        # A size that fits the buffers of both ends, so that the exchange can come to its end.
        sent = request("claude-x;tokens=30000;chunk=50", stream=stream)

        async def run() -> None:
            callers = []
            for _ in range(20):
                caller = await call(group.port, receive_buffer=4096)
                caller.pause()
                caller.send(sent)
                callers.append(caller)
            began = time.monotonic()
            held = DEAF
            while held:
                await asyncio.sleep(0.1)
                held = sum(len(group.callers_of(pid)) for pid in group.workers())
                assert time.monotonic() - began < 12, (held, group.inflight())
            print(f"the last connection was closed after {time.monotonic() - began:.1f} s")
            for caller in callers:
                caller.leave()

        uvloop.run(run())
        assert group.running == 0
        assert not log_defects(group.log())
