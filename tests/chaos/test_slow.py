"""Clients that are slow, deaf or too many harm themselves and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import orjson
import pytest
import uvloop

from tests.canary import KEY
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


async def _good_traffic(group: Group, seconds: float) -> list[list[float]]:
    """Requests at a steady pace on kept connections: seconds each took, by half seconds."""
    starts = time.monotonic()
    ends = starts + seconds
    times: list[list[float]] = [[] for _ in range(int(seconds * 2) + 1)]

    async def one(offset: float) -> None:
        caller = await call(group.port)
        await asyncio.sleep(offset)
        while time.monotonic() < ends:
            began = time.monotonic()
            caller.data.clear()
            caller.send(GOOD)
            await caller.until(b'"end_turn"', 5)
            times[int((began - starts) * 2)].append(time.monotonic() - began)
            await asyncio.sleep(0.04)
        caller.leave()

    await asyncio.gather(*(one(n * 0.005) for n in range(8)))
    return [window for window in times if window]


def _typical(windows: list[list[float]], share: float) -> float:
    """The median over the windows: other work on this machine spoils one or two of them."""
    return median(percentile(window, share) for window in windows)


async def _drip(group: Group, opening: bytes, phase: float) -> Caller:
    """A client that sends one byte every half a second until it is closed."""
    caller = await call(group.port, opening)
    await asyncio.sleep(phase)  # a thousand at one moment would be a burst and no drip
    while caller.ended is None:
        await asyncio.sleep(0.5)
        if caller.ended is None:
            caller.send(b"x")
    return caller


HEAD_DRIP = b"POST /v1/messages HTTP/1.1\r\nHost: vai\r\nX-Slow: "
BODY_DRIP = HEAD_DRIP + f"1\r\nX-API-Key: {KEY}\r\nContent-Length: 100000\r\n\r\n{{".encode()


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
            began = time.monotonic()
            drips = [
                asyncio.create_task(_drip(group, opening, 0.5 * n / DRIPPERS))
                for n in range(DRIPPERS)
            ]
            await asyncio.sleep(0.7)  # connecting a thousand is a burst of its own
            busy = await _good_traffic(group, MEASURED)
            async with asyncio.timeout(limit + 4):
                callers = await asyncio.gather(*drips)
            lived = [caller.ended - began for caller in callers if caller.ended is not None]
            kinds = {caller.status for caller in callers}
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                print(
                    f"good traffic {name}: {_typical(quiet, share) * 1000:.2f} ms alone, "
                    f"{_typical(busy, share) * 1000:.2f} ms with {DRIPPERS} drippers"
                )
            print(f"drippers lived {min(lived):.2f} to {max(lived):.2f} s, answered {kinds}")
            assert len(lived) == DRIPPERS
            assert max(lived) < limit + 1.5
            assert kinds == {408}
            for share in (0.5, 0.99):
                assert _typical(busy, share) < _typical(quiet, share) * ALLOWED + NOISE

        uvloop.run(run())
        assert not log_defects(group.log())


def test_without_descriptors_it_says_so_and_recovers(simulator: Simulated, tmp_path: Path) -> None:
    # Idle callers take all that there is for clients; the upstreams' half stays free.
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
            turned_away = [caller for caller in idle if caller.ended is not None]
            alive = [caller for caller in idle if caller.ended is None][:20]
            for caller in alive:
                caller.send(sent)
            await asyncio.sleep(1)
            statuses = sorted({caller.status for caller in alive})
            print(
                f"{len(turned_away)} of {len(idle)} idle were turned away, statuses of the served "
                f"{statuses}, of the newcomers {sorted({c.status for c in asked})}; CPU {share:.0%}"
            )
            assert share < 0.2
            assert group.silence(pid) < 1.5
            assert statuses == [200]
            assert len(turned_away) > 200
            assert {caller.status for caller in (*turned_away, *asked)} == {503}
            assert {str(orjson.loads(c.body)["error"]["code"]) for c in asked} == {"worker_full"}
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
        assert group.log().count("connections are refused") == 1
        assert not log_defects(group.log())


DEAF = 200
STALL = 1.0
HELD = 1.25 * 2**20
"""Bytes of memory for one deaf reader: a mebibyte, and what an allocator does not give back."""


def _long_answer(mode: str, size: int) -> list[str]:
    """An event stream of about `size` bytes, in pieces of 32 KiB."""
    text = "x" * 1000
    if mode == "verbatim":
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        block = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": text}
        first = _event({"type": "message_start", "message": message})
        first += _event({"type": "content_block_start", "index": 0, "content_block": block})
        piece = _event({"type": "content_block_delta", "index": 0, "delta": delta}) * 32
        last = _event({"type": "content_block_stop", "index": 0})
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        last += _event({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 9}})
        last += _event({"type": "message_stop"})
    else:
        first = _chunk({"role": "assistant", "content": ""})
        piece = _chunk({"content": text}) * 32
        last = _chunk({}, finish="stop") + "data: [DONE]\n\n"
    return [first, *[piece] * (size // len(piece)), last]


def _event(said: dict[str, Any]) -> str:
    return f"event: {said['type']}\ndata: {orjson.dumps(said).decode()}\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    said = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return f"data: {orjson.dumps(said | {'choices': [choice]}).decode()}\n\n"


MODES = {"verbatim": "claude-", "translated": "openai/"}


@pytest.mark.parametrize("mode", MODES)
def test_a_reader_that_stops_costs_little_and_is_cut(
    simulator: Simulated, tmp_path: Path, mode: str
) -> None:
    model = MODES[mode] + "deaf"
    simulator.script(model.removeprefix("openai/"), _long_answer(mode, 6 * 2**20))
    said = settings(simulator, timers={"write_stall": STALL})
    with serving(said, tmp_path / "group") as group:
        small = request("claude-x;tokens=3", stream=True, max_tokens=100)
        sent = request(model, stream=True)

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
            most, sizes = 0, [1.0]
            while group.running or time.monotonic() - began < asked + STALL / 2:
                most = max(most, group.memory() - memory)
                sizes = max(sizes, simulator.taken(after), key=sum)
                assert time.monotonic() - began < asked + 20, group.inflight()
                await asyncio.sleep(0.05)
            took = time.monotonic() - began - asked
            entries = simulator.journal(after)
            print(
                f"{model}: {DEAF} deaf readers, the last was cut after {took:.1f} s; "
                f"memory at most {most / DEAF / 1024:.0f} KiB each; it had taken of the answers "
                f"{mean(sizes) / 2**20:.2f} MiB each of {len(sizes)}"
            )
            for caller in callers:
                caller.leave()
            assert len(entries) == DEAF
            assert len(sizes) > DEAF / 4
            assert most < DEAF * HELD
            assert mean(sizes) < 2 * 2**20
            assert took < STALL + 4
            assert {entry["outcome"] for entry in entries} == {"client_closed"}

        uvloop.run(run())
        assert not log_defects(group.log())


@pytest.mark.parametrize("mode", MODES)
def test_a_reader_that_stops_before_the_end_is_cut_too(
    simulator: Simulated, tmp_path: Path, mode: str
) -> None:
    """All has come from the upstream and waits in this process: no reason to wait for ever."""
    model = MODES[mode] + "last"
    # More than a write buffer, so that the last chunk waits; less than all buffers together.
    simulator.script(model.removeprefix("openai/"), _long_answer(mode, 300_000))
    said = settings(simulator, timers={"write_stall": STALL}, keep_alive=2)
    with serving(said, tmp_path / "group") as group:

        async def run() -> None:
            callers = []
            for _ in range(20):
                caller = await call(group.port, receive_buffer=4096)
                caller.pause()
                caller.send(request(model, stream=True))
                callers.append(caller)
            began = time.monotonic()
            held = len(callers)
            while held:
                await asyncio.sleep(0.1)
                held = sum(len(group.callers_of(pid)) for pid in group.workers())
                assert time.monotonic() - began < 9, (held, group.inflight())
            print(f"{mode}: all closed after {time.monotonic() - began:.1f} s")
            for caller in callers:
                caller.leave()

        uvloop.run(run())
        until(lambda: group.running == 0, 1)
        assert not log_defects(group.log())
