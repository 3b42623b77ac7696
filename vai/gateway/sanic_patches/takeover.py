"""The repaired parts are put in where Sanic makes a server.

Sanic chooses the protocol class at many points (`run`, `prepare`, `create_server`, the command
line), always by name; they all call the function that this module replaces. The replacement also
stores the server's sockets and connections for the drain.

A worker handles SIGINT and SIGTERM before it listens, and loses none.

Sanic installs its handlers when the socket already listens, so a signal right after the first
response would find none, and end the process with its streams. They are also handlers of the
loop, and uvloop loses a signal that arrives between two runs of the loop: Sanic runs it five
times until it serves. Handlers of the process run at any time.

A stop before the loop runs for good would interrupt what Sanic waits for at that moment (a
RuntimeError and a traceback), so the worker defers it until then, after the start listeners.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import ssl
import struct
from asyncio import AbstractEventLoop, Protocol, Task
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from inspect import getclosurevars, signature
from typing import Any

from sanic import Sanic
from sanic.server import runners
from sanic.worker import serve as worker_serve_module

from vai.gateway.sanic_patches import sockets
from vai.gateway.sanic_patches.protocol import patched_protocol
from vai.gateway.sanic_patches.refusal import error_bytes
from vai.gateway.sanic_patches.serving import ServerEnds
from vai.io.warn import RateLimitedWarning

__all__ = [
    "PER_TURN",
    "Acceptor",
    "StopSignals",
    "most_connections",
    "patch_server",
    "raise_descriptor_limit",
]


PER_TURN = 64
_PAUSE = 0.1
"""Seconds for which a full worker leaves new connections to the others."""
_PATIENCE = 0.2
"""Seconds for which a worker that has its share does: more than a turn of a busy one takes."""
_GLANCE = 0.005
"""Seconds after which a worker that has its share looks whether the others accept."""
_WAITING = struct.Struct("24xI")
"""Of a listening socket, `tcpi_unacked` counts the connections that wait to be accepted."""
_LINGER = 1.0
_OWN_DESCRIPTORS = 64
"""Descriptors beside those of clients and upstreams: logs, the control block, the store."""
_OUT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_ENDED = (errno.EINVAL, errno.EBADF, errno.ENOTSOCK)


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one, in this process and its children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # macOS has a hard limit that it does not accept
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections() -> int:
    """Client connections that this process has descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 1 << 20
    return max(16, (soft - _OWN_DESCRIPTORS) // 2)


class Acceptor:
    """Accepts connections for one worker from `start` to `stop`, and refuses them without room.

    libuv accepts one connection per turn of the loop (since 1.45), and a busy worker's turn takes
    tens of milliseconds, so connections wait for seconds in the kernel's queue beside workers that
    answer at once. Here the loop watches a duplicate of the listening socket, and each turn accepts
    up to `PER_TURN`. libuv's own server is made and never started.

    Clients and upstreams get equal parts of the descriptors: clients alone could otherwise take
    all, and none of them could be served. A worker without room leaves new connections to the
    others for a moment, then answers 503 to those that still wait and closes them.

    The kernel gives a connection to the worker that asks first, and one that accepts a burst would
    serve twice as many clients as another, each half as often. So a worker accepts until it has its
    share of all connections, waiting ones included, and leaves the rest to the others; what
    they have not accepted after a moment it accepts itself.

    Args:
        loop: that of the worker.
        listener: the listening socket, which the caller closes; `start` makes it non-blocking.
        make_protocol: makes the protocol of a connection.
        tls: the TLS context of the connections; None for plain text.
        handshake: seconds that a TLS handshake may take.
        connections: the open ones.
        most: connections that may be open at once.
        share: shows the others how many connections this worker has, and returns theirs.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        listener: socket.socket,
        make_protocol: Callable[[], Protocol],
        *,
        tls: ssl.SSLContext | None,
        handshake: float,
        connections: Collection[object],
        most: int,
        share: Callable[[int], Sequence[int]] = lambda _: (),
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._make_protocol = make_protocol
        self._tls = tls
        self._handshake = handshake
        self._connections = connections
        self._most = most
        self._share = share
        self._left_since = 0.0
        """When the worker began to leave connections to others; 0 while it accepts."""
        self._opening: dict[Protocol, Task[None]] = {}
        """Connections that are accepted and not yet open: a TLS handshake takes its time."""
        self._refused: deque[socket.socket] = deque()
        self._reserve = _ReserveDescriptor()
        self._warning = RateLimitedWarning()
        self._accepts = False

    def start(self) -> None:
        """Accept from now on."""
        self._accepts = True
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept_waiting)

    def stop(self) -> None:
        """Accept no more. A second call does nothing."""
        if self._accepts:
            self._accepts = False
            self._loop.remove_reader(self._listener)
            self._reserve.give_up()
            while self._refused:
                self._refused.popleft().close()

    def show_connections(self) -> None:
        """Show the other workers how many connections this one has, while it accepts."""
        if self._accepts:
            self._share(self._count_open())

    def count_as_open(self, connection: Protocol) -> None:
        """Count a connection among the open ones only, some turns before its task ends."""
        self._opening.pop(connection, None)

    def _accept_waiting(self) -> None:
        room = self._measure_share()
        if room <= 0 and self._leave_for_moment():
            return
        self._left_since = 0.0
        self._accept_some(min(room, PER_TURN) if room > 0 else PER_TURN)
        self.show_connections()

    def _count_open(self) -> int:
        # Two lengths: clients that do not end their handshakes make no burst dearer.
        return len(self._connections) + len(self._opening)

    def _measure_share(self) -> int:
        """How many connections this worker may accept before it has its share of all."""
        count = self._count_open()
        others = self._share(count)
        if not others:
            return PER_TURN
        waiting = _count_waiting(self._listener)
        if waiting is None:
            return PER_TURN
        workers = len(others) + 1
        return -(-(count + sum(others) + waiting) // workers) - count

    def _leave_for_moment(self) -> bool:
        """Leave connections to the others, for `_PATIENCE` at most; whether it still does."""
        now = self._loop.time()
        self._left_since = self._left_since or now
        if now - self._left_since >= _PATIENCE:
            return False
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_GLANCE, self._look_again)
        return True

    def _look_again(self) -> None:
        if self._accepts:
            if not _count_waiting(self._listener):
                self._left_since = 0.0
            self._loop.add_reader(self._listener, self._accept_waiting)

    def _accept_some(self, number: int) -> None:
        free = self._most - self._count_open()
        for accepted in range(number):
            if accepted >= free:
                self._leave_to_others()
                return
            try:
                connection = self._next_connection()
            except OSError as error:
                self._warn_of_limit(error.strerror or "no descriptor is left")
                self._refuse_with_reserve()
                return
            if connection is None:
                return
            protocol = self._make_protocol()
            task = self._loop.create_task(self._open_connection(connection, protocol))
            self._opening[protocol] = task
            task.add_done_callback(partial(self._end_opening, protocol))

    def _next_connection(self) -> socket.socket | None:
        """The next connection in the queue; None where there is none.

        Raises:
            OSError: there is no descriptor or no memory for it.
        """
        while self._accepts:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in _OUT:
                    raise
                if error.errno in _ENDED:  # the last worker has shut the listening socket down
                    self.stop()
                # Otherwise it is an error of that connection, reported here (accept(2)).
            else:
                connection.setblocking(False)
                return connection
        return None

    async def _open_connection(self, connection: socket.socket, protocol: Protocol) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake if self._tls is not None else None,
            )
        except OSError:
            # The client left, or failed in its handshake: no client is there to answer.
            connection.close()

    def _end_opening(self, protocol: Protocol, _: Task[None]) -> None:
        if self._opening.pop(protocol, None) is not None:  # failed, cancelled, or too slow
            self.show_connections()

    # -- without room ------------------------------------------------------------------

    def _leave_to_others(self) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        if not self._accepts:
            return
        self._loop.add_reader(self._listener, self._accept_waiting)
        if self._count_open() < self._most:
            return
        with suppress(OSError):  # out of descriptors: `_accept_waiting` handles that too
            for _ in range(PER_TURN):
                connection = self._next_connection()
                if connection is None:
                    return
                self._warn_of_limit(f"{self._most} client connections are open")
                self._refuse_connection(connection)
                self._close_later(connection)

    def _refuse_with_reserve(self) -> None:
        """Refuse waiting connections, one after the other, with the one reserved descriptor."""
        self._reserve.give_up()
        try:
            for _ in range(PER_TURN):
                connection = self._next_connection()
                if connection is None:
                    return
                self._refuse_connection(connection)
                connection.close()
        except OSError:  # the descriptor went elsewhere meanwhile
            self._leave_to_others()
        finally:
            if self._accepts:
                self._reserve.take()

    def _refuse_connection(self, connection: socket.socket) -> None:
        with suppress(OSError):  # gone already
            if self._tls is None:
                message = "This worker has no room for another connection"
                connection.send(
                    error_bytes(503, message, code="worker_full", type="overloaded_error")
                )
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

    def _close_later(self, connection: socket.socket) -> None:
        """Close after `_LINGER` seconds, in which the client can read; close the oldest waiting
        connection at once if there are `PER_TURN` of them."""
        if len(self._refused) == PER_TURN:
            self._refused.popleft().close()
        self._refused.append(connection)
        self._loop.call_later(_LINGER, connection.close)

    def _warn_of_limit(self, why: str) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._warning(
            "connections are refused: %s (open files are limited to %s; raise the hard limit)",
            why,
            limit,
        )


def _count_waiting(listener: socket.socket) -> int | None:
    """Connections that wait to be accepted; None where the kernel does not say."""
    if listener.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    try:
        state = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WAITING.size)
        waiting: int = _WAITING.unpack(state)[0]
    except (AttributeError, OSError, struct.error):  # other systems than Linux
        return None
    return waiting


class _ReserveDescriptor:
    """A descriptor in reserve, which is released when no other is free."""

    def __init__(self) -> None:
        self._descriptor = -1
        self.take()

    def take(self) -> None:
        with suppress(OSError):  # none is free; the next time, perhaps
            self._descriptor = os.open(os.devnull, os.O_RDONLY)

    def give_up(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


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
        """Record a signal from now on. Call it in the main thread."""
        for number in _STOPPING:
            signal.signal(number, self._on_signal)

    def stop_server_on_signal(self) -> None:
        """Stop the server on a signal, also on one that was received before this call."""
        self._obeyed = True
        if self._came:
            self._loop.call_soon(self._end_process)

    def _on_signal(self, *_: object) -> None:
        # The handler stays in place: both signals may arrive at once, and Python reports an
        # error for the second when its handler has been removed.
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
    """Patch Sanic. A second call does nothing."""
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
        # 100 by default: in a burst the kernel drops further connections, and clients wait 1 s.
        arguments["backlog"] = max(arguments["backlog"], sockets.BACKLOG)
        if arguments["sock"] is not None and not (arguments["unix"] or arguments["run_async"]):
            options = arguments["asyncio_server_kwargs"] or {}
            arguments["asyncio_server_kwargs"] = {**options, "start_serving": False}
            raise_descriptor_limit()
            serving.acceptor = _make_acceptor(serving, arguments)
        if arguments["register_sys_signals"] and not arguments["run_async"]:
            signals = StopSignals(arguments["loop"], partial(app.stop, terminate=False))
            app.ctx.signals = signals
            # The last start listener: Sanic listens after it.
            app.before_server_start(_listen_for_signals(signals))
        return original(*call.args, **call.kwargs)

    serve.repaired = True  # type: ignore[attr-defined]
    return serve


def _make_acceptor(serving: ServerEnds, arguments: dict[str, Any]) -> Acceptor:
    """The part that accepts instead of libuv, from the arguments of Sanic's server."""
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
        share=partial(_share_connections, app),
    )


def _share_connections(app: Sanic[Any, Any], count: int) -> Sequence[int]:
    membership = getattr(app.ctx, "membership", None)  # made by a start listener, if at all
    shares: Sequence[int] = () if membership is None else membership.share_connections(count)
    return shares


def _listen_for_signals(signals: StopSignals) -> Callable[[Sanic[Any, Any]], Any]:
    async def hear_signals(_: Sanic[Any, Any]) -> None:
        signals.start_listening()

    return hear_signals


def _watch_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(loop: Any, before_stop: Any, after_stop: Any, cleanup: Any, unix: Any, pid: int) -> Any:
        # before_stop is a partial of a bound method of the app; only the closure that closes
        # the server refers to it.
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
    """Install nothing: Sanic would install its handlers now; VAI's are in place already."""
    os.environ["SANIC_WORKER_PROCESS"] = "true"
