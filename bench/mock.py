"""The upstream of the load: as little work per answer as a Python process can do.

It reads only what it must (the end of the head, the length of the body, the kind of
answer, the number of events) and writes bytes that were made before. Paced streams
share one timer wheel of a millisecond's grain, because a timer per stream would cost
more than the event it sends. ``GET /stats`` tells what was written to the streams that
are open, which is how a run sees whether a gateway stops reading when it should. ``GET /step``
sends the next event of each stepped stream.

Run as ``python -m bench.mock PORT``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import orjson
import uvloop

from bench.wire import PERIOD_MS, anthropic_form, openai_form

__all__ = ["Mock", "serve"]

_BLOCK_EVENTS = 48
"""Events per write of a bulk stream: about 8 KiB."""

_FLAT_BURST = 5
"""Events that a flat stream writes before it rests for a millisecond: some thousand a second,
more than any gateway takes singly, and few enough to leave the mock's core some air."""

_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Wheel:
    """Calls each member's `tick` once per period, on the millisecond it joined."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: list[set[Connection]] = [set() for _ in range(PERIOD_MS)]
        self._members = 0
        self._turned = 0

    def join(self, member: Connection) -> int:
        """Take `member` in; the slot to give back to `leave`."""
        if not self._members:
            self._turned = self._now()
            self._loop.call_later(0.001, self._turn)
        self._members += 1
        slot = self._now() % PERIOD_MS
        self._slots[slot].add(member)
        return slot

    def leave(self, member: Connection, slot: int) -> None:
        """Forget `member`."""
        self._slots[slot].discard(member)
        self._members -= 1

    def _now(self) -> int:
        return int(self._loop.time() * 1000)

    def _turn(self) -> None:
        now = self._now()
        # A slot that was due several periods ago is still only late once: a mock that
        # caught up in a burst would blame its own stall on the gateway.
        for moment in range(max(self._turned + 1, now - PERIOD_MS + 1), now + 1):
            stamp = time.monotonic_ns()
            for member in tuple(self._slots[moment % PERIOD_MS]):
                member.tick(stamp)
        self._turned = now
        if self._members:
            self._loop.call_later(0.001, self._turn)


class Mock:
    """What the connections of one mock share."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.wheel = Wheel(loop)
        self.anthropic = anthropic_form()
        self.openai = openai_form()
        self.flowing: set[Connection] = set()
        self.stepped: set[Connection] = set()
        """Streams that send their next event when ``GET /step`` says so."""

    def stats(self) -> bytes:
        """JSON: how many flat and bulk streams are open, and what the sockets took for each."""
        taken = [connection.taken() for connection in self.flowing]
        return orjson.dumps({"streams": len(taken), "bytes": taken})


class Connection(asyncio.Protocol):
    """One connection of a client; answers one request after another."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock
        self._transport: asyncio.Transport
        self._rest = b""
        self._form = mock.anthropic
        self._left = 0
        self._slot = -1
        self._written = 0
        self._paused = False
        self._block = b""
        self._block_events = 1
        self._scheduled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if not self._scheduled:
            self._flow()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        while data:
            head_end = data.find(b"\r\n\r\n") + 4
            if head_end < 4:
                break
            end = head_end + _content_length(data[:head_end])
            if len(data) < end:
                break
            self._answer(data[:end], head_end)
            data = data[end:]
        self._rest = data

    def taken(self) -> int:
        """Bytes of the current stream that the kernel has taken off this process."""
        return self._written - self._transport.get_write_buffer_size()

    def tick(self, stamp: int) -> None:
        """Send the next event of a paced stream."""
        event = self._form.event(stamp)
        self._left -= 1
        if self._left <= 0:
            event += self._form.closing
            self._finish()
        self._transport.write(event)

    def _answer(self, request: bytes, head_end: int) -> None:
        if request.startswith(b"GET /stats"):
            stats = self._mock.stats()
            head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(stats)
            self._transport.write(head + stats)
            return
        if request.startswith(b"GET /step"):
            for stream in tuple(self._mock.stepped):
                stream.tick(time.monotonic_ns())
            self._transport.write(_NO_CONTENT)
            return
        chat = request.startswith(b"POST /v1/chat/completions")
        self._form = self._mock.openai if chat else self._mock.anthropic
        kind = request[request.index(b"mock-", head_end) + 5 :][:4]
        if kind == b"json":
            self._transport.write(self._form.json)
            return
        self._left = _max_tokens(request, head_end)
        self._transport.write(self._form.opening)
        if kind == b"step":
            self._mock.stepped.add(self)
            self.tick(time.monotonic_ns())
            return
        if kind == b"pace":
            self._slot = self._mock.wheel.join(self)
            self.tick(time.monotonic_ns())
            return
        self._block_events = _BLOCK_EVENTS if kind == b"bulk" else 1
        self._block = self._form.event(0) * self._block_events
        self._written = 0
        self._mock.flowing.add(self)
        self._flow()

    def _flow(self) -> None:
        """Write one block each turn of the loop: writes of one turn go out as one."""
        self._scheduled = False
        if self._paused or self not in self._mock.flowing:
            return
        self._left -= self._block_events
        self._written += len(self._block)
        self._transport.write(self._block)
        if self._left <= 0:
            self._transport.write(self._form.closing)
            self._finish()
            return
        self._scheduled = True
        if self._block_events == 1 and self._left % _FLAT_BURST == 0:
            self._mock.loop.call_later(0.001, self._flow)
        else:
            self._mock.loop.call_soon(self._flow)

    def _finish(self) -> None:
        if self._slot >= 0:
            self._mock.wheel.leave(self, self._slot)
            self._slot = -1
        self._mock.flowing.discard(self)
        self._mock.stepped.discard(self)


def _content_length(head: bytes) -> int:
    head = head.lower()
    start = head.find(b"\r\ncontent-length:")
    return int(head[start + 17 : head.index(b"\r\n", start + 17)]) if start >= 0 else 0


def _max_tokens(request: bytes, head_end: int) -> int:
    """The value of ``max_tokens`` or ``max_completion_tokens``, whichever came."""
    start = request.index(b'_tokens":', head_end) + 9
    return int(request[start : start + 12].lstrip().split(b",")[0].rstrip(b"}"))


async def serve(port: int) -> None:
    """Answer on ``127.0.0.1:port`` until cancelled."""
    loop = asyncio.get_running_loop()
    mock = Mock(loop)
    server = await loop.create_server(lambda: Connection(mock), "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
