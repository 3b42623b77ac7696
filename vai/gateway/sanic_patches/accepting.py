"""New connections are accepted as fast as they come, and refused in words when there is no room.

libuv accepts one connection per turn of the loop (since 1.45), and a busy worker's turn takes
tens of milliseconds, so connections wait for seconds in the kernel's queue beside workers that
answer at once. Here the loop watches a duplicate of the listening socket, and each turn accepts
up to `PER_TURN`. libuv's own server is made and never started.

Descriptors are for clients and upstreams in equal parts: clients alone could otherwise take all,
and none of them could be served. A worker without room leaves new connections to the others for
a moment; those that are still there then are answered 503 and closed.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
from asyncio import AbstractEventLoop, Protocol, Task
from collections import deque
from collections.abc import Callable, Sized
from contextlib import suppress

from vai.gateway.sanic_patches.refusal import error_bytes
from vai.io.warn import RateLimitedWarning

__all__ = ["PER_TURN", "Acceptor", "most_connections", "raise_descriptor_limit"]

PER_TURN = 64
_PAUSE = 0.1
"""Seconds that a full worker leaves new connections to the others."""
_LINGER = 1.0
_OWN_DESCRIPTORS = 64
"""Descriptors for what is neither a client nor an upstream: logs, the control block, the store."""
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
    """Accepts for one worker from `start` to `stop`.

    Args:
        loop: that of the worker.
        listener: the listening socket; not owned, and not blocking.
        make_protocol: makes the protocol of a connection.
        tls: what connections are secured with; None for none.
        handshake: seconds that a TLS handshake may take.
        connections: those that are open.
        most: as many may be open at once.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        listener: socket.socket,
        make_protocol: Callable[[], Protocol],
        *,
        tls: ssl.SSLContext | None,
        handshake: float,
        connections: Sized,
        most: int,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._make_protocol = make_protocol
        self._tls = tls
        self._handshake = handshake
        self._connections = connections
        self._most = most
        self._opening: set[Task[None]] = set()
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

    def _accept_waiting(self) -> None:
        for _ in range(PER_TURN):
            if len(self._connections) + len(self._opening) >= self._most:
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
            task = self._loop.create_task(self._open_connection(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

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

    async def _open_connection(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake if self._tls is not None else None,
            )
        except OSError:
            # The client left, or failed in its handshake: no client is there to answer.
            connection.close()

    # -- without room ------------------------------------------------------------------

    def _leave_to_others(self) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        if not self._accepts:
            return
        self._loop.add_reader(self._listener, self._accept_waiting)
        if len(self._connections) + len(self._opening) < self._most:
            return
        with suppress(OSError):  # out of descriptors: `_accept_waiting` meets that too
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
        """Close when the client has had time to read; at once where too many wait for that."""
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


class _ReserveDescriptor:
    """A descriptor that is kept to be given up when there is no other."""

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
