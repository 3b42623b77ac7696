"""Faults, byte by byte, over bare sockets."""

from __future__ import annotations

import asyncio
import base64
import re
import time
import zlib

import httpx
import orjson
import pytest


def body(model: str, **more: object) -> bytes:
    said = {"model": model, "max_tokens": 300, "messages": [{"role": "user", "content": "Hi"}]}
    return orjson.dumps(said | more)


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, rest = answer.partition(b"\r\n\r\n")
    return head, rest


def nameless(data: bytes) -> bytes:
    """Without the offset in the model's name, and without a last word that may be half of it."""
    return re.sub(rb"cut=\d+", b"cut", data)[:-12]


def test_cut_ends_the_body_at_that_byte_with_fin(using):
    async def check(world):
        uncut = await world.raw(body("sim-1;framing=close;cut=5000000", stream=True))
        whole = split(await uncut.rest())[1]
        for at in [0, 1, 2, 3, 50, len(whole) // 2, len(whole) - 10]:
            answer = await world.raw(body(f"sim-1;framing=close;cut={at}", stream=True))
            _, rest = split(await answer.rest())
            assert len(rest) == at
            assert nameless(whole).startswith(nameless(rest))
        unheaded = await world.raw(body("sim-1;cut=-1"))
        assert await unheaded.rest() == b""

    using(check)


def test_cut_in_a_json_body_breaks_the_promise_of_its_length(using):
    async def check(world):
        with pytest.raises(httpx.RemoteProtocolError):
            await world.messages(orjson.loads(body("sim-1;cut=100")))

    using(check)


def test_rst_resets_after_its_bytes(using):
    async def check(world):
        for at in (-1, 0, 40):
            answer = await world.raw(body(f"sim-1;rst={at}", stream=True))
            with pytest.raises(ConnectionResetError):
                await answer.reader.read(-1)
            answer.writer.close()

    using(check)


@pytest.mark.timing
def test_stall_keeps_the_connection_open_and_silent(using):
    async def check(world):
        answer = await world.raw(body("sim-1;stall_at=60", stream=True))
        assert len(split(await answer.silent(0.1))[1]) == 60
        answer.writer.close()
        mute = await world.raw(body("sim-1;stall_at=-1"))
        assert await mute.silent(0.1) == b""
        mute.writer.close()
        began = time.monotonic()
        late = await world.messages(orjson.loads(body("sim-1;stall_at=60;stall=0.2", stream=True)))
        assert time.monotonic() - began >= 0.2
        assert "message_stop" in late.text

    using(check)


@pytest.mark.timing
def test_pace_is_kept(using):
    async def check(world):
        asked = orjson.loads(body("sim-1;ttft=0.1;tps=100;tokens=30", stream=True))
        began = time.monotonic()
        given = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
        async with world.http.stream(
            "POST", "/anthropic/v1/messages", json=asked, headers=given
        ) as answer:
            moments = [
                time.monotonic() - began
                async for line in answer.aiter_lines()
                if "text_delta" in line
            ]
        assert len(moments) == 30
        assert moments[0] >= 0.1
        assert moments[-1] >= 0.1 + 29 / 100
        began = time.monotonic()
        await world.messages(asked | {"stream": False})
        assert time.monotonic() - began >= 0.4

    using(check)


@pytest.mark.timing
def test_drip_changes_no_byte(using):
    async def check(world):
        smooth = await world.raw(body("sim-1;tokens=3;cut=300", stream=True))
        dripped = await world.raw(body("sim-1;tokens=3;drip=20", stream=True))
        began = time.monotonic()
        answer = split(await asyncio.wait_for(dripped.reader.readuntil(b"0\r\n\r\n"), 5))[1]
        assert time.monotonic() - began >= len(answer) / 20 * 0.001 * 0.8
        assert answer.endswith(b"0\r\n\r\n")
        assert len(split(await smooth.rest())[1]) == 300
        dripped.writer.close()

    using(check)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_every_framing_carries_the_same_payload(using, framing):
    async def check(world):
        said = orjson.loads(body(f"sim-1;framing={framing}", stream=True))
        answer = await world.messages(said)
        assert answer.text.endswith('data: {"type":"message_stop"}\n\n')
        assert ("content-length" in answer.headers) == (framing == "length")
        assert ("transfer-encoding" in answer.headers) == (framing == "chunked")

    using(check)


def test_malformed_answers_are_malformed_as_named(using):
    async def check(world):
        async def fetch(model: str, *, stream: bool = False) -> httpx.Response:
            return await world.messages(orjson.loads(body(model, stream=stream)))

        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads((await fetch("sim-1;malformed=json")).content)
        with pytest.raises(UnicodeDecodeError):
            (await fetch("sim-1;malformed=utf8")).content.decode()
        wrong = await fetch("sim-1;malformed=type")
        assert wrong.headers["content-type"] == "text/plain"
        events = (await fetch("sim-1;malformed=sse", stream=True)).text.split("\n\n")
        broken = [e for e in events[:-1] if not _parses(e)]
        assert len(broken) == 1
        for bad in ("chunk", "head"):
            with pytest.raises(httpx.RemoteProtocolError):
                await fetch(f"sim-1;malformed={bad}", stream=True)

    using(check)


def _parses(event: str) -> bool:
    try:
        for line in event.split("\n"):
            if line.startswith("data: "):
                orjson.loads(line[6:])
    except orjson.JSONDecodeError:
        return False
    return True


def test_gzip_unasked_and_interim_answers(using):
    async def check(world):
        answer = await world.raw(body("sim-1;gzip;framing=close", stream=True))
        head, rest = split(await answer.rest())
        assert b"content-encoding: gzip" in head
        assert zlib.decompress(rest, zlib.MAX_WBITS | 16).endswith(b'"message_stop"}\n\n')
        early = await world.raw(body("sim-1;early=103;framing=close"))
        assert (await early.rest()).startswith(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK")
        moved = await world.messages(orjson.loads(body("sim-1;status=307")))
        assert moved.status_code == 307
        assert moved.headers["location"].startswith("https://elsewhere.example/")

    using(check)


def test_a_script_dictates_every_byte(using):
    async def check(world):
        script = {
            "status": 203,
            "headers": [["content-type", "text/event-stream"], ["x-one", "1"], ["x-one", "2"]],
            "chunks": ["a\r", {"base64": base64.b64encode(b"\xff\0").decode(), "delay": 0.1}, "z"],
            "framing": "chunked",
        }
        put = await world.http.put("/_sim/scripts/my%2Fmodel", json=script)
        assert put.json() == {"ok": True}
        began = time.monotonic()
        answer = await world.messages({"model": "my/model", "anything": "goes"})
        assert time.monotonic() - began >= 0.1
        assert answer.status_code == 203
        assert answer.headers.get_list("x-one") == ["1", "2"]
        assert answer.content == b"a\r\xff\0z"
        assert (await world.http.delete("/_sim/scripts/my%2Fmodel")).json() == {"ok": True}
        assert (await world.messages({"model": "my/model"})).status_code == 400

    using(check)


def test_scripts_can_be_raw_counted_cut_and_reset(using):
    async def check(world):
        put = world.http.put
        await put("/_sim/scripts/raw", json={"raw": True, "body": "NOT HTTP\r\n", "times": 1})
        assert await (await world.raw(body("raw"))).rest() == b"NOT HTTP\r\n"
        after = await world.raw(body("raw;framing=close"))
        assert (await after.rest()).startswith(b"HTTP/1.1 200")
        await put("/_sim/scripts/cut", json={"body": "0123456789", "cut_at": 4})
        assert split(await (await world.raw(body("cut"))).rest())[1] == b"0123"
        await put("/_sim/scripts/rst", json={"body": "0123456789", "cut_at": 4, "reset": True})
        raw = await world.raw(body("rst"))
        with pytest.raises(ConnectionResetError):
            await raw.reader.read(-1)
        raw.writer.close()
        bad = await put("/_sim/scripts/bad", json={"statsu": 1})
        assert bad.status_code == 400

    using(check)


def test_the_script_table_is_bounded(using):
    async def check(world):
        for number in range(1024):
            await world.http.put(f"/_sim/scripts/m{number}", json={"body": ""})
        full = await world.http.put("/_sim/scripts/one-more", json={"body": ""})
        assert full.status_code == 409
        await world.http.delete("/_sim/scripts")
        assert (await world.http.get("/_sim/stats")).json()["scripts"] == 0

    using(check)


def test_a_slow_reader_holds_the_answer_back(using):
    async def check(world):
        answer = await world.raw(body("sim-1;tokens=400000", stream=True, max_tokens=400000))
        await asyncio.sleep(0.3)
        (connection,) = world.sim.in_flight
        assert connection._transport.get_write_buffer_size() < 1024 * 1024
        sent = world.sim.journal.entries_after()[-1].sent
        assert 0 < sent < 20_000_000
        found = 0
        while piece := await asyncio.wait_for(answer.reader.read(1 << 20), 5):
            found += len(piece)
            if piece.endswith(b"0\r\n\r\n"):
                break
        assert found == world.sim.journal.entries_after()[-1].sent
        answer.writer.close()

    using(check)
