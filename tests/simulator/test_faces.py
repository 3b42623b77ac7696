"""What holds on every face alike: knobs, scripts, failures that pass, counting."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from typing import Any

import httpx
import orjson
import pytest

from vai.providers.registry import PROVIDER_SPECS, simulated_path
from vai.simulator.journal import Journal, JournalEntry
from vai.simulator.knobs import FailureCounter, Knobs, parse_knobs
from vai.simulator.providers import SimulatedProviders

USER = [{"role": "user", "content": "Hello there"}]
CONTENTS = [{"role": "user", "parts": [{"text": "Hello there"}]}]
FACES = tuple(PROVIDER_SPECS)
SHORT = httpx.Timeout(10, read=0.1)
KEYS = {"x-api-key": "k", "authorization": "Bearer k", "x-goog-api-key": "k"} | {
    "anthropic-version": "2023-06-01"
}
PATHS = {
    name: simulated_path(spec) + spec.path for name, spec in PROVIDER_SPECS.items() if spec.path
}
ENDS = {
    "anthropic": "message_stop",
    "oai-resp": "response.completed",
    "gemini": '"finishReason":"STOP"',
    "gemini-oauth": '"finishReason":"STOP"',
}


def request(face: str, model: str, *, stream: bool = False) -> tuple[str, dict[str, Any]]:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    match face:
        case "gemini":
            return f"/gemini/v1beta/models/{model}:{verb}", {"contents": CONTENTS}
        case "gemini-oauth":
            said = {"model": model, "request": {"contents": CONTENTS}}
            return f"/gemini-oauth/v1internal:{verb}", said
        case "oai-resp":
            return PATHS[face], {"model": model, "input": USER, "stream": stream}
    return PATHS[face], {"model": model, "messages": USER, "stream": stream} | (
        {"max_tokens": 400} if face == "anthropic" else {}
    )


async def send(world: Any, face: str, model: str, *, stream: bool = False) -> httpx.Response:
    path, body = request(face, model, stream=stream)
    return await world.http.post(path, json=body, headers=KEYS)


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_requests_fail_as_often_as_told_and_then_succeed(using, face):
    async def check(world):
        name = "sim-1;fail=2x503"
        seen = [(await send(world, face, name)).status_code for _ in range(4)]
        assert seen == [503, 503, 200, 200]
        other = await send(world, face, "sim-1;fail=1x429;retry_after=3")
        assert other.status_code == 429
        if "gemini" in face:
            assert other.json()["error"]["details"][-1]["retryDelay"] == "3s"
        else:
            assert other.headers["retry-after"] == "3"
        tries = (await world.http.get("/_sim/stats")).json()["tries"]
        assert tries == {
            f"{face}/{name}": {"requests": 4, "failed": 2},
            f"{face}/sim-1;fail=1x429;retry_after=3": {"requests": 1, "failed": 1},
        }
        await world.http.delete("/_sim/tries")
        assert (await send(world, face, name)).status_code == 503

    using(check)


def test_reset_and_hang_come_before_the_head(using, face):
    async def check(world):
        for name in ("sim-1;reset", "sim-1;fail=1xreset"):
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                await send(world, face, name)
        assert (await send(world, face, "sim-1;fail=1xreset")).status_code == 200
        for name in ("sim-1;hang", "sim-1;fail=1xhang"):
            path, body = request(face, name)
            with pytest.raises(httpx.ReadTimeout):
                await world.http.post(path, json=body, headers=KEYS, timeout=SHORT)
        assert (await send(world, face, "sim-1;fail=1xhang")).status_code == 200

    using(check)


def test_faults_on_the_wire_are_the_same_everywhere(using, face):
    async def check(world):
        whole = (await send(world, face, "sim-1", stream=True)).text
        end = ENDS.get(face, "[DONE]")
        assert end in whole
        with pytest.raises(httpx.RemoteProtocolError):
            await send(world, face, "sim-1;cut=300", stream=True)
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await send(world, face, "sim-1;rst=300", stream=True)
        late = await send(world, face, "sim-1;stall_at=60;stall=0.05", stream=True)
        assert end in late.text
        dripped = await send(world, face, "sim-1;tokens=3;drip=50", stream=True)
        assert end in dripped.text
        assert "<html>" in (await send(world, face, "sim-1;status=502;html")).text
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads((await send(world, face, "sim-1;malformed=json")).content)
        assert (await send(world, face, "sim-1;nonsense=1")).status_code == 400
        assert end not in (await send(world, face, "sim-1;error_at=2", stream=True)).text

    using(check)


def test_a_script_dictates_bytes_or_words(using, face):
    async def check(world):
        await world.http.put("/_sim/scripts/raw", json={"status": 203, "body": "x", "times": 1})
        dictated = await send(world, face, "raw")
        assert (dictated.status_code, dictated.text) == (203, "x")
        await world.script("my", {"type": "text", "text": "In my own words."}, usage={"output": 77})
        for stream in (False, True):
            said = (await send(world, face, "my;chunk=50", stream=stream)).text
            assert "In my own words." not in said  # the name with knobs is another model
            told = (await send(world, face, "my", stream=stream)).text
            assert "words" in told
        entry = world.sim.journal.entries_after()[-1]
        assert (entry.provider, entry.model, entry.tokens_out) == (face, "my", 77)
        bad = await world.http.put(
            "/_sim/scripts/x", json={"answer": {"parts": [{"type": "song"}]}}
        )
        assert bad.status_code == 400

    using(check)


def test_the_bench_model_is_always_the_same_bytes(using, face):
    async def check(world):
        for stream in (False, True):
            one, two = [(await send(world, face, "bench", stream=stream)) for _ in range(2)]
            assert one.status_code == 200
            assert one.content == two.content

    using(check)


def test_a_long_answer_is_drawn_as_it_is_sent(face):
    """What is held is the text and its tokens, not an object for every event."""
    path, body = request(face, "sim-1;tokens=100000", stream=True)
    body |= {"max_tokens": 200_000} if face == "anthropic" else {}
    entry = JournalEntry(1, 1, b"", "POST", path, orjson.dumps(body))
    tracemalloc.start()
    try:
        reply = SimulatedProviders(Knobs(), Journal()).respond(entry, KEYS)
        drawn = list(itertools.islice(reply.body, 50))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(drawn) == 50
    assert peak < 25_000_000


def test_a_client_that_leaves_is_noticed(using, face):
    async def check(world):
        path, body = request(face, "sim-1;tps=50;tokens=500", stream=True)
        async with world.http.stream("POST", path, json=body, headers=KEYS) as answer:
            async for _ in answer.aiter_raw():
                break
        async with asyncio.timeout(5):
            while world.sim.journal.entries_after()[-1].outcome == "in_flight":
                await asyncio.sleep(0.01)
        entry = world.sim.journal.entries_after()[-1]
        assert entry.outcome == "client_closed"
        assert entry.tokens_sent < 500

    using(check)


def test_every_way_of_counting_gives_the_input_of_the_answer(using):
    async def check(world):
        async def count(path: str, body: dict[str, Any]) -> dict[str, Any]:
            answer = await world.http.post(path, json=body, headers=KEYS)
            assert answer.status_code == 200, answer.text
            return answer.json()

        plain = {"model": "sim-1", "messages": USER}
        counted = await count("/anthropic/v1/messages/count_tokens", plain)
        whole = (await send(world, "anthropic", "sim-1")).json()
        assert counted == {"input_tokens": whole["usage"]["input_tokens"]}
        for provider in ("openai", "oai-resp"):
            body = {"model": "sim-1", "input": USER}
            counted = await count(f"/{provider}/v1/responses/input_tokens", body)
            whole = (await send(world, "oai-resp", "sim-1")).json()
            assert counted["input_tokens"] == whole["usage"]["input_tokens"]
        path = "/gemini/v1beta/models/sim-1:countTokens"
        counted = await count(path, {"contents": CONTENTS})
        inner = {"model": "models/sim-1", "contents": CONTENTS}
        assert counted == await count(path, {"generateContentRequest": inner})
        whole = (await send(world, "gemini", "sim-1")).json()
        assert counted["totalTokens"] == whole["usageMetadata"]["promptTokenCount"]
        assert (await world.http.post(path, json=[], headers=KEYS)).status_code == 400

    using(check)


def test_the_counters_are_bounded():
    tries = FailureCounter(most=3)
    for number in range(10):
        tries.apply_failures(f"p/{number}", parse_knobs("m;fail=1x500"))
    assert set(tries.show_counts()) == {"p/7", "p/8", "p/9"}


@pytest.mark.parametrize("value", ["", "2", "x503", "0x503", "2x200", "2xfire", "-1x503", "1x999"])
def test_a_fail_knob_that_is_none_is_refused(using, value):
    async def check(world):
        assert (await send(world, "openai", f"sim-1;fail={value}")).status_code == 400

    using(check)
