"""Places, waiters, idle connections and cancellation in every phase."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time

import pytest

from tests.io.http.scripted import (
    OK,
    POST,
    always,
    eventually,
    heard,
    limited,
    open_sockets,
    origin,
    send,
    serving,
    soon,
    upstream,
    whole,
)
from vai.errors import UpstreamTimeout, UpstreamUnreachable
from vai.io.http.pool import PoolLimits
from vai.io.http.transport import VaiTransport

CANCELS = int(os.environ.get("CHURN_CANCELS", "5000"))
"""How many cancelled requests the churn makes; 50,000 for a long run."""


def test_last_in_first_out_and_the_idle_timeout(run):
    async def main():
        peers = []

        async def handler(reader, writer):
            while True:
                await heard(reader)
                peers.append(writer.get_extra_info("peername")[1])
                writer.write(OK)

        async with serving(handler) as port, limited(10, idle=0.2) as transport:
            replies = [await send(transport, port) for _ in range(3)]
            for reply in replies:
                await whole(reply)
            assert transport.get_stats() == (3, 3, 0)
            await whole(await send(transport, port))
            assert peers[3] == peers[2]
            await asyncio.sleep(0.12)
            await whole(await send(transport, port))  # keeps this one alive
            await asyncio.sleep(0.12)
            assert transport.get_stats() == (1, 1, 0)
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())


@pytest.mark.timing
def test_waiters_are_served_in_order_and_expire(run):
    async def main():
        async with serving(always(OK)) as port, limited(1) as transport:
            held = await send(transport, port)
            order: list[int] = []

            async def ask(number: int) -> None:
                await whole(await send(transport, port))
                order.append(number)

            tasks = [asyncio.create_task(ask(number)) for number in range(5)]
            await asyncio.sleep(0.02)
            assert transport.get_stats() == (1, 0, 5)
            began = time.monotonic()
            with pytest.raises(UpstreamTimeout) as caught:
                await upstream(transport, port).send_request(
                    POST, connect_deadline=began + 0.2, headers_deadline=soon()
                )
            assert caught.value.code == "pool_timeout"
            assert 0.198 <= time.monotonic() - began <= 0.23
            await whole(held)
            await asyncio.gather(*tasks)
            assert order == [0, 1, 2, 3, 4]
            assert transport.get_stats() == (1, 1, 0)

    run(main())


def test_the_line_of_waiters_has_an_end(run):
    async def main():
        limits = PoolLimits(max_connections=1, max_waiting=2)
        async with serving(always(OK)) as port, VaiTransport(limits=limits) as transport:
            held = await send(transport, port)
            tasks = [asyncio.create_task(send(transport, port)) for _ in range(2)]
            await asyncio.sleep(0.01)
            with pytest.raises(UpstreamTimeout) as caught:
                await send(transport, port)
            assert caught.value.code == "pool_timeout"
            assert transport.get_stats() == (1, 0, 2)
            await whole(held)
            for task in tasks:
                await whole(await task)

    run(main())


@pytest.mark.parametrize("clean", [True, False], ids=["reused", "dropped"])
def test_a_cancelled_waiter_swallows_nothing(run, clean):
    """The grant and the cancellation meet in one turn of the loop, in both orders."""

    async def main():
        async with serving(always(OK)) as port, limited(1) as transport:
            for first in ("grant", "cancel"):
                held = await send(transport, port)
                if clean:
                    await asyncio.sleep(0.02)
                waiting = asyncio.create_task(send(transport, port))
                behind = asyncio.create_task(send(transport, port))
                await asyncio.sleep(0.01)
                if first == "cancel":
                    waiting.cancel()
                if clean:
                    await whole(held)
                else:
                    held.close()
                    # The place is free when the socket is: that turn is the one to meet.
                    while transport.get_stats().waiting == 2 and not waiting.done():
                        await asyncio.sleep(0)
                if first == "grant":
                    waiting.cancel()
                reply = await asyncio.wait_for(behind, 1)
                assert await whole(reply) == b"hello"
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert transport.get_stats() == (1, 1, 0)

    run(main())


def test_failures_to_connect_have_their_codes_and_leave_nothing(run):
    async def main():
        with socket.socket() as taken:  # bound and not listening: refused
            taken.bind(("127.0.0.1", 0))
            refused = origin(taken.getsockname()[1])
            nowhere = origin(80, host="no-such-host.invalid")
            async with VaiTransport() as transport:
                for target, code in ((refused, "upstream_connect"), (nowhere, "upstream_dns")):
                    with pytest.raises(UpstreamUnreachable) as caught:
                        await transport.get_pool(target).acquire(soon(), soon())
                    assert caught.value.code == code
                    assert caught.value.__context__ is None
                    assert transport.get_stats() == (0, 0, 0)

    run(main())


def black_hole() -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose queue is full: the kernel answers no further SYN."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    time.sleep(0.05)
    return listener, fillers


@pytest.mark.timing
def test_a_black_hole_runs_into_the_connect_timer(run):
    async def main():
        listener, fillers = black_hole()
        try:
            async with VaiTransport() as transport:
                files = open_sockets()
                for setting in (0.2, 0.5):
                    began = time.monotonic()
                    with pytest.raises(UpstreamTimeout) as caught:
                        await upstream(transport, listener.getsockname()[1]).send_request(
                            POST, connect_deadline=began + setting, headers_deadline=soon()
                        )
                    assert caught.value.code == "connect_timeout"
                    assert setting <= time.monotonic() - began + 0.002 <= setting * 1.1 + 0.01
                task = asyncio.create_task(send(transport, listener.getsockname()[1]))
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert transport.get_stats() == (0, 0, 0)
                await eventually(lambda: open_sockets() == files)
        finally:
            for sock in (listener, *fillers):
                sock.close()

    run(main())


def test_a_cancelled_stream_is_over_at_the_upstream_within_100_ms(run):
    async def main():
        ended: list[float] = []

        async def handler(reader, writer):
            await heard(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            await reader.read()
            ended.append(time.monotonic())

        async def consume(transport, port):
            reply = await send(transport, port)
            try:
                while await reply.read(soon()):
                    pass
            finally:
                reply.close()

        async with serving(handler) as port, VaiTransport() as transport:
            delays = []
            for turn in range(200):
                task = asyncio.create_task(consume(transport, port))
                await asyncio.sleep(0.002)
                task.cancel()
                cancelled = time.monotonic()
                await asyncio.wait([task])
                if len(ended) <= turn:
                    await asyncio.sleep(0.003)
                if ended:
                    delays.append(ended[-1] - cancelled)
            await eventually(lambda: transport.get_stats() == (0, 0, 0))
            assert len(ended) > 150
            delays.sort()
            assert delays[int(len(delays) * 0.99)] < 0.1

    run(main())


def test_closing_ends_everything(run):
    async def main():
        async with serving(always(OK)) as port:
            transport = limited(2)
            replies = [await send(transport, port) for _ in range(2)]
            waiting = asyncio.create_task(send(transport, port))
            await asyncio.sleep(0.01)
            await transport.aclose()
            for late in (waiting, send(transport, port)):
                with pytest.raises(UpstreamUnreachable) as caught:
                    await late
                assert caught.value.code == "upstream_closed"
            for reply in replies:
                reply.close()
            assert transport.get_stats() == (0, 0, 0)

    run(main())


async def slow_start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in pieces with pauses, so that a cancellation can fall anywhere."""
    while True:
        await heard(reader)
        await asyncio.sleep(random.random() * 0.004)
        writer.write(OK[:20])
        await asyncio.sleep(random.random() * 0.004)
        writer.write(OK[20:])


