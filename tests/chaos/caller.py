"""A client that can misbehave: it leaves whenever it likes and says when it did."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import Literal, cast

import orjson

from tests.canary import KEY, PROMPT

__all__ = ["Caller", "Leave", "call", "request"]

Leave = Literal["fin", "reset"]
_RESET = struct.pack("ii", 1, 0)


def request(
    model: str,
    *,
    stream: bool,
    request_id: str = "",
    text: str = PROMPT,
    max_tokens: int = 1_000_000,
    close: bool = False,
) -> bytes:
    """The bytes of one Messages request."""
    said = {
        "model": model,
        "max_tokens": max_tokens,
        "stream": stream,
        "messages": [{"role": "user", "content": text}],
    }
    body = orjson.dumps(said)
    lines = [
        "POST /v1/messages HTTP/1.1",
        "Host: vai",
        "Content-Type: application/json",
        f"X-API-Key: {KEY}",
        f"Content-Length: {len(body)}",
    ]
    if request_id:
        lines.append(f"X-Request-ID: {request_id}")
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Caller(asyncio.Protocol):
    """One connection. What came is in `data`; `left` is when the caller let go of it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended: float | None = None
        self.left: float | None = None
        self.port = 0
        self._changed = asyncio.Event()
        self._transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    def connection_lost(self, _: Exception | None) -> None:
        self.ended = time.monotonic()
        self._changed.set()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def pause(self) -> None:
        """Read nothing more."""
        self._transport.pause_reading()

    async def until(self, needle: bytes, seconds: float = 20) -> None:
        """Wait until `needle` has come."""
        async with asyncio.timeout(seconds):
            while needle not in self.data:
                assert self.ended is None, f"ended before {needle!r}: {bytes(self.data[-300:])!r}"
                self._changed.clear()
                await self._changed.wait()

    async def end(self, seconds: float = 20) -> bytes:
        """Wait until the gateway has closed; everything it sent."""
        async with asyncio.timeout(seconds):
            while self.ended is None:
                self._changed.clear()
                await self._changed.wait()
        return bytes(self.data)

    def leave(self, how: Leave = "fin") -> None:
        """Close now, with whatever is under way."""
        if how == "reset":
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.left = time.monotonic()
        self._transport.abort()

    @property
    def status(self) -> int:
        return int(self.data[9:12]) if len(self.data) > 12 else 0

    @property
    def body(self) -> bytes:
        return bytes(self.data).partition(b"\r\n\r\n")[2]


async def call(port: int, sent: bytes = b"", *, receive_buffer: int | None = None) -> Caller:
    """A connection to the gateway on which `sent` has been sent."""
    raw = socket.socket()
    raw.setblocking(False)
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(raw, ("127.0.0.1", port))
    except BaseException:
        raw.close()
        raise
    _, caller = await loop.create_connection(Caller, sock=raw)
    if sent:
        caller.send(sent)
    return caller
