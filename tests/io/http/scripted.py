"""Upstreams that say exactly what a test wants, byte for byte, on real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from vai.io.http import Endpoint, HttpUpstream, Origin
from vai.io.http.pool import PoolLimits
from vai.io.http.transport import VaiTransport
from vai.types.provider import WireRequest

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

POST = WireRequest("POST", "/v1/messages", (("content-type", "application/json"),), b"{}")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def soon(seconds: float = 3.0) -> float:
    return time.monotonic() + seconds


@asynccontextmanager
async def serving(
    handler: Handler, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Run `handler` for every connection on a free port; end all of them at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except RuntimeError as error:  # uvloop's word for a write after the peer left
            if "closed" not in str(error):
                raise
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accepted, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def heard(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next request: head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    return head, await reader.readexactly(size)


def always(*pieces: bytes, close: bool = False, pause: float = 0.0) -> Handler:
    """Answer every request with `pieces`, each in a write of its own."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await heard(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if close:
                return

    return handler


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def origin(port: int, scheme: str = "http", host: str = "127.0.0.1") -> Origin:
    return Origin(scheme, host, port)


def upstream(transport: VaiTransport, port: int, prefix: str = "") -> HttpUpstream:
    return HttpUpstream(transport, Endpoint(origin(port), prefix))


async def send(
    transport: VaiTransport, port: int, request: WireRequest = POST, within: float = 3.0
):
    return await upstream(transport, port).send_request(
        request, connect_deadline=soon(within), headers_deadline=soon(within)
    )


async def whole(reply, within: float = 3.0) -> bytes:
    body = b""
    while piece := await reply.read(soon(within)):
        body += piece
    return body


def limited(connections: int, idle: float = 30.0) -> VaiTransport:
    return VaiTransport(limits=PoolLimits(max_connections=connections, keepalive_idle=idle))


def open_sockets() -> int:
    """Of this process. Other files do not count: libuv keeps a spare one once it has closed any."""
    count = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(FileNotFoundError):  # the listing's own
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")  # noqa: PTH115
    return count


async def eventually(claim: Callable[[], bool], within: float = 1.0) -> None:
    until = soon(within)
    while not claim():
        assert time.monotonic() < until, "did not become true"
        await asyncio.sleep(0.005)
