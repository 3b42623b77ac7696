"""The httpx seam: a stock client over VAI's transport."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.io.http.scripted import (
    OK,
    always,
    eventually,
    heard,
    limited,
    serving,
    soon,
)
from tests.io.http.test_pool import black_hole
from vai.io.http.transport import ResponseStream, VaiTransport


def client(transport, **settings):
    return httpx.AsyncClient(transport=transport, trust_env=False, **settings)


def test_a_client_of_httpx_works_and_reuses_connections(run):
    async def main():
        seen = []

        async def handler(reader, writer):
            peer = writer.get_extra_info("peername")
            while True:
                head, body = await heard(reader)
                seen.append((peer, head, body))
                writer.write(OK.replace(b"\r\n\r\n", b"\r\nX-A: 1\r\nX-A: 2\r\n\r\n"))

        async with serving(handler) as port, client(VaiTransport()) as http:
            url = f"http://127.0.0.1:{port}/a%20b?c=d"
            for _ in range(3):
                answer = await http.post(url, json={"k": 1})
                assert (answer.status_code, answer.text) == (200, "hello")
                assert answer.headers["x-a"] == "1, 2"
                assert answer.http_version == "HTTP/1.1"
            assert (await http.head(url)).content == b""
        peer, head, body = seen[0]
        assert head.startswith(b"POST /a%20b?c=d HTTP/1.1\r\n")
        assert body == b'{"k":1}'
        assert head.lower().count(b"host:") == 1
        assert b"\r\nAccept-Encoding: identity\r\n" in head
        assert b"gzip" not in head
        assert {p for p, _, _ in seen[:3]} == {peer}

    run(main())


def test_uploads_in_pieces(run):
    async def main():
        seen = []

        async def handler(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            seen.append(await reader.readuntil(b"\r\n0\r\n\r\n"))
            writer.write(OK)

        async def pieces():
            for size in (3, 0, 20):
                yield b"x" * size

        async with serving(handler) as port, client(VaiTransport()) as http:
            answer = await http.post(f"http://127.0.0.1:{port}/", content=pieces())
            assert answer.text == "hello"
            assert seen == [b"3\r\nxxx\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"]

    run(main())


@pytest.mark.timing
def test_an_upload_waits_for_its_reader_and_ends_with_an_early_answer(run):
    async def main():
        given = 0

        async def pieces():
            nonlocal given
            while True:
                given += 100_000
                yield bytes(100_000)

        async def handler(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/early" in head:
                await asyncio.sleep(0.05)
                writer.write(OK)
            await asyncio.sleep(2)

        transport = VaiTransport()
        async with serving(handler) as port, client(transport, timeout=0.3) as http:
            began = time.monotonic()
            with pytest.raises(httpx.WriteTimeout):
                await http.post(f"http://127.0.0.1:{port}/", content=pieces())
            assert 0.25 < time.monotonic() - began < 1
            assert given < 12_000_000
            answer = await http.post(f"http://127.0.0.1:{port}/early", content=pieces())
            assert answer.text == "hello"
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())


def test_its_timeouts_are_httpx_ones(run):
    async def main():
        async def silent(reader, writer):
            head, _ = await heard(reader)
            if b"/body" in head:
                writer.write(OK[:-2])
            await asyncio.sleep(2)

        listener, fillers = black_hole()
        transport = limited(1)
        async with serving(silent) as port, client(transport, timeout=0.15) as http:
            url = f"http://127.0.0.1:{port}"
            with pytest.raises(httpx.ReadTimeout):
                await http.get(url)
            with pytest.raises(httpx.ReadTimeout):
                await http.get(url + "/body")
            hold = asyncio.create_task(http.get(url, timeout=1))
            await asyncio.sleep(0.02)
            with pytest.raises(httpx.PoolTimeout):
                await http.get(url)
            hold.cancel()
            await asyncio.wait([hold])
            with pytest.raises(httpx.ConnectTimeout):
                await http.get(f"http://127.0.0.1:{listener.getsockname()[1]}")
            await eventually(lambda: transport.get_stats() == (0, 0, 0))
        for sock in (listener, *fillers):
            sock.close()

    run(main())


def test_failures_are_httpx_ones_without_foreign_text(run):
    async def main():
        gzip = OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
        async with client(VaiTransport()) as http:
            for answer, kind in (
                (gzip, httpx.DecodingError),
                (b"nonsense\r\n\r\n", httpx.RemoteProtocolError),
                (OK[:-2], httpx.RemoteProtocolError),
                (OK[:10], httpx.ReadError),
            ):
                async with serving(always(answer, close=True)) as port:
                    with pytest.raises(httpx.RequestError) as caught:
                        await http.post(f"http://127.0.0.1:{port}/")
                    assert type(caught.value) is kind
                    assert caught.value.__context__ is None
                    assert caught.value.request.method == "POST"
            with pytest.raises(httpx.ConnectError):
                await http.get("http://127.0.0.1:1/")
            with pytest.raises(httpx.LocalProtocolError) as illegal:
                await http.get("http://127.0.0.1:1/", headers={"x-k": "sk-S\r\nX-Evil: 1"})
            assert "sk-S" not in str(illegal.value)

    run(main())


def test_a_stream_that_is_left_ends_the_connection(run):
    async def main():
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        transport = VaiTransport()
        async with serving(always(head + b"1\r\nx\r\n")) as port, client(transport) as http:
            async with http.stream("GET", f"http://127.0.0.1:{port}/") as answer:
                async for piece in answer.aiter_raw():
                    assert piece == b"x"
                    break
            await eventually(lambda: transport.get_stats() == (0, 0, 0))
            request = http.build_request("GET", f"http://127.0.0.1:{port}/")
            answer = await transport.handle_async_request(request)
            assert isinstance(answer.stream, ResponseStream)
            assert await answer.stream.read(soon()) == b"x"
            answer.stream.close()
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())


def test_pools_of_forgotten_origins_are_dropped(run):
    async def main():
        async with VaiTransport() as transport:
            from tests.io.http.scripted import origin

            for port in range(1, 500):
                transport.get_pool(origin(port))
            assert len(transport._pools) <= 64

    run(main())


def test_a_connection_whose_upload_was_broken_off_is_not_reused(run):
    async def main():
        answered = asyncio.Event()

        async def pieces():
            yield b"x"
            await answered.wait()
            await asyncio.sleep(0.02)
            yield b"y"

        async def handler(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            answered.set()
            await asyncio.sleep(2)

        transport = VaiTransport()
        async with serving(handler) as port, client(transport) as http:
            answer = await http.post(f"http://127.0.0.1:{port}/", content=pieces())
            assert answer.text == "hello"
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())
