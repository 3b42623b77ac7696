"""What a request and an event cost in the client, by transport: CPU of this process, one run.

    python -m bench.client_transport [--requests N] [--events N]

The mock runs in a process of its own on the other core. Absolute figures depend on the machine
and its neighbours; the ratios of one run are what counts. Rounds are interleaved and the median
is taken, so that a busy neighbour hits all ways alike.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import cast

import httpx
import uvloop

from vai.io.http import Endpoint, HttpUpstream, Origin, VaiTransport
from vai.types.provider import WireRequest

CONCURRENT = 64
BODY = b'{"model":"m","max_tokens":16,"messages":[{"role":"user","content":"hi"}]}'
ANSWER = b'{"id":"msg_1","type":"message","role":"assistant","content":[],"usage":{}}'
EVENT = (
    b"event: content_block_delta\ndata: "
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"token "}}\n\n'
)
PACE = 0.005
HEADERS = (
    ("content-type", "application/json"),
    ("anthropic-version", "2023-06-01"),
    ("user-agent", "bench"),
)


class Mock(asyncio.Protocol):
    """Answers ``/json`` at once and ``/sse/N`` with N paced events, each in a write of its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.seen = b""
        self.json = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nrequest-id: req_1\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
        )

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if not self.seen.endswith(BODY):
            return
        target, self.seen = self.seen.split(b" ", 2)[1], b""
        if target == b"/json":
            self.transport.write(self.json)
            return
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        self.tick(int(target.rpartition(b"/")[2]))

    def tick(self, left: int) -> None:
        if not left:
            self.transport.write(b"0\r\n\r\n")
            return
        self.transport.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
        asyncio.get_running_loop().call_later(PACE, self.tick, left - 1)


def mock(told: Connection) -> None:
    """The mock's process."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve())


Way = Callable[[str], Awaitable[int]]
"""Sends one request to a path and reads the answer; returns the number of reads."""


def through_upstream(port: int, transport: httpx.AsyncBaseTransport) -> Way:
    """The hot path: `HttpUpstream.send` and `read`."""
    upstream = HttpUpstream(transport, Endpoint(Origin("http", "127.0.0.1", port), ""))

    async def way(path: str) -> int:
        request = WireRequest("POST", path, HEADERS, BODY)
        until = time.monotonic() + 60
        reply = await upstream.send_request(request, connect_deadline=until, headers_deadline=until)
        reads = 0
        while await reply.read(time.monotonic() + 60):
            reads += 1
        return reads

    return way


def through_seam(port: int, transport: VaiTransport) -> Way:
    """`handle_async_request` with an httpx.Request, without a client."""

    async def way(path: str) -> int:
        request = httpx.Request(
            "POST", f"http://127.0.0.1:{port}{path}", headers=HEADERS, content=BODY
        )
        response = await transport.handle_async_request(request)
        reads = 0
        async for _ in cast("httpx.AsyncByteStream", response.stream):
            reads += 1
        return reads

    return way


def through_client(port: int, client: httpx.AsyncClient) -> Way:
    """An `httpx.AsyncClient`."""

    async def way(path: str) -> int:
        reads = 0
        url = f"http://127.0.0.1:{port}{path}"
        async with client.stream("POST", url, headers=dict(HEADERS), content=BODY) as response:
            async for _ in response.aiter_raw():
                reads += 1
        return reads

    return way


async def posts(way: Way, count: int) -> float:
    """CPU seconds per POST, CONCURRENT at a time."""

    async def worker() -> None:
        for _ in range(count // CONCURRENT):
            await way("/json")

    began = time.process_time()
    await asyncio.gather(*(worker() for _ in range(CONCURRENT)))
    return (time.process_time() - began) / (count // CONCURRENT * CONCURRENT)


async def events(way: Way, count: int) -> float:
    """CPU seconds per paced event, CONCURRENT streams at a time."""
    each = count // CONCURRENT
    began = time.process_time()
    await asyncio.gather(*(way(f"/sse/{each}") for _ in range(CONCURRENT)))
    return (time.process_time() - began) / (each * CONCURRENT)


async def measure(port: int, requests: int, streamed: int, rounds: int) -> None:
    """Run all ways in turn and print the medians."""
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
    stock = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
    vai = VaiTransport()
    ways = {
        "HttpUpstream, VaiTransport": through_upstream(port, vai),
        "VaiTransport.handle_async_request": through_seam(port, vai),
        "httpx.AsyncClient, VaiTransport": through_client(
            port, httpx.AsyncClient(transport=vai, timeout=60)
        ),
        "httpx.AsyncClient, its own pool": through_client(
            port, httpx.AsyncClient(transport=stock, timeout=60)
        ),
    }
    posted: dict[str, list[float]] = {name: [] for name in ways}
    evented: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            await posts(way, CONCURRENT * 4)
            posted[name].append(await posts(way, requests))
            evented[name].append(await events(way, streamed))
    first = next(iter(ways))
    print(f"{'':36}{'us/POST':>9}{'ratio':>8}{'us/event':>10}{'ratio':>8}")
    for name in ways:
        post, event = statistics.median(posted[name]), statistics.median(evented[name])
        post_ratio = post / statistics.median(posted[first])
        event_ratio = event / statistics.median(evented[first])
        print(f"{name:36}{post * 1e6:9.1f}{post_ratio:8.2f}{event * 1e6:10.1f}{event_ratio:8.2f}")
    await vai.aclose()
    await stock.aclose()


def main() -> None:
    """Start the mock, measure, stop the mock."""
    parser = argparse.ArgumentParser(description="CPU per request and event, by transport")
    parser.add_argument("--requests", type=int, default=3200)
    parser.add_argument("--events", type=int, default=12800)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    told, tell = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=mock, args=(tell,), daemon=True)
    server.start()
    try:
        port = told.recv()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(port, arguments.requests, arguments.events, arguments.rounds))
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
