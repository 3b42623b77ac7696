"""pytest-sanic on the Sanic and websockets of today.

pytest-sanic 1.9.1 is the last release: it starts servers by a protocol that Sanic left
behind, so its two server classes get new start, stop and WebSocket methods here; its
fixtures (`sanic_client`, `test_server`) and its collection of `async def` tests are used
as they are. The server runs in the test's own loop; what needs several processes is
tested on real `vai serve` processes instead.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest
import pytest_sanic.utils as pytest_sanic
import websockets
from sanic import Sanic
from sanic.server.protocols.http_protocol import HttpProtocol
from sanic.server.protocols.websocket_protocol import WebSocketProtocol

pytest_plugins = ["pytester"]

# Sanic patches its classes once per process unless it knows that it is being tested.
Sanic.test_mode = True


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores SIGINT and hands that down to every process started
    # here; some tests interrupt theirs, as a terminal would.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_REPEATS = 2
_PURE = {"codec", "contract", "exchange", "policy", "providers", "simulator"}
"""Folders of tests that may run beside each other: no processes, no times."""
_NEEDS_THE_MACHINE = ("alone", "timing", "chaos", "e2e", "slow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only pure tests are wanted, do not import the others: that takes seconds."""
    is_top = collection_path.parent == Path(__file__).parent and collection_path.is_dir()
    wants_pure = str(config.option.markexpr).startswith("pure")
    return True if wants_pure and is_top and collection_path.name not in _PURE else None


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests whose subject is wall-clock time two more tries, which the summary counts.

    On a shared machine any process may stand still for a fifth of a second. A defect fails
    every time; a neighbour's burst does not. All other tests have one try.

    Mark the tests that may run in parallel `pure`.
    """
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in _PURE and not any(map(item.get_closest_marker, _NEEDS_THE_MACHINE)):
            item.add_marker(pytest.mark.pure)
        if item.get_closest_marker("timing") or item.get_closest_marker("chaos"):
            item.add_marker(pytest.mark.flaky(reruns=_REPEATS, reruns_delay=1))


async def _start(self: pytest_sanic.TestServer) -> None:
    self.socket = socket.create_server((self.host, 0), backlog=self.backlog)
    self.port = self.socket.getsockname()[1]
    wanted = WebSocketProtocol if self.app.websocket_enabled else HttpProtocol
    self.server = await self.app.create_server(
        sock=self.socket,
        protocol=wanted if self.protocol is HttpProtocol else self.protocol,
        ssl=self.ssl,
        access_log=False,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    await self.server.startup()
    await self.server.before_start()
    await self.server.start_serving()
    await self.server.after_start()
    self.is_running = True


async def _close(self: pytest_sanic.TestServer) -> None:
    if not self.is_running or self.closed:
        return
    self.closed = True
    await self.server.before_stop()
    self.server.close()
    for connection in list(self.server.connections):
        if connection.close_if_idle():
            continue
        websocket = getattr(connection, "websocket", None)
        if websocket is not None:
            websocket.fail_connection(1001)
        else:
            connection.abort()
    await asyncio.sleep(0)  # let the aborted handlers see it before the stop listeners run
    await self.server.after_stop()
    self.is_running = False


async def _connect(
    self: pytest_sanic.TestClient, uri: str, **options: object
) -> websockets.ClientConnection:
    url = "ws" + self._server.make_url(uri).removeprefix("http")
    connection = await websockets.connect(url, **options)
    self._websockets.append(connection)
    return connection


pytest_sanic.TestServer.start_server = _start
pytest_sanic.TestServer.close = _close
pytest_sanic.TestClient.ws_connect = _connect
