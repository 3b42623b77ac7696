"""Providers behind a proxy: the same answers, and nothing left behind by a cancellation."""

from __future__ import annotations

import asyncio
import random
import time

import httpx
import pytest

from tests.io.http.scripted import (
    OK,
    POST,
    always,
    eventually,
    heard,
    open_sockets,
    origin,
    serving,
    soon,
    whole,
)
from tests.io.http.test_pool import slow_start
from vai.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from vai.io.http import Endpoint, HttpUpstream, UpstreamSettings, build_transport
from vai.io.http.provider_keys import Credential
from vai.secret import Secret


async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except (OSError, RuntimeError):
        pass
    finally:
        target.close()


def proxy(log: list[bytes]):
    """A proxy of twenty lines: CONNECT, and absolute-form requests."""

    async def handler(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        log.append(head)
        method, target, _ = head.split(b" ", 2)
        where = target if method == b"CONNECT" else target.split(b"/")[2]
        host, _, port = where.decode().partition(":")
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Established\r\n\r\n")
        else:
            back.write(head)
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    return handler


def through(port: int, certificates, limit: int = 1000) -> httpx.AsyncBaseTransport:
    return build_transport(
        UpstreamSettings(
            base_url="https://x",
            proxy=Secret(f"http://user:pass@127.0.0.1:{port}"),
            ca_file=str(certificates.ca),
            max_connections=limit,
        )
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy(run, certificates, scheme):
    async def main():
        log: list[bytes] = []
        tls = certificates.server if scheme == "https" else None
        async with serving(always(OK), tls) as port, serving(proxy(log)) as gate:
            transport = through(gate, certificates)
            upstream = HttpUpstream(transport, Endpoint(origin(port, scheme), ""))
            for _ in range(2):
                reply = await upstream.send_request(
                    POST, connect_deadline=soon(), headers_deadline=soon()
                )
                assert reply.status == 200
                assert reply.headers["content-length"] == "5"
                assert await whole(reply) == b"hello"
                assert await reply.read(soon()) == b""
                reply.close()
            assert len(log) == 2
            assert b"Proxy-Authorization: Basic" in log[0]
            assert log[0].startswith(b"CONNECT" if scheme == "https" else b"POST http://")
            nowhere = HttpUpstream(transport, Endpoint(origin(1, "https"), ""))
            with pytest.raises(UpstreamUnreachable) as caught:
                await nowhere.send_request(POST, connect_deadline=soon(), headers_deadline=soon())
            assert caught.value.code == "upstream_proxy"
            assert caught.value.__context__ is None
            await transport.aclose()

    run(main())


@pytest.mark.timing
def test_its_timers_and_truncation(run, certificates):
    async def main():
        async def handler(reader, writer):
            head, _ = await heard(reader)
            if b"/body" in head:
                writer.write(OK[:-2])
            await asyncio.sleep(0.5 if b"/cut" in head else 3)

        async with serving(handler) as port, serving(proxy([])) as gate:
            transport = through(gate, certificates, limit=1)
            upstream = HttpUpstream(transport, Endpoint(origin(port), ""))
            began = time.monotonic()
            with pytest.raises(UpstreamTimeout) as caught:
                await upstream.send_request(
                    POST, connect_deadline=soon(), headers_deadline=began + 0.2
                )
            assert caught.value.code == "headers_timeout"
            assert 0.19 <= time.monotonic() - began <= 0.23
            body = HttpUpstream(transport, Endpoint(origin(port), "/body"))
            reply = await body.send_request(POST, connect_deadline=soon(), headers_deadline=soon())
            assert await reply.read(soon()) == b"hel"
            with pytest.raises(UpstreamTimeout) as caught:
                await reply.read(soon(0.1))
            assert caught.value.code == "read_timeout"
            reply.close()
            body = HttpUpstream(transport, Endpoint(origin(port), "/body/cut"))
            reply = await body.send_request(POST, connect_deadline=soon(), headers_deadline=soon())
            with pytest.raises(UpstreamTimeout) as caught:  # the one place is taken
                await upstream.send_request(
                    POST, connect_deadline=soon(0.1), headers_deadline=soon()
                )
            assert caught.value.code == "pool_timeout"
            with pytest.raises(UpstreamBroken) as broken:
                await whole(reply)
            assert broken.value.code == "upstream_truncated"
            await transport.aclose()

    run(main())


def test_a_read_that_came_too_late_may_be_repeated(run, certificates):
    async def main():
        async def handler(reader, writer):
            await heard(reader)
            writer.write(OK[:-2])
            await asyncio.sleep(0.3)
            writer.write(OK[-2:])

        async with serving(handler) as port, serving(proxy([])) as gate:
            transport = through(gate, certificates, limit=1)
            upstream = HttpUpstream(transport, Endpoint(origin(port), ""))
            reply = await upstream.send_request(
                POST, connect_deadline=soon(), headers_deadline=soon()
            )
            assert await reply.read(soon()) == b"hel"
            for _ in range(2):
                with pytest.raises(UpstreamTimeout):
                    await reply.read(soon(0.05))
            assert await reply.read(soon()) == b"lo"
            assert await reply.read(soon()) == b""
            await transport.aclose()

    run(main())


def echoing(key: str, cut: int):
    """A server whose answer quotes the key, in two pieces and in a field of the head."""
    body = f'{{"error":"wrong key {key}","param":"{key}"}}'.encode()
    head = f"HTTP/1.1 400 Bad\r\nContent-Length: {len(body)}\r\nX-Echo: {key}\r\n\r\n"

    async def handler(reader, writer):
        sent, _ = await heard(reader)
        assert key.encode() in sent
        writer.write(head.encode() + body[:cut])
        await asyncio.sleep(0.02)
        writer.write(body[cut:])

    return handler


@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("cut", [20, 25, 30, 60])
def test_a_key_that_comes_back_goes_no_further(run, certificates, proxied, cut):
    key = "sk-gateway-0123456789"

    async def main():
        async with serving(echoing(key, cut)) as port, serving(proxy([])) as gate:
            direct = build_transport(UpstreamSettings(base_url="https://x"))
            transport = through(gate, certificates) if proxied else direct
            at = Endpoint(origin(port), "")
            upstream = HttpUpstream(transport, at, Credential(Secret(key), at.origin))
            reply = await upstream.send_request(
                POST, connect_deadline=soon(), headers_deadline=soon()
            )
            assert await whole(reply) == b'{"error":"wrong key [redacted]","param":"[redacted]"}'
            assert reply.headers["x-echo"] == "[redacted]"
            await transport.aclose()
            await direct.aclose()

    run(main())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_churn_of_cancellations_leaves_nothing_behind(run, certificates, scheme):
    async def main():
        tls = certificates.server if scheme == "https" else None
        async with serving(slow_start, tls) as port, serving(proxy([])) as gate:
            transport = through(gate, certificates, limit=10)
            upstream = HttpUpstream(transport, Endpoint(origin(port, scheme), ""))
            sockets, tasks = open_sockets(), len(asyncio.all_tasks())

            async def request():
                reply = await upstream.send_request(
                    POST, connect_deadline=soon(20), headers_deadline=soon(20)
                )
                try:
                    await whole(reply)
                finally:
                    reply.close()

            async def worker(seed: int) -> None:
                dice = random.Random(seed)
                for _ in range(20):
                    task = asyncio.create_task(request())
                    await asyncio.wait([task], timeout=dice.random() * 0.03)
                    task.cancel()
                    await asyncio.wait([task])

            await asyncio.gather(*(worker(seed) for seed in range(20)))
            for _ in range(10):
                await request()
            await transport.aclose()
            assert transport._slots._value == 10
            await eventually(lambda: open_sockets() <= sockets, 3)
            await eventually(lambda: len(asyncio.all_tasks()) <= tasks, 3)

    run(main())
