"""WebSocket connections on real sockets, frame by frame."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest
import websockets

from tests.canary import PROMPT
from tests.gateway.group import Group, group, until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def running() -> Iterator[Group]:
    with group("--single-process", "--debug", ping=0.5, deaf=2) as started:
        started.ready(workers=1)
        yield started


def _frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    assert len(payload) < 126
    return struct.pack("!BB", (fin << 7) | opcode, 0x80 | len(payload)) + mask + masked


def _handshake(running: Group, path: str) -> socket.socket:
    sock = running.connect()
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert b" 101 " in answer
    return sock


def _close_code(sock: socket.socket) -> tuple[int, float]:
    """The code of the close frame, skipping what comes before it."""
    began = time.monotonic()
    while True:
        first, second = _exactly(sock, 2)
        payload = _exactly(sock, second & 0x7F)
        if first & 0x0F == 8:
            return struct.unpack("!H", payload[:2])[0], time.monotonic() - began


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        assert chunk, "closed without a close frame"
        data += chunk
    return data


@pytest.mark.timing
@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (_frame(1, PROMPT.encode() + b"\xff\xfe"), 1007),
        (_frame(1, PROMPT.encode(), fin=False) + _frame(0, b"\xc3"), 1007),
        (_frame(1, b"\xed\xa0\x80", fin=False), 1007),
        (_frame(0x41, b"rsv1"), 1002),
        (_frame(3, b"opcode"), 1002),
        (_frame(0, b"no start"), 1002),
    ],
    # The frames are masked at random, and parallel runs must agree on the names of the tests.
    ids=["no utf-8", "no utf-8 at the end", "surrogate", "reserved bit", "opcode", "no start"],
)
def test_bad_frames_close_with_their_code_and_leave_no_trace(
    running: Group, frames: bytes, code: int
) -> None:
    with _handshake(running, "/ws/echo") as sock:
        sock.sendall(frames + _frame(9, b"and one that was good"))
        closed, took = _close_code(sock)
    assert closed == code
    assert took < 0.5
    log = running.log()
    assert PROMPT not in log
    assert "UnicodeDecodeError" not in log
    assert "never retrieved" not in log


def test_utf8_may_be_split_over_frames(running: Group) -> None:
    with _handshake(running, "/ws/echo") as sock:
        sock.sendall(_frame(1, b"\xe2\x82", fin=False) + _frame(9, b"p") + _frame(0, b"\xac"))
        assert _exactly(sock, 3) == b"\x8a\x01p", "the pong does not wait for the message"
        assert _exactly(sock, 5) == b"\x81\x03\xe2\x82\xac"


def test_messages_come_in_order_and_whole(running: Group) -> None:
    async def main() -> None:
        url = f"ws://127.0.0.1:{running.port}/ws/echo"
        async with websockets.connect(url, ping_interval=None) as ws:

            async def feed() -> None:
                for number in range(3000):
                    await ws.send(number.to_bytes(4) * 100)

            feeder = asyncio.create_task(feed())
            for number in range(3000):
                assert await ws.recv() == number.to_bytes(4) * 100
            await feeder
            big = "ä" * 400_000
            await ws.send(big)
            assert await ws.recv() == big

    asyncio.run(main())


def test_unread_messages_do_not_starve_pongs_and_are_bounded(running: Group) -> None:
    async def main() -> None:
        url = f"ws://127.0.0.1:{running.port}/ws/deaf"
        async with websockets.connect(url, ping_interval=0.2, ping_timeout=1) as ws:
            await ws.send("unread")
            # Twice the ping interval and timeout of 0.5 s together.
            assert await ws.recv() == "1"
        async with websockets.connect(url, ping_interval=None, write_limit=1 << 22) as ws:
            for _ in range(64):
                await ws.send(b"x" * 32768)
            answer = await ws.recv()
            assert 0 < int(answer) <= 2 * 262144 // 32768 + 1, answer

    asyncio.run(main())


def test_a_reader_that_stalls_is_cut_by_the_send_deadline(running: Group) -> None:
    with _handshake(running, "/ws/flood"):
        until(lambda: "flood ended: write_stall" in running.log(), 5)


def test_a_client_that_closes_is_answered(running: Group) -> None:
    with _handshake(running, "/ws/echo") as sock:
        sock.sendall(_frame(8, struct.pack("!H", 1000)))
        assert _close_code(sock)[0] == 1000
