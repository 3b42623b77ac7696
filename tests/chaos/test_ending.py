"""Stopping and replacing a gateway that is busy: what was begun is finished or told."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import uvloop

from tests.canary import register
from tests.chaos.caller import Caller, call, request
from tests.chaos.rig import (
    ROOT,
    Group,
    Simulated,
    environment,
    log_defects,
    percentile,
    serving,
    settings,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(60)]

STREAMS = 40
MODELS = ("claude-x", "openai/x")
SHAPES = {"workers": "--workers=2", "single": "--single-process"}

Answer = tuple[float, int, bytes]


@contextmanager
def _group(simulator: Simulated, folder: Path, shape: str, grace: float) -> Iterator[Group]:
    said = settings(simulator, drain_grace=grace)
    with serving(said, folder / "group", SHAPES[shape]) as group:
        yield group


async def _open_streams(group: Group, seconds: float) -> list[Caller]:
    """Streams that would take so long, all of them begun."""
    knobs = f";tokens={int(seconds * 20)};tps=20"
    callers = [
        await call(group.port, request(MODELS[n % 2] + knobs, stream=True)) for n in range(STREAMS)
    ]
    for caller in callers:
        await caller.until(b"content_block_delta")
    return callers


async def _ask_anew(group: Group, over: Callable[[], bool]) -> list[Answer]:
    """Fresh requests on fresh connections: seconds, status and body; status 0 is refused."""
    sent = request("claude-x;tokens=2", stream=False, close=True)
    answers: list[Answer] = []
    while not over():
        began = time.monotonic()
        try:
            caller = await call(group.port, sent)
            await caller.end(5)
            answers.append((time.monotonic() - began, caller.status, caller.body))
        except OSError:
            answers.append((time.monotonic() - began, 0, b""))
        await asyncio.sleep(0.02)
    return answers


def _gone(group: Group) -> Callable[[], bool]:
    return lambda: group.process.poll() is not None


@pytest.mark.parametrize("shape", SHAPES)
def test_streams_within_the_grace_are_finished(
    simulator: Simulated, tmp_path: Path, shape: str
) -> None:
    async def run(group: Group) -> list[Answer]:
        callers = await _open_streams(group, 2.5)
        group.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        answers = await _ask_anew(group, lambda: all(c.ended for c in callers))
        for caller in callers:
            data = await caller.end(10)
            assert data.count(b"event: message_stop") == 1
            assert b"event: error" not in data
            assert data.endswith(b"0\r\n\r\n")
        return answers

    with _group(simulator, tmp_path, shape, 10) as group:
        answers = uvloop.run(run(group))
        assert group.process.wait(5) == 0
        times = [seconds for seconds, status, _ in answers if status]
        statuses = sorted({status for _, status, _ in answers})
        print(f"{shape}: {len(answers)} asked meanwhile, {statuses}, worst {max(times):.3f} s")
        refusals = [orjson.loads(body) for _, status, body in answers if status]
        assert {status for _, status, _ in answers if status} == {503}
        assert {(r["error"]["type"], r["error"]["code"]) for r in refusals} == {
            ("overloaded_error", "draining")
        }
        assert percentile(times, 0.9) < 0.1
        assert max(times) < 0.5
        assert not log_defects(group.log())


@pytest.mark.parametrize("shape", SHAPES)
def test_streams_beyond_the_grace_are_told(
    simulator: Simulated, tmp_path: Path, shape: str
) -> None:
    async def run(group: Group) -> float:
        callers = await _open_streams(group, 60)
        silent = [
            await call(group.port, request(model + ";ttft=60", stream=stream))
            for model in MODELS
            for stream in (False, True)
        ]
        await asyncio.sleep(0.2)
        began = time.monotonic()
        group.signal(signal.SIGTERM)
        for caller in callers:
            data = await caller.end(10)
            assert data.count(b"event: error\n") == 1
            last = data.rpartition(b"event: error\ndata: ")[2].split(b"\n")[0]
            error = orjson.loads(last)["error"]
            assert (error["type"], error["code"]) == ("overloaded_error", "draining")
            assert b"message_stop" not in data
            assert data.endswith(b"0\r\n\r\n")
        for caller in silent:
            await caller.end(10)
            assert caller.status == 503
            assert orjson.loads(caller.body)["error"]["code"] == "draining"
        return began

    grace = 1.0
    with _group(simulator, tmp_path, shape, grace) as group:
        began = uvloop.run(run(group))
        assert group.process.wait(5) == 0
        took = time.monotonic() - began
        print(f"{shape}: gone {took - grace:.2f} s after the grace")
        assert took < grace + 2
        assert not log_defects(group.log())


@pytest.mark.parametrize("shape", SHAPES)
def test_a_second_signal_ends_it_now(simulator: Simulated, tmp_path: Path, shape: str) -> None:
    with _group(simulator, tmp_path, shape, 30) as group:

        async def run() -> None:
            await _open_streams(group, 60)
            group.signal(signal.SIGTERM)
            await asyncio.sleep(0.5)
            began = time.monotonic()
            group.signal(signal.SIGTERM)
            while group.process.poll() is None:
                assert time.monotonic() - began < 2, group.log()
                await asyncio.sleep(0.01)
            print(f"{shape}: gone {time.monotonic() - began:.2f} s after the second signal")

        asyncio.run(run())
        assert not log_defects(group.log())


@pytest.mark.parametrize("by", ["signal", "command"])
def test_a_reload_loses_nothing(simulator: Simulated, tmp_path: Path, by: str) -> None:
    with _group(simulator, tmp_path, "workers", 10) as group:
        before = set(group.workers())

        async def run() -> list[Answer]:
            callers = await _open_streams(group, 4)
            if by == "signal":
                group.signal(signal.SIGHUP)
            else:
                _vai(tmp_path, "reload", f"--pid={group.process.pid}")
            answers = await _ask_anew(group, lambda: all(c.ended for c in callers))
            for caller in callers:
                data = await caller.end(10)
                assert data.count(b"event: message_stop") == 1
                assert b"event: error" not in data
            return answers

        answers = uvloop.run(run())
        times = [seconds for seconds, _, _ in answers]
        print(
            f"{len(answers)} asked meanwhile, p50 {percentile(times, 0.5):.3f} s, "
            f"worst {max(times):.3f} s"
        )
        assert {status for _, status, _ in answers} == {200}
        deadline = time.monotonic() + 10
        while before & set(group.workers()) or len(group.workers()) != 2:
            assert time.monotonic() < deadline, (before, group.workers())
            time.sleep(0.05)
        assert not log_defects(group.log())


def _vai(folder: Path, *words: str) -> None:
    """Run a `vai` command to its end."""
    with register(folder / "vai.log").open("wb") as output:
        command = [sys.executable, "-m", "vai.cli", *words]
        subprocess.run(
            command, cwd=ROOT, env=environment(), stdout=output, stderr=output, check=True
        )
