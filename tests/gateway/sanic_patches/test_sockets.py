"""What accepted sockets are told."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from vai.gateway.sanic_patches.sockets import UNSENT_LIMIT, reset_connection, tune_socket


class _Server(asyncio.Protocol):
    def __init__(self, seen: asyncio.Future[tuple[int, int]]) -> None:
        self._seen = seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tune_socket(transport)
        sock = transport.get_extra_info("socket")
        no_delay = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        unsent = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        self._seen.set_result((no_delay, unsent))
        transport.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="not on this system")
def test_accepted_sockets_send_at_once_and_keep_little() -> None:
    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        seen: asyncio.Future[tuple[int, int]] = loop.create_future()
        server = await loop.create_server(lambda: _Server(seen), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            found = await asyncio.wait_for(seen, 5)
            writer.close()
            return found

    no_delay, unsent = asyncio.run(main())
    assert no_delay
    assert unsent == UNSENT_LIMIT


def test_a_unix_socket_is_left_alone() -> None:
    here, there = socket.socketpair()

    class Transport(asyncio.BaseTransport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return here

    with here, there:
        tune_socket(Transport())


def test_a_connection_that_is_closed_already_is_left_alone() -> None:
    """A stream's timer may fire after its client left; uvloop then has no descriptor to give."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[asyncio.BaseTransport] = loop.create_future()
        lost = asyncio.Event()

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                transport.get_extra_info("socket")
                made.set_result(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                lost.set()

        server = await loop.create_server(Server, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            transport = await asyncio.wait_for(made, 5)
            writer.close()
            await asyncio.wait_for(lost.wait(), 5)
            while transport.get_extra_info("socket").fileno() >= 0:
                await asyncio.sleep(0.001)
            reset_connection(transport)
            tune_socket(transport)

    uvloop.run(main())
