"""A thousand callers in one process: kept connections on which bare bytes are sent.

Invariants: a burst is over when every caller has been answered, so what is counted
never depends on how fast anybody was.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

__all__ = ["Burst", "Caller", "comes_true", "statuses", "wire"]

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def wire(
    body: Mapping[str, Any], key: str = "", path: str = "/v1/messages", **fields: str
) -> bytes:
    """One request. `fields` are header fields, with _ for -."""
    raw = orjson.dumps(body)
    if key:
        fields["x_api_key"] = key
    lines = [f"POST {path} HTTP/1.1", "host: vai", "content-type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    lines.append(f"content-length: {len(raw)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


class Caller(asyncio.Protocol):
    """One kept connection and the answer that comes on it."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False
        self._changed = asyncio.Event()
        self._transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        self._changed.set()

    def send(self, request: bytes) -> None:
        self.data = b""
        self._transport.write(request)

    async def until(self, needle: bytes, seconds: float = 30) -> None:
        """Wait until `needle` has come."""
        async with asyncio.timeout(seconds):
            while needle not in self.data:
                assert not self.lost, f"ended before {needle!r}: {self.data[-300:]!r}"
                self._changed.clear()
                await self._changed.wait()

    async def begun(self) -> int:
        """The status: of a stream when its head is here, of all else when it is complete."""
        await self.until(b"\r\n\r\n")
        head, _, body = self.data.partition(b"\r\n\r\n")
        found = _LENGTH.search(head + b"\r\n")
        while found and len(body) < int(found[1]):
            assert not self.lost, f"cut short: {self.data[-300:]!r}"
            self._changed.clear()
            async with asyncio.timeout(30):
                await self._changed.wait()
            body = self.data.partition(b"\r\n\r\n")[2]
        return self.status

    async def ended(self) -> int:
        """The status when the answer is complete, stream or not."""
        await self.begun()
        if b"content-length" not in self.data.partition(b"\r\n\r\n")[0].lower():
            await self.until(b"\r\n0\r\n\r\n")
        return self.status

    @property
    def status(self) -> int:
        return int(self.data[9:12])

    @property
    def head(self) -> dict[str, str]:
        lines = self.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return {name.lower(): value.strip() for name, _, value in pairs}

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    def leave(self) -> None:
        self._transport.abort()
        self.lost = True


class Burst:
    """Callers of one gateway, made once and used again; those that left are replaced."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._port = port
        self._source = source
        self._callers: list[Caller] = []

    async def callers(self, count: int) -> list[Caller]:
        """So many connections. They are opened a few at a time: no listener queues a thousand."""
        self._callers = [caller for caller in self._callers if not caller.lost]
        while (missing := count - len(self._callers)) > 0:
            self._callers += await asyncio.gather(*(self._open() for _ in range(min(missing, 50))))
        return self._callers[:count]

    async def _open(self) -> Caller:
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(
            Caller, "127.0.0.1", self._port, local_addr=(self._source, 0)
        )
        return caller

    async def send(self, count: int, request: bytes) -> list[Caller]:
        """Have so many callers send it at once; all of them, when each has its status."""
        callers = await self.callers(count)
        for caller in callers:
            caller.send(request)
        await asyncio.gather(*(caller.begun() for caller in callers))
        return callers

    def close(self) -> None:
        for caller in self._callers:
            caller.leave()


async def comes_true(probe: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for `probe`, with the loop turning."""
    async with asyncio.timeout(seconds):
        while not probe():
            await asyncio.sleep(0.005)


def statuses(callers: list[Caller]) -> Counter[int]:
    return Counter(caller.status for caller in callers)
