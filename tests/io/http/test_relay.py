"""A body that is relayed in the moment in which its bytes come, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.io.http.scripted import (
    Handler,
    always,
    eventually,
    heard,
    reset,
    send,
    serving,
    soon,
    whole,
)
from tests.io.http.test_connection import CHUNKED
from vai.errors import UpstreamBroken, UpstreamTimeout
from vai.io.http.provider_keys import KeyFilter
from vai.io.http.transport import HttpResponse, VaiTransport

HEAD = CHUNKED[: CHUNKED.index(b"5\r\n")]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def relayed(reply: HttpResponse, pieces: list[bytes]) -> bytes:
    """The whole body; what was relayed of it is in `pieces` too."""
    body = b""

    def sink(data: bytes) -> bool:
        nonlocal body
        body += data
        pieces.append(data)
        return True

    while True:
        await reply.relay_body(sink, 3.0, soon())
        data = await reply.read(soon())
        if not data:
            return body
        body += data


@asynccontextmanager
async def replying(handler: Handler) -> AsyncIterator[tuple[HttpResponse, VaiTransport]]:
    """A response of which the head has come, and the transport of its connection."""
    async with serving(handler) as port, VaiTransport() as transport:
        yield await send(transport, port), transport


@pytest.mark.parametrize("step", [1, 2, 7, 50])
def test_a_relayed_body_is_the_body_in_any_chop(run, step):
    body = bytes(range(256)) * 2
    answer = b"".join(chunk(body[at : at + 9]) for at in range(0, len(body), 9)) + b"0\r\n\r\n"

    async def main():
        pieces = [answer[at : at + step] for at in range(0, len(answer), step)]
        script = always(HEAD, *pieces, pause=0.0)
        async with serving(script) as port, VaiTransport() as transport:
            for _ in range(2):  # the connection serves a second response
                got: list[bytes] = []
                assert await relayed(await send(transport, port), got) == body
                assert got
            assert transport.get_stats().open == 1

    run(main())


def test_no_task_wakes_between_two_pieces(run):
    async def main():
        script = always(HEAD, *[chunk(b"x")] * 50, b"0\r\n\r\n", pause=0.002)
        async with replying(script) as (reply, _):
            got: list[bytes] = []
            await reply.relay_body(lambda data: not got.append(data), 3.0, soon())
            assert len(got) > 20
            assert b"".join(got) == b"x" * 50
            assert await reply.read(soon()) == b""

    run(main())


def test_a_sink_that_returns_false_gets_nothing_more(run):
    async def main():
        script = always(HEAD, *[chunk(b"x")] * 20, b"0\r\n\r\n", pause=0.005)
        async with replying(script) as (reply, _):
            got: list[bytes] = []

            def sink(data: bytes) -> bool:
                got.append(data)
                return False

            await reply.relay_body(sink, 3.0, soon())
            await asyncio.sleep(0.05)
            assert len(got) == 1
            assert b"".join(got) + await whole(reply) == b"x" * 20

    run(main())


@pytest.mark.parametrize("kind", ["FIN", "RST", "garbage"])
def test_what_came_before_the_break_is_relayed_and_the_break_is_read(run, kind):
    async def main():
        async def handler(reader, writer):
            await heard(reader)
            writer.write(HEAD + chunk(b"one"))
            await asyncio.sleep(0.05)
            writer.write(chunk(b"two"))
            await asyncio.sleep(0.05)
            if kind == "RST":
                reset(writer)
            elif kind == "garbage":
                writer.write(b"zzz\r\n")
                await asyncio.sleep(1)

        async with replying(handler) as (reply, transport):
            got: list[bytes] = []
            with pytest.raises(UpstreamBroken):
                await relayed(reply, got)
            assert got[-1] == b"two"
            reply.close()
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())


@pytest.mark.timing
def test_every_piece_has_its_time_and_all_have_a_deadline(run):
    async def main():
        script = always(HEAD, *[chunk(b"x")] * 400, pause=0.02)
        silent = always(HEAD, *[chunk(b"x")] * 5, pause=0.02)
        for handler, pause, deadline in ((script, 0.2, 0.5), (silent, 0.3, 9.0)):
            async with replying(handler) as (reply, _):
                began = last = time.monotonic()

                def sink(_: bytes) -> bool:
                    nonlocal last
                    last = time.monotonic()
                    return True

                while True:
                    try:
                        await reply.relay_body(sink, pause, began + deadline)
                        await reply.read(began + deadline)
                    except UpstreamTimeout:
                        break
                now = time.monotonic()
                due = min(last + pause, began + deadline)
                assert due - 0.002 <= now <= due + 0.06
                reply.close()

    run(main())


def test_a_reader_that_leaves_gets_no_further_piece(run):
    async def main():
        script = always(HEAD, *[chunk(b"x")] * 100, pause=0.005)
        async with replying(script) as (reply, transport):
            got: list[bytes] = []
            task = asyncio.create_task(relayed(reply, got))
            await eventually(lambda: len(got) > 3)
            task.cancel()
            # Not one, though the bytes may be processed before the task is.
            count = len(got)
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.05)
            assert len(got) == count
            reply.close()
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())


def test_what_the_sink_raises_is_raised_to_the_reader(run):
    async def main():
        script = always(HEAD, *[chunk(b"x")] * 10, pause=0.005)
        async with replying(script) as (reply, transport):

            def sink(_: bytes) -> bool:
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await reply.relay_body(sink, 3.0, soon())
            reply.close()
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())


def test_a_secret_is_taken_out_of_pieces_however_they_are_cut(run):
    secret = "sk-0123456789abcdefghij"
    body = b'{"a": "' + secret.encode() + b'"}\n' * 3

    async def main():
        script = always(HEAD, *[chunk(body[at : at + 1]) for at in range(len(body))], b"0\r\n\r\n")
        async with replying(script) as (reply, _):
            reply.key_filter = KeyFilter([secret])
            got = await relayed(reply, [])
            assert secret.encode() not in got
            assert got.count(b'"}\n') == 3

    run(main())


def test_a_sink_that_stops_bounds_what_is_buffered(run):
    async def main():
        sent = 0

        async def handler(reader, writer):
            nonlocal sent
            await heard(reader)
            writer.transport.set_write_buffer_limits(high=0)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
            writer.write(HEAD)
            while sent < 50_000_000:
                writer.write(chunk(bytes(50_000)))
                await writer.drain()
                sent += 50_000

        async with replying(handler) as (reply, _):
            taken = 0

            def sink(data: bytes) -> bool:
                nonlocal taken
                taken += len(data)
                return taken < 5_000_000

            while taken < 5_000_000:
                await reply.relay_body(sink, 3.0, soon())
                if taken < 5_000_000:
                    taken += len(await reply.read(soon()))
            await asyncio.sleep(0.3)
            before = sent
            await asyncio.sleep(0.2)
            assert sent == before
            assert sent - taken <= 2 << 20
            reply.close()

    run(main())
