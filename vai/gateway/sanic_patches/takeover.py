"""Where Sanic makes a server, it gets the repaired parts.

Which protocol class serves is chosen in many places of Sanic (`run`, `prepare`,
`create_server`, the command line), always by name; they all pass the function that is
replaced here. The server's open ends are picked up on the same way.
"""

from __future__ import annotations

import os
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
from vai.gateway.sanic_patches.signals import StopSignals

__all__ = ["patch_server"]


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
    """What accepts in place of libuv; made of what Sanic would make its server of."""
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
