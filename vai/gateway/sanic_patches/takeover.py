"""Where Sanic makes a server, it gets the repaired parts.

Which protocol class serves is chosen at many points of Sanic (`run`, `prepare`,
`create_server`, the command line), always by name; they all pass the function that is
replaced here. The server's open ends are picked up on the same way.

SIGINT and SIGTERM to a worker are heard before it listens, and none is lost.

Sanic installs its handlers when the socket already listens, so a signal right after the first
answer found none, and ended the process with its streams. They are also handlers of the
loop, and uvloop forgets a signal that comes while it is between two runs: Sanic runs it five
times until it serves. Handlers of the process run at once wherever the process is.

A stop before the loop runs for good would break off what Sanic waits for in that moment (a
RuntimeError and a traceback), so it is kept until then: that is after the start listeners.
"""

from __future__ import annotations

import os
import signal
from asyncio import AbstractEventLoop
from collections.abc import Callable
from functools import partial
from inspect import getclosurevars, signature
from typing import Any

from sanic import Sanic
from sanic.server import runners
from sanic.worker import serve as worker_serve_module

from vai.gateway.sanic_patches import sockets
from vai.gateway.sanic_patches.accepting import Acceptor, most_connections, raise_descriptor_limit
from vai.gateway.sanic_patches.protocol import patched_protocol
from vai.gateway.sanic_patches.serving import ServerEnds

__all__ = ["StopSignals", "patch_server"]


_STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """The first signal stops the server in order; a second one ends the process.

    Args:
        loop: that of the server.
        stop: called in the loop, once.
    """

    def __init__(self, loop: AbstractEventLoop, stop: Callable[[], object]) -> None:
        self._loop = loop
        self._stop = stop
        self._came = self._obeyed = False

    def start_listening(self) -> None:
        """From now on a signal is remembered. Call it in the main thread."""
        for number in _STOPPING:
            signal.signal(number, self._on_signal)

    def stop_server_on_signal(self) -> None:
        """From now on, and for one that came already, a signal stops the server."""
        self._obeyed = True
        if self._came:
            self._loop.call_soon(self._end_process)

    def _on_signal(self, *_: object) -> None:
        # The handler stays in place: both signals may have come at once, and Python complains
        # of the second when it finds no handler for it any more.
        if not self._came:
            self._came = True
            if self._obeyed:
                self._loop.call_soon_threadsafe(self._end_process)

    def _end_process(self) -> None:
        # Ctrl-C reaches a worker twice, from the terminal and from main.
        under_main = "SANIC_WORKER_NAME" in os.environ
        signal.signal(signal.SIGINT, signal.SIG_IGN if under_main else signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._stop()


def patch_server() -> None:
    """Patch Sanic. Harmless when done before."""
    if getattr(runners._serve_http_1, "repaired", False):
        return
    serve = _watch_serve(runners._serve_http_1)
    runners._serve_http_1 = serve
    vars(worker_serve_module)["_serve_http_1"] = serve  # imported by name there
    runners._run_server_forever = _watch_run(runners._run_server_forever)
    vars(runners)["_setup_system_signals"] = _leave_signals


def _watch_serve(original: Callable[..., Any]) -> Callable[..., Any]:
    parameters = signature(original)

    def serve(*args: Any, **kwargs: Any) -> Any:
        call = parameters.bind(*args, **kwargs)
        arguments = call.arguments
        app: Sanic[Any, Any] = arguments["app"]
        serving: ServerEnds = app.ctx.serving
        arguments["protocol"] = patched_protocol(arguments["protocol"])
        if arguments["connections"] is None:
            arguments["connections"] = serving.connections
        serving.connections = arguments["connections"]
        serving.keep_listener(arguments["sock"])
        # 100 by default: in a burst the kernel drops what is over, and clients wait a second.
        arguments["backlog"] = max(arguments["backlog"], sockets.BACKLOG)
        if arguments["sock"] is not None and not (arguments["unix"] or arguments["run_async"]):
            options = arguments["asyncio_server_kwargs"] or {}
            arguments["asyncio_server_kwargs"] = {**options, "start_serving": False}
            raise_descriptor_limit()
            serving.acceptor = _make_acceptor(serving, arguments)
        if arguments["register_sys_signals"] and not arguments["run_async"]:
            signals = StopSignals(arguments["loop"], partial(app.stop, terminate=False))
            app.ctx.signals = signals
            # The last start listener: what follows is the listening socket.
            app.before_server_start(_listen_for_signals(signals))
        return original(*call.args, **call.kwargs)

    serve.repaired = True  # type: ignore[attr-defined]
    return serve


def _make_acceptor(serving: ServerEnds, arguments: dict[str, Any]) -> Acceptor:
    """What accepts instead of libuv; made of what Sanic would make its server of."""
    app: Sanic[Any, Any] = arguments["app"]
    protocol: Any = arguments["protocol"]
    passed = {name: arguments[name] for name in ("loop", "connections", "signal", "state", "unix")}
    options = runners._build_protocol_kwargs(protocol, app.config)
    listener = serving.listener
    listener.listen(arguments["backlog"])
    return Acceptor(
        arguments["loop"],
        listener,
        partial(protocol, app=app, **passed, **options),
        tls=arguments["ssl"],
        handshake=app.ctx.deadlines.limits.head,
        connections=serving.connections,
        most=most_connections(),
    )


def _listen_for_signals(signals: StopSignals) -> Callable[[Sanic[Any, Any]], Any]:
    async def hear_signals(_: Sanic[Any, Any]) -> None:
        signals.start_listening()

    return hear_signals


def _watch_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(loop: Any, before_stop: Any, after_stop: Any, cleanup: Any, unix: Any, pid: int) -> Any:
        # before_stop is a partial of a bound method of the app; the server is only to be
        # had from the closure that closes it.
        app = before_stop.func.__self__
        if cleanup is not None:
            app.ctx.serving.server = getclosurevars(cleanup).nonlocals["http_server"]
        if app.ctx.serving.acceptor is not None:
            app.ctx.serving.acceptor.start()
        if (signals := getattr(app.ctx, "signals", None)) is not None:
            signals.stop_server_on_signal()
        return original(loop, before_stop, after_stop, cleanup, unix, pid)

    return run


def _leave_signals(*_: object) -> None:
    """Sanic's own handlers come after the socket listens; these are there already."""
    os.environ["SANIC_WORKER_PROCESS"] = "true"
