"""Framing, reuse, truncation and flow control, against scripted upstreams."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tests.io.http.scripted import (
    OK,
    POST,
    always,
    eventually,
    heard,
    origin,
    reset,
    send,
    serving,
    soon,
    upstream,
    whole,
)
from vai.errors import UpstreamBroken, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from vai.io.http.connection import BUFFER_LIMIT
from vai.io.http.transport import VaiTransport
from vai.types.provider import WireRequest

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"

WHOLE = {
    "length": (OK, b"hello", True),
    "length 0": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
    "chunked": (CHUNKED, b"hello!", True),
    "chunked, trailers": (CHUNKED[:-2] + b"X-Sum: 1\r\n\r\n", b"hello!", True),
    "chunked, extension": (CHUNKED.replace(b"5\r", b"5;a=b\r"), b"hello!", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True),
    "100 first": (b"HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\n" + OK, b"hello", True),
    "103 twice": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 2 + OK, b"hello", True),
    "error status": (OK.replace(b"200 OK", b"529 Overloaded"), b"hello", True),
    "connection close": (OK.replace(b"Con", b"Connection: close\r\nCon", 1), b"hello", False),
    "HTTP/1.0": (OK.replace(b"1.1", b"1.0"), b"hello", False),
    "identity": (OK.replace(b"Con", b"Content-Encoding: identity\r\nCon", 1), b"hello", True),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_every_framing_in_any_chop(run, name, step):
    answer, body, kept = WHOLE[name]
    pieces = [answer[at : at + step] for at in range(0, len(answer), step)]

    async def main():
        connections = []

        async def handler(reader, writer):
            connections.append(writer)
            await always(*pieces)(reader, writer)

        async with serving(handler) as port, VaiTransport() as transport:
            for _ in range(2):
                reply = await send(transport, port)
                assert await whole(reply) == body
                assert "x-a" not in reply.headers
                assert "x-sum" not in reply.headers
                assert not reply.ended_by_close
            assert len(connections) == (1 if kept else 2)

    run(main())


def test_a_body_without_length_ends_with_the_connection_and_says_so(run):
    async def main():
        answer = b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo"
        async with serving(always(*answer, close=True)) as port, VaiTransport() as transport:
            reply = await send(transport, port)
            assert await whole(reply) == b"hello"
            assert reply.ended_by_close
            await eventually(lambda: transport.get_stats().open == 0)

    run(main())


def test_head_has_no_body_whatever_its_headers_say(run):
    async def main():
        accepted = []

        async def handler(reader, writer):
            accepted.append(1)
            while True:
                await heard(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")

        async with serving(handler) as port, VaiTransport() as transport:
            from vai.io.http.transport import send_request

            for _ in range(3):
                head = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
                reply = await send_request(
                    transport.get_pool(origin(port)), head, b"", bodiless=True,
                    wait_until=soon(), connect_deadline=soon(), headers_deadline=soon(),
                )  # fmt: skip
                assert await reply.read(soon()) == b""
            assert len(accepted) == 1

    run(main())


@pytest.mark.parametrize("kind", ["FIN", "RST"])
@pytest.mark.parametrize("answer", [OK, CHUNKED], ids=["length", "chunked"])
def test_truncation_at_every_offset_is_an_error(run, answer, kind):
    async def main():
        async def handler(reader, writer):
            head, _ = await heard(reader)
            writer.write(answer[: int(head.split()[1][1:])])
            await asyncio.sleep(0.002)  # a RST overtakes what has not been read
            if kind == "RST":
                reset(writer)

        head_end = answer.index(b"\r\n\r\n") + 4
        async with serving(handler) as port, VaiTransport() as transport:
            for cut in range(len(answer) + 1):
                request = WireRequest("POST", f"/{cut}", (), b"")
                got = b""
                try:
                    reply = await send(transport, port, request)
                    while piece := await reply.read(soon()):
                        got += piece
                except UpstreamFault as fault:
                    expected = (
                        (UpstreamUnreachable, "upstream_reset")
                        if cut < head_end
                        else (UpstreamBroken, "upstream_truncated")
                    )
                    ended = (type(fault), fault.code)
                else:
                    expected = ended = None
                    assert cut == len(answer)
                assert ended == expected
                assert b"hello!".startswith(got)
            await eventually(lambda: transport.get_stats().open == 0)

    run(main())


GARBAGE = {
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "bare LF head": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "two lengths": OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\n"),
    "length and chunked": OK.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "negative length": OK.replace(b" 5", b" -5"),
    "space before colon": OK.replace(b"Length:", b"Length :"),
    "NUL in a value": OK.replace(b"\r\n\r\n", b"\r\nX-A: a\x00b\r\n\r\n"),
    "CR in a value": OK.replace(b"\r\n\r\n", b"\r\nX-A: a\rX-B: b\r\n\r\n"),
    "folded value": OK.replace(b"\r\n\r\n", b"\r\nX-A: a\r\n b\r\n\r\n"),
    "bad chunk size": CHUNKED.replace(b"5\r\nh", b"0x5\r\nh"),
    "101": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
    "101 unasked": b"HTTP/1.1 101 Switching\r\n\r\n",
    "status 999": OK.replace(b"200", b"999"),
    "gzip": OK.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"),
    "transfer gzip": CHUNKED.replace(b": chunked", b": gzip, chunked"),
    "one huge header": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: aaaaaaaaaaaaaa\r\n" * 5_000 + b"\r\n",
    "endless 1xx": b"HTTP/1.1 102 Processing\r\nX-A: aaaa\r\n\r\n" * 5_000,
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
def test_an_answer_that_is_none(run, name):
    async def main():
        async with serving(always(GARBAGE[name])) as port, VaiTransport() as transport:
            with pytest.raises(UpstreamBroken) as caught:
                await whole(await send(transport, port))
            expected = "upstream_encoding" if "gzip" in name else "upstream_protocol"
            assert caught.value.code == expected
            await eventually(lambda: transport.get_stats().open == 0)

    run(main())


def test_endless_trailers_are_cut(run):
    async def main():
        trailers = [b"X-T: " + b"t" * 4000] + [b"t" * 4000] * 30
        async with serving(always(CHUNKED[:-2], *trailers)) as port, VaiTransport() as transport:
            with pytest.raises(UpstreamBroken):
                await whole(await send(transport, port))

    run(main())


def test_garbage_inside_the_body_comes_after_what_was_sound(run):
    async def main():
        bad = CHUNKED.replace(b"1\r\n!", b"zz\r\n!")
        async with serving(always(bad)) as port, VaiTransport() as transport:
            reply = await send(transport, port)
            assert await reply.read(soon()) == b"hello"
            with pytest.raises(UpstreamBroken):
                await reply.read(soon())

    run(main())


@pytest.mark.parametrize("extra", [OK, b"x", b"\x00\x01", b"HTTP/1.1 500"])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_behind_the_answer_never_answer_the_next_request(run, extra, together):
    async def main():
        accepted = []

        async def handler(reader, writer):
            accepted.append(1)
            while True:
                await heard(reader)
                writer.write(OK + extra if together else OK)
                if not together:
                    await asyncio.sleep(0.01)
                    writer.write(extra)

        async with serving(handler) as port, VaiTransport() as transport:
            for turn in range(3):
                reply = await send(transport, port)
                assert (reply.status, await whole(reply)) == (200, b"hello")
                await asyncio.sleep(0.03)
                assert len(accepted) == turn + 1
                assert transport.get_stats().idle == 0

    run(main())


def test_an_idle_connection_that_ends_or_speaks_is_gone_at_once(run):
    async def main():
        for bad in (b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"):

            async def handler(reader, writer, bad=bad):
                await heard(reader)
                writer.write(OK)
                await asyncio.sleep(0.02)
                writer.write(bad)

            async with serving(handler) as port, VaiTransport() as transport:
                await whole(await send(transport, port))
                assert transport.get_stats() == (1, 1, 0)
                await eventually(lambda t=transport: t.get_stats() == (0, 0, 0))

    run(main())


def stale_server(log):
    async def handler(reader, writer):
        log.append("accepted")
        await heard(reader)
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")  # the second request meets a closed door
        reset(writer)

    return handler


def test_a_stale_connection_is_named_for_a_post_and_replaced_for_a_get(run):
    async def main():
        log: list[str] = []
        async with serving(stale_server(log)) as port, VaiTransport() as transport:
            await whole(await send(transport, port))
            with pytest.raises(UpstreamUnreachable) as caught:
                await send(transport, port)
            assert caught.value.code == "upstream_stale"
            assert len(log) == 1
            await whole(await send(transport, port))
            import httpx

            async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{port}/")
            assert answer.text == "hello"
            assert len(log) == 3

    run(main())


def test_an_answer_before_the_request_is_through(run):
    async def main():
        async def handler(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK.replace(b"200 OK", b"413 Too Large"))
            await asyncio.sleep(1)

        big = WireRequest("POST", "/", (), b"x" * 30_000_000)
        async with serving(handler) as port, VaiTransport() as transport:
            reply = await send(transport, port, big)
            assert (reply.status, await whole(reply)) == (413, b"hello")
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())


def test_a_large_request_arrives_whole(run):
    async def main():
        seen = []

        async def handler(reader, writer):
            seen.append(await heard(reader))
            writer.write(OK)

        body = bytes(range(256)) * 20_000
        async with serving(handler) as port, VaiTransport() as transport:
            await whole(await send(transport, port, WireRequest("POST", "/", (), body)))
            assert seen[0][1] == body

    run(main())


def test_what_is_buffered_comes_in_one_read_without_waiting(run):
    async def main():
        chunks = [b"1\r\n%d\r\n" % digit for digit in range(10)]
        answer = CHUNKED[: CHUNKED.index(b"5\r\n")]
        script = always(answer, *chunks, b"0\r\n\r\n")
        async with serving(script) as port, VaiTransport() as transport:
            reply = await send(transport, port)
            await asyncio.sleep(0.1)
            assert await reply.read(0.0) == b"0123456789"
            assert await reply.read(0.0) == b""
            assert transport.get_stats() == (1, 1, 0)

    run(main())


def test_a_reader_that_does_not_read_stops_the_upstream(run):
    async def main():
        sent = 0
        total = 50_000_000

        async def handler(reader, writer):
            nonlocal sent
            await heard(reader)
            writer.transport.set_write_buffer_limits(high=0)
            # Not to count what the sender's own kernel takes, up to 4 MB.
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            while sent < total:
                writer.write(bytes(50_000))
                await writer.drain()
                sent += 50_000

        async with serving(handler) as port, VaiTransport() as transport:
            reply = await send(transport, port)
            await asyncio.sleep(0.3)
            before = sent
            await asyncio.sleep(0.2)
            assert sent == before < total
            connection = reply._connection
            assert connection._size <= BUFFER_LIMIT + 256 * 1024
            assert sent <= 2 << 20
            # Nor after a fast stretch, by which the kernel lets a receive buffer grow.
            got = 0
            while got < total // 2:
                got += len(await reply.read(soon()))
            await asyncio.sleep(0.2)
            assert sent - got <= 2 << 20
            while piece := await reply.read(soon()):
                got += len(piece)
            assert got == total
            assert transport.get_stats() == (1, 1, 0)

    run(main())


@pytest.mark.timing
def test_each_timer_fires_at_its_own_time(run):
    async def main():
        async def handler(reader, writer):
            head, _ = await heard(reader)
            if b"/body" in head:
                writer.write(OK[:-2])
            await asyncio.sleep(5)

        async with serving(handler) as port, VaiTransport() as transport:
            for setting in (0.15, 0.4):
                began = time.monotonic()
                with pytest.raises(UpstreamTimeout) as caught:
                    await upstream(transport, port).send_request(
                        POST, connect_deadline=soon(), headers_deadline=began + setting
                    )
                assert caught.value.code == "headers_timeout"
                assert setting <= time.monotonic() - began + 0.002 <= setting * 1.1 + 0.01
            reply = await send(transport, port, WireRequest("POST", "/body", (), b""))
            assert await reply.read(soon()) == b"hel"
            # A later deadline first, an earlier one next, and the answer survives both.
            for setting in (0.3, 0.15, 0.2):
                began = time.monotonic()
                with pytest.raises(UpstreamTimeout) as caught:
                    await reply.read(began + setting)
                assert caught.value.code == "read_timeout"
                assert setting <= time.monotonic() - began + 0.002 <= setting * 1.1 + 0.01
            reply.close()
            with pytest.raises(UpstreamFault):
                await reply.read(soon())
            await eventually(lambda: transport.get_stats() == (0, 0, 0))

    run(main())


def test_one_timer_serves_many_waits(run):
    async def main():
        chunks = [b"1\r\nx\r\n"] * 50
        answer = CHUNKED[: CHUNKED.index(b"5\r\n")]
        script = always(answer, *chunks, b"0\r\n\r\n", pause=0.002)
        async with serving(script) as port, VaiTransport() as transport:
            reply = await send(transport, port)
            loop, armed = asyncio.get_running_loop(), []
            connection = reply._connection
            plain = connection._start_timer
            spy = type("Spy", (type(connection),), {
                "_start_timer": lambda self, until: (armed.append(until), plain(until)),
                "__slots__": (),
            })  # fmt: skip
            connection.__class__ = spy
            reads = 0
            while await reply.read(loop.time() + 10):
                reads += 1
            assert reads > 20
            assert len(armed) <= 1

    run(main())


def test_a_reset_does_not_end_a_body_without_length(run):
    async def main():
        async def handler(reader, writer):
            await heard(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nhel")
            await asyncio.sleep(0.02)
            reset(writer)

        async with serving(handler) as port, VaiTransport() as transport:
            reply = await send(transport, port)
            assert await reply.read(soon()) == b"hel"
            with pytest.raises(UpstreamBroken) as caught:
                await reply.read(soon())
            assert caught.value.code == "upstream_truncated"

    run(main())


@pytest.mark.timing
def test_a_deadline_armed_for_an_earlier_wait_does_not_end_a_later_one(run):
    async def main():
        async def handler(reader, writer):
            await heard(reader)
            writer.write(OK[:-2])
            await asyncio.sleep(0.05)
            writer.write(b"l")
            await asyncio.sleep(3)

        async with serving(handler) as port, VaiTransport() as transport:
            began = time.monotonic()
            reply = await upstream(transport, port).send_request(
                POST, connect_deadline=soon(), headers_deadline=began + 0.12
            )
            assert await reply.read(began + 0.12) == b"hel"
            assert await reply.read(began + 0.12) == b"l"
            with pytest.raises(UpstreamTimeout):
                await reply.read(began + 0.3)
            assert 0.298 <= time.monotonic() - began <= 0.34
            connection = reply._connection
            with pytest.raises(UpstreamTimeout):
                await reply.read(began + 0.35)
            connection.wait_for_change(soon(600))
            reply.close()
            assert connection._timer is None  # nothing holds the dead connection for minutes

    run(main())