async def churn(transport: VaiTransport, port: int, cancels: int) -> int:
    """20 tasks send; each request is cancelled after 0 to 12 ms. Returns how many were."""
    cancelled = 0

    async def request() -> None:
        reply = await send(transport, port, within=20)
        try:
            await whole(reply, within=20)
        finally:
            reply.close()

    async def worker(seed: int) -> None:
        nonlocal cancelled
        dice = random.Random(seed)
        while cancelled < cancels:
            task = asyncio.create_task(request())
            await asyncio.wait([task], timeout=dice.random() * 0.012)
            task.cancel()
            await asyncio.wait([task])
            cancelled += task.cancelled()

    await asyncio.gather(*(worker(seed) for seed in range(20)))
    return cancelled


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_churn_of_cancellations_leaves_nothing_behind(run, tls, certificates):
    async def main():
        from vai.io.http.tls import get_tls_context

        context = get_tls_context(str(certificates.ca)) if tls else None
        scheme = "https" if tls else "http"
        async with serving(slow_start, certificates.server if tls else None) as port:
            transport = VaiTransport(context, PoolLimits(max_connections=10))
            pool = transport.get_pool(origin(port, scheme))
            transport._pools[origin(port)] = pool
            tasks, files = len(asyncio.all_tasks()), open_sockets()
            count = await churn(transport, port, CANCELS if not tls else 1000)
            for _ in range(10):
                assert await whole(await send(transport, port)) == b"hello"
            await eventually(lambda: pool.get_stats().open == pool.get_stats().idle)
            assert pool.get_stats().waiting == 0
            assert pool.get_stats().open <= 10
            assert count >= (1000 if tls else CANCELS)
            await transport.aclose()
            assert pool.get_stats() == (0, 0, 0)
            # Client and server side of every connection, and a task of the server's each.
            await eventually(lambda: open_sockets() <= files, 3)
            await eventually(lambda: len(asyncio.all_tasks()) <= tasks, 3)

    run(main())


def test_a_connection_that_dies_on_its_way_to_a_user_is_not_used(run):
    async def main():
        async with serving(always(OK)) as port, limited(1) as transport:
            pool = transport.get_pool(origin(port))
            await whole(await send(transport, port))
            dead = next(iter(pool._idle))
            dead.eof_received()  # its loss is told in the loop's next turn
            assert await whole(await send(transport, port)) == b"hello"

            held = await pool.acquire(soon(), soon())
            waiting = asyncio.create_task(pool.acquire(soon(), soon()))
            await asyncio.sleep(0)
            held.start_exchange(b"GET / HTTP/1.1\r\n\r\n", b"", bodiless=False)
            while not held.complete:
                await held.wait_for_change(soon())
            pool.release(held)  # granted, and dead before the waiter runs
            held.eof_received()
            fresh = await waiting
            assert fresh is not held
            assert not fresh.closed
            pool.release(fresh)
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())
