"""When the caller leaves, the upstream stops, in every phase of an exchange.

Phases are arranged by what the simulator withholds, and each is known to have been
reached before anybody leaves. How long the upstream lived on is read from two clocks that
are one: the caller's close and the simulator's journal, both CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import uvloop

from tests.canary import PROVIDER_KEY
from tests.chaos.caller import Caller, call, request
from tests.chaos.rig import (
    FULL,
    Group,
    Simulated,
    deaf_port,
    log_defects,
    percentile,
    providers,
    serving,
    until,
)
from tests.chaos.rig import settings as settings_for

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900 if FULL else 120)]

TRIES = 280 if FULL else 28
"""For each phase, form and mode; 22 of them."""
PROMPTLY, SURELY = 0.1, 1.0  # seconds: for 99 of 100, for all
TOGETHER = 28

MODES = {"verbatim": "claude-", "translated": "openai/"}
NARROW = {"verbatim": "narrow/", "translated": "narrow-chat/"}
DEAF = {"verbatim": "deaf/", "translated": "deaf-chat/"}


class Scene(NamedTuple):
    """A group, its upstream, and what was there before."""

    group: Group
    simulator: Simulated
    deaf: int


@pytest.fixture(scope="module")
def scene(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with deaf_port() as port:
        nowhere = f"http://127.0.0.1:{port}"
        rows: dict[str, dict[str, object]] = {
            "narrow": {"kind": "anthropic", "base_url": simulator.base_url("anthropic")},
            "narrow-chat": {"kind": "openai", "base_url": simulator.base_url("openai")},
            "deaf": {"kind": "anthropic", "base_url": nowhere},
            "deaf-chat": {"kind": "openai", "base_url": nowhere},
        }
        for name in ("narrow", "narrow-chat"):
            rows[name] |= {"max_connections": 1, "api_key": PROVIDER_KEY}
        said = settings_for(
            simulator,
            providers=providers(simulator, **rows),
            timers={"connect": 60, "headers": 120},
        )
        with serving(said, tmp_path_factory.mktemp("leaving")) as group:
            yield Scene(group, simulator, port)


class Tally(NamedTuple):
    """Who left, and for how long the upstream did not know, in seconds."""

    ids: list[str]
    delays: list[float]


def _judge(scene: Scene, name: str, tally: Tally, outcomes: tuple[str, ...]) -> None:
    """Prompt, complete, and settled once each."""
    group = scene.group
    until(lambda: group.running == 0, SURELY)

    def written() -> bool:
        lines = group.request_lines()
        return all(request_id in lines for request_id in tally.ids)

    until(written, 3)
    lines = group.request_lines()
    for request_id in tally.ids:
        found = lines[request_id]
        assert len(found) == 1, found
        assert found[0]["outcome"] in outcomes, found
    assert len(tally.delays) == len(tally.ids)
    late = percentile(tally.delays, 0.99)
    print(f"{name}: {len(tally.ids)} left, p50 {percentile(tally.delays, 0.5) * 1000:.1f} ms, "
          f"p99 {late * 1000:.1f} ms")  # fmt: skip
    assert late <= PROMPTLY
    assert not log_defects(group.log())


async def _depart(callers: list[Caller]) -> None:
    """All leave within a moment, half of them with a reset."""
    for number, caller in enumerate(callers):
        caller.leave("reset" if number % 2 else "fin")
        await asyncio.sleep(0.003)


def _seen(scene: Scene, after: int) -> dict[str, dict[str, object]]:
    """Model -> its entry, of what has arrived since."""
    return {entry["model"]: entry for entry in scene.simulator.journal(after=after)}


def _leave_while(
    scene: Scene, prefix: str, knobs: str, *, stream: bool, needle: bytes = b""
) -> Tally:
    """Callers whose requests the simulator holds back as `knobs` say; then they leave."""
    ids: list[str] = []
    delays: list[float] = []

    async def round_of(first: int) -> None:
        names = [f"{prefix}try-{first + n}{knobs}" for n in range(TOGETHER)]
        tries = [_new_id() for _ in names]
        after = scene.simulator.last
        callers = [
            await call(scene.group.port, request(model, stream=stream, request_id=request_id))
            for model, request_id in zip(names, tries, strict=True)
        ]
        until(lambda: len(_seen(scene, after)) == TOGETHER)
        for caller in callers:
            if needle:
                await caller.until(needle)
        await asyncio.sleep(0.05)  # heads on their way to the gateway arrive
        await _depart(callers)
        entries = until(lambda: _all_closed(_seen(scene, after)), SURELY)
        for model, caller in zip(names, callers, strict=True):
            assert caller.left is not None
            entry = entries[model.removeprefix("openai/")]
            delays.append(entry["client_closed"] - caller.left)
        ids.extend(tries)

    for first in range(0, TRIES, TOGETHER):
        uvloop.run(round_of(first))
    return Tally(ids, delays)


def _all_closed(entries: dict[str, dict[str, object]]) -> dict[str, dict[str, object]] | None:
    closed = all(entry["client_closed"] is not None for entry in entries.values())
    return entries if closed else None


_numbers = iter(range(10**9))


def _new_id() -> str:
    return f"left-{next(_numbers)}"


WITHHELD = {
    ("headers", False): ";ttft=100",
    ("headers", True): ";ttft=100",
    ("first-token", False): ";head=0;ttft=100",
    ("first-token", True): ";head=0;ttft=100",
    ("middle", False): ";tokens=50;stall_at=40",
    ("middle", True): ";tokens=50000;tps=100",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("phase", "stream"), WITHHELD)
def test_the_upstream_works_for_nobody(scene: Scene, phase: str, stream: bool, mode: str) -> None:
    needle = b"content_block_delta" if stream and phase == "middle" else b""
    knobs = WITHHELD[phase, stream]
    tally = _leave_while(scene, MODES[mode], knobs, stream=stream, needle=needle)
    _judge(scene, f"{phase} {mode} {'SSE' if stream else 'JSON'}", tally, ("client_left",))


@pytest.mark.parametrize("mode", MODES)
def test_the_last_frame_is_waited_for(scene: Scene, mode: str) -> None:
    """All content has come, and the caller leaves before the frame that ends the answer."""
    # The simulator writes its last frames in one piece, so the cut between them is found in
    # the bytes of a whole answer of the same length.
    prefix = MODES[mode]
    at = _offset_of_the_end(scene, mode)
    needle = b'"text_delta"'
    tally = _leave_while(scene, prefix, f";tokens=3;stall_at={at}", stream=True, needle=needle)
    _judge(scene, f"tail {mode} SSE", tally, ("client_left",))


def _offset_of_the_end(scene: Scene, mode: str) -> int:
    import http.client

    import orjson

    path = {"verbatim": "/anthropic/v1/messages", "translated": "/openai/v1/chat/completions"}
    port = int(scene.simulator.url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    name = "claude-try-10" if mode == "verbatim" else "try-10"
    said = {
        "model": f"{name};tokens=3",
        "max_tokens": 100,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    fields = {"x-api-key": "a", "authorization": "Bearer a", "anthropic-version": "2023-06-01"}
    connection.request("POST", path[mode], orjson.dumps(said), fields)
    raw = connection.getresponse().read()
    connection.close()
    last = b"event: message_stop" if mode == "verbatim" else b"data: [DONE]"
    assert last in raw
    # Chunk framing puts more bytes in front of it than are counted here; never fewer.
    return raw.index(last) - 20


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_leaving_at_the_last_byte(scene: Scene, stream: bool, mode: str) -> None:
    """The answer is complete or nearly so: either outcome is right, one line is."""
    ids: list[str] = []

    async def rounds() -> None:
        needle = b"message_stop" if stream else b"HTTP/1.1 200"
        for _ in range(TRIES):
            request_id = _new_id()
            sent = request(MODES[mode] + "x;tokens=5", stream=stream, request_id=request_id)
            caller = await call(scene.group.port, sent)
            await caller.until(needle)
            caller.leave("reset")
            ids.append(request_id)

    uvloop.run(rounds())
    _judge(scene, f"end {mode}", Tally(ids, [0.0] * len(ids)), ("client_left", "completed"))


async def _leave_one_by_one(scene: Scene, model: str, *, stream: bool) -> Tally:
    """Callers that have no upstream yet: what is timed is that their place is free again."""
    ids: list[str] = []
    delays: list[float] = []
    for _ in range(0, TRIES, TOGETHER):
        before = scene.group.running
        tries = [_new_id() for _ in range(TOGETHER)]
        callers = [
            await call(scene.group.port, request(model, stream=stream, request_id=one))
            for one in tries
        ]
        full = before + TOGETHER
        await _settled(lambda full=full: scene.group.running == full, 5)
        for number, caller in enumerate(callers):
            caller.leave("reset" if number % 2 else "fin")
            left = time.monotonic()
            here = full - number - 1
            await _settled(lambda here=here: scene.group.running == here, SURELY)
            delays.append(time.monotonic() - left)
        ids.extend(tries)
    return Tally(ids, delays)


async def _settled(probe: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.0005)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_whoever_connects_for_nobody_stops(scene: Scene, stream: bool, mode: str) -> None:
    group = scene.group
    tally = uvloop.run(_leave_one_by_one(scene, DEAF[mode] + "x", stream=stream))
    _judge(scene, f"connecting {mode}", tally, ("client_left",))
    until(lambda: not group.upstream_sockets(scene.deaf), SURELY)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_whoever_queues_for_a_connection_leaves_the_queue(
    scene: Scene, stream: bool, mode: str
) -> None:
    group, prefix = scene.group, NARROW[mode]
    after = scene.simulator.last

    async def occupy() -> list[Caller]:
        """The only connection of every worker is busy."""
        busy: list[Caller] = []
        for pid in group.workers():
            with group.only(pid):
                busy.append(await call(group.port, request(prefix + "busy;ttft=100", stream=True)))
                await _settled(lambda pid=pid: group.inflight()[pid] == 1, 5)
        return busy

    async def run() -> Tally:
        busy = await occupy()
        try:
            return await _leave_one_by_one(scene, prefix + "queued", stream=stream)
        finally:
            for caller in busy:
                caller.leave()

    _judge(scene, f"queued {mode}", uvloop.run(run()), ("client_left",))
    assert {entry["model"] for entry in scene.simulator.journal(after=after)} == {"busy;ttft=100"}
    _all_get_through(group, prefix)


def _all_get_through(group: Group, prefix: str) -> None:
    """Ten fresh requests at once, over pools of one connection each."""

    async def run() -> None:
        sent = request(prefix + "x;tokens=3", stream=False, close=True)
        callers = [await call(group.port, sent) for _ in range(10)]
        for caller in callers:
            await caller.end(5)
            assert caller.status == 200, caller.body

    uvloop.run(run())


def test_nothing_is_left(scene: Scene) -> None:
    """After all of the above: no task, no place, no socket but pooled idle ones."""
    group = scene.group
    assert group.running == 0
    for worker in until(lambda: _at_rest(group), 5).values():
        print(worker)
        for name, (opened, idle, waiting) in worker["pools"].items():
            assert (opened, waiting) == (idle, 0), name
        assert worker["tasks"] <= 5
        assert worker["watched"] <= 1


def _at_rest(group: Group) -> dict[int, dict[str, object]] | None:
    found = group.probe()
    at_rest = all(worker["tasks"] <= 5 for worker in found.values())
    return found if at_rest else None
