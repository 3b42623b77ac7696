"""A connection in its TLS handshake counts as one, and many of them make no burst dearer."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
import uvloop
from sanic import Sanic
from sanic.models.server_types import Signal

from vai.gateway.sanic_patches import takeover
from vai.gateway.sanic_patches.deadlines import Deadlines, ReceiveLimits
from vai.gateway.sanic_patches.protocol import PatchedHttpProtocol
from vai.gateway.sanic_patches.serving import ServerEnds

pytestmark = pytest.mark.e2e

_BACKLOG = 512


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's, with a certificate of its own."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    key, certificate = (tmp_path_factory.mktemp("tls") / name for name in ("key", "certificate"))
    files = ("-subj", "/CN=localhost", "-keyout", key, "-out", certificate)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files],
        check=True,
        capture_output=True,
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


class _Worker:
    """Accepts as a worker does, with its class of connections, and keeps what it shows others."""

    def __init__(self, context: ssl.SSLContext, patience: float) -> None:
        app: Sanic[Any, Any] = Sanic(f"Handshakes-{id(self)}", configure_logging=False)
        app.signal_router.finalize()
        app.ctx.deadlines = Deadlines(ReceiveLimits(head=patience))
        app.ctx.membership = SimpleNamespace(share_connections=self._show)
        self.shown: list[int] = []
        self.serving = app.ctx.serving = ServerEnds()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.serving.keep_listener(self._listener)
        arguments = {"app": app, "loop": asyncio.get_running_loop(), "ssl": context}
        arguments |= {"protocol": PatchedHttpProtocol, "connections": self.serving.connections}
        arguments |= {"signal": Signal(), "state": {"requests_count": 0}, "unix": None}
        arguments |= {"backlog": _BACKLOG}
        self.acceptor = self.serving.acceptor = takeover._make_acceptor(self.serving, arguments)
        self.acceptor.start()

    def _show(self, count: int) -> list[int]:
        self.shown.append(count)
        return []

    @property
    def count(self) -> int:
        """Connections that the worker counts."""
        return self.acceptor._count_open()

    async def until_it_counts(self, number: int) -> None:
        async with asyncio.timeout(5):
            while self.count != number:
                await asyncio.sleep(0.002)

    def connect(self) -> socket.socket:
        """A client that has not begun its handshake."""
        client = socket.create_connection(self._listener.getsockname())
        client.setblocking(False)
        return client

    def end(self) -> None:
        self.serving.stop_accepting()
        self._listener.close()


# -- a handshake ends ----------------------------------------------------------------------


async def _leave(client: socket.socket) -> None:
    client.close()


async def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def _send_plain_text(client: socket.socket) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")


async def _be_cancelled(_: socket.socket) -> None:
    for task in asyncio.all_tasks():
        if "_open_connection" in repr(task.get_coro()):
            task.cancel()


async def _say_nothing(_: socket.socket) -> None:
    """The worker ends it after its time."""


async def _complete(client: socket.socket) -> None:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(sock=client, ssl=trusting, server_hostname="t")
    await asyncio.sleep(0.05)
    writer.transport.abort()


_ENDS = (_leave, _reset, _send_plain_text, _be_cancelled, _say_nothing, _complete)


@pytest.mark.parametrize("stops", [False, True], ids=["accepting", "stopped"])
@pytest.mark.parametrize("end", _ENDS)
def test_a_connection_counts_once_until_its_handshake_or_itself_ends(
    context: ssl.SSLContext, end: Callable[[socket.socket], Coroutine[Any, Any, None]], stops: bool
) -> None:
    async def main() -> None:
        worker = _Worker(context, 1 if end is _say_nothing else 30)
        seen: set[tuple[int, int]] = set()

        async def watch() -> None:
            while True:
                seen.add((worker.count, len(worker.serving.connections)))
                await asyncio.sleep(0)  # each turn of the loop

        watching = asyncio.create_task(watch())
        with worker.connect() as client:
            await worker.until_it_counts(1)
            if stops:
                worker.serving.stop_accepting()
            await end(client)
            await worker.until_it_counts(0)
        watching.cancel()
        assert seen == {(0, 0), (1, 0)} | ({(1, 1)} if end is _complete else set())
        assert worker.shown[-1] == (1 if stops else 0)
        worker.end()

    uvloop.run(main())


# -- what a burst costs --------------------------------------------------------------------


def _steps_of(act: Callable[[], object]) -> int:
    """Steps that the interpreter takes in `takeover` for one call of `act`."""
    steps = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != takeover.__file__:
            return None
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return steps


def test_a_burst_costs_the_same_with_many_unfinished_handshakes(context: ssl.SSLContext) -> None:
    async def main() -> None:
        worker = _Worker(context, 30)
        with ExitStack() as stack:

            def steps_of_burst() -> int:
                for _ in range(5):
                    stack.enter_context(worker.connect())
                return _steps_of(worker.acceptor._accept_waiting)

            few = steps_of_burst()
            await worker.until_it_counts(5)
            for _ in range(200):
                stack.enter_context(worker.connect())
            await worker.until_it_counts(205)
            assert steps_of_burst() == few > 100
        await worker.until_it_counts(0)
        worker.end()

    uvloop.run(main())
