"""What a worker serves with: its listening socket, its server and its connections.

Sanic keeps all three in local variables of one function, so nobody can stop accepting
without stopping everything. They are picked up on the way in.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from inspect import getclosurevars, signature
from typing import TYPE_CHECKING, Any

from sanic.http import Stage
from sanic.server import runners
from sanic.worker import serve as worker_serve_module

from vai.gateway.repairs import sockets
from vai.gateway.repairs.protocol import repaired

if TYPE_CHECKING:
    from asyncio import AbstractServer

    from vai.gateway.repairs.protocol import Repaired

__all__ = ["Serving", "apply"]

_POLL = 0.02


class Serving:
    """The open ends of this worker, for whoever has to close them in order."""

    def __init__(self) -> None:
        self.connections: set[Repaired] = set()
        self.ending = False
        self.server: AbstractServer | None = None
        self._listener: socket.socket | None = None

    def keep_listener(self, listener: socket.socket | None) -> None:
        """Remember the listening socket; as a copy, because the server closes its own."""
        self._listener = listener.dup() if listener is not None else None

    def last_requests(self) -> None:
        """From now on every answer ends its connection."""
        self.ending = True
        for connection in self.connections:
            if (http := connection.http) is not None:
                http.keep_alive = False

    def stop_accepting(self) -> None:
        """Leave new connections to the other workers."""
        if self.server is not None:
            self.server.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def refuse_connections(self) -> None:
        """Have the kernel refuse new connections, for all processes that share the socket.

        Without it they would wait unanswered until main closes the socket at last.
        """
        if self._listener is not None:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                # Workers that stop at the same time both do this; the second finds it done.
                if error.errno != errno.ENOTCONN:
                    raise

    async def flushed(self, seconds: float) -> None:
        """Wait until no connection has an answer on its way, at most that long."""
        deadline = time.monotonic() + seconds
        # Polled: an event would have to be kept right by every answer, for one use.
        while any(_busy(c) for c in self.connections) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)


def _busy(connection: Repaired) -> bool:
    http = connection.http
    return http is not None and http.stage not in (Stage.IDLE, Stage.REQUEST)


def apply() -> None:
    """Patch Sanic. Harmless when done before."""
    if getattr(runners._serve_http_1, "repaired", False):
        return
    serve = _watch_serve(runners._serve_http_1)
    runners._serve_http_1 = serve
    vars(worker_serve_module)["_serve_http_1"] = serve  # imported by name there
    runners._run_server_forever = _watch_run(runners._run_server_forever)


def _watch_serve(original: Callable[..., Any]) -> Callable[..., Any]:
    parameters = signature(original)

    def serve(*args: Any, **kwargs: Any) -> Any:
        call = parameters.bind(*args, **kwargs)
        arguments = call.arguments
        serving: Serving = arguments["app"].ctx.serving
        arguments["protocol"] = repaired(arguments["protocol"])
        if arguments["connections"] is None:
            arguments["connections"] = serving.connections
        serving.connections = arguments["connections"]
        serving.keep_listener(arguments["sock"])
        # 100 by default: in a burst the kernel drops what is over, and clients wait a second.
        arguments["backlog"] = max(arguments["backlog"], sockets.BACKLOG)
        return original(*call.args, **call.kwargs)

    serve.repaired = True  # type: ignore[attr-defined]
    return serve


def _watch_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(loop: Any, before_stop: Any, after_stop: Any, cleanup: Any, unix: Any, pid: int) -> Any:
        # before_stop is a partial of a bound method of the app; the server is only to be
        # had from the closure that closes it.
        app = before_stop.func.__self__
        if cleanup is not None:
            app.ctx.serving.server = getclosurevars(cleanup).nonlocals["http_server"]
        return original(loop, before_stop, after_stop, cleanup, unix, pid)

    return run
