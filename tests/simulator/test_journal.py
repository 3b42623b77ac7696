"""The journal is exact, bounded and keeps no secret."""

from __future__ import annotations

import asyncio
import hashlib
import time

import httpx
import orjson

from vai.simulator.journal import Journal


def ask(model: str = "sim-1", **more: object) -> dict:
    messages = [{"role": "user", "content": "Hi"}]
    return {"model": model, "max_tokens": 300, "messages": messages} | more


async def entries(world, **query: object) -> list[dict]:
    return (await world.http.get("/_sim/journal", params=query)).json()["entries"]


def test_a_request_is_kept_byte_for_byte(using):
    async def check(world):
        host, port = world.sim.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        sent = b' {"model" : "sim-1",  "max_tokens":3,'
        sent += b' "messages":[{"role":"user","content":"\\u00e9"}]}\n'
        head = (
            b"POST /anthropic/v1/messages?beta=true HTTP/1.1\r\nHost: x\r\n"
            b"X-Api-Key: sk-secret-1\r\naNtHropic-Version: 2023-06-01\r\n"
            b"X-Twice: a\r\nX-Twice: b\r\n"
            b"Content-Length: %d\r\n\r\n" % len(sent)
        )
        for at in range(0, len(head + sent), 7):
            writer.write((head + sent)[at : at + 7])
            await asyncio.sleep(0)
        assert (await reader.read(65536)).startswith(b"HTTP/1.1 200")
        (entry,) = await entries(world)
        assert entry["body"].encode() == sent
        digest = hashlib.sha256(b"sk-secret-1").hexdigest()
        assert entry["head"].encode() == head.replace(
            b"sk-secret-1", f"sha256:{digest[:12]}".encode()
        )
        assert entry["credentials"] == [{"header": "x-api-key", "sha256": digest}]
        assert ["X-Twice", "a"] in entry["headers"]
        assert entry["target"] == "/anthropic/v1/messages?beta=true"
        assert (entry["outcome"], entry["status"], entry["tokens_sent"]) == ("completed", 200, 3)
        writer.close()

    using(check)


def test_a_bearer_token_is_hashed_without_its_scheme(using):
    async def check(world):
        await world.complete("openai", ask())
        (entry,) = await entries(world)
        digest = hashlib.sha256(b"k").hexdigest()
        assert entry["credentials"] == [{"header": "authorization", "sha256": digest}]

    using(check)


def test_chunked_bodies_and_foreign_bytes(using):
    async def check(world):
        async def pieces():
            for piece in (b"\xff", b"\xfe{}"):
                yield piece

        await world.http.post(
            "/anthropic/v1/messages", content=pieces(), headers={"x-api-key": "k"}
        )
        (entry,) = await entries(world)
        assert entry["body"] is None
        assert entry["body_base64"] == "//57fQ=="

    using(check)


def test_a_client_that_leaves_is_noticed_at_once(using):
    async def check(world):
        for phase in ("sim-1;ttft=5", "sim-1;tps=20;tokens=100", "sim-1;stall_at=-1"):
            raw = await world.raw(orjson.dumps(ask(phase, stream=True)))
            async with asyncio.timeout(5):
                while not world.sim.in_flight or ("tps" in phase and not _sent(world)):
                    await asyncio.sleep(0.01)
            left = time.monotonic()
            raw.writer.close()
            async with asyncio.timeout(5):
                while world.sim.in_flight:
                    await asyncio.sleep(0.005)
            entry = (await entries(world))[-1]
            assert entry["outcome"] == "client_closed"
            assert entry["client_closed"] >= left
            assert entry["received"] < left
            if "tps" in phase:
                assert 1 <= entry["tokens_sent"] < 100
                assert entry["tokens_out"] == 100
        stats = (await world.http.get("/_sim/stats")).json()
        assert stats["outcomes"] == {"client_closed": 3}
        assert stats["in_flight"] == 0

    using(check)


def _sent(world) -> int:
    return world.sim.journal.entries_after()[-1].tokens_sent


def test_the_ledger_adds_up(using):
    async def check(world):
        whole = (await world.messages(ask("sim-1;tokens=10"))).json()["usage"]
        await world.messages(ask("sim-1;tokens=20", stream=True))
        await world.messages(ask("sim-1;status=500"))
        tokens = (await world.http.get("/_sim/stats")).json()["tokens"]
        assert tokens == {"input": 2 * whole["input_tokens"], "output": 30, "output_sent": 30}

    using(check)


def test_entries_are_found_by_number_id_and_model(using):
    async def check(world):
        first = await world.messages(ask())
        await world.messages(ask("other"))
        await world.complete("groq", ask("other"))
        assert [e["n"] for e in await entries(world, after=1)] == [2, 3]
        assert [e["n"] for e in await entries(world, id=first.headers["request-id"])] == [1]
        assert [e["provider"] for e in await entries(world, model="other")] == ["anthropic", "groq"]
        await world.http.delete("/_sim/journal")
        assert await entries(world) == []
        await world.messages(ask())
        assert [e["n"] for e in await entries(world)] == [4]
        assert (await world.http.get("/_sim/journal?after=x")).status_code == 400

    using(check)


def test_the_journal_is_bounded_by_count_and_bytes():
    journal = Journal(most=10, most_bytes=1000)
    for _ in range(50):
        journal.open_entry(1, b"h", b"b", "POST", "/")
    assert [e.n for e in journal.entries_after()] == list(range(41, 51))
    journal.open_entry(1, b"h", b"x" * 990, "POST", "/")
    assert sum(len(e.head + e.body) for e in journal.entries_after()) <= 1000
    assert journal.last_number == 51
    silent = Journal(most=0)
    silent.open_entry(1, b"h", b"b", "POST", "/")
    assert silent.entries_after() == []


def test_keep_alive_and_pipelining_share_one_connection(using):
    async def check(world):
        await world.messages(ask())
        await world.messages(ask())
        one, two = await entries(world)
        assert one["connection"] == two["connection"]
        body = orjson.dumps(ask("sim-1;ttft=0.05;tokens=1"))
        raw = await world.raw(body)
        again = b"POST /anthropic/v1/messages HTTP/1.1\r\nx-api-key: k\r\nconnection: close\r\n"
        again += b"anthropic-version: 2023-06-01\r\ncontent-length: %d\r\n\r\n" % len(body)
        raw.writer.write(again + body)
        assert (await raw.rest()).count(b"HTTP/1.1 200 OK") == 2

    using(check)


def test_what_is_no_request_is_refused_and_bounded(using):
    async def check(world):
        host, port = world.sim.url.removeprefix("http://").split(":")
        for sent, answer in (
            (b"\x16\x03\x01 not http\r\n\r\n", b"HTTP/1.1 400"),
            (b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000, b"HTTP/1.1 431"),
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            assert (await asyncio.wait_for(reader.read(100), 5)).startswith(answer)
            writer.close()
        lost = await world.http.get("/nowhere", headers={"authorization": "Bearer k"})
        assert lost.status_code == 404
        assert await _closed_early(world) == 0

    using(check)


async def _closed_early(world) -> int:
    """Connections left in flight once everybody is gone."""
    async with httpx.AsyncClient(base_url=world.sim.url, trust_env=False) as other:
        return int((await other.get("/_sim/stats")).json()["in_flight"])
