"""A worker's listening socket, its server and its connections.

Sanic keeps all three in local variables of one function, so no caller can stop accepting
without stopping everything. `takeover` stores them here at the start.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from asyncio import AbstractServer
from typing import Protocol

from sanic.http import Http, Stage

__all__ = ["ServedConnection", "ServerEnds"]

_POLL = 0.02


class ServedConnection(Protocol):
    """The methods of a connection that this module uses."""

    @property
    def http(self) -> Http | None:
        """Its state; None before it began and after it ended."""


class Accepting(Protocol):
    """A part that accepts connections."""

    def start(self) -> None:
        """Accept from now on."""

    def stop(self) -> None:
        """Accept no more."""

    def show_connections(self) -> None:
        """Show the other workers how many connections this one has."""

    def count_as_open(self, connection: asyncio.Protocol) -> None:
        """Count a connection among the open ones only."""


class ServerEnds:
    """The sockets and connections of this worker, which the drain closes in order."""

    def __init__(self) -> None:
        self.connections: set[ServedConnection] = set()
        self.ending = False
        self.server: AbstractServer | None = None
        self.acceptor: Accepting | None = None
        self._listener: socket.socket | None = None

    def keep_listener(self, listener: socket.socket | None) -> None:
        """Keep a copy of the listening socket, because the server closes its own."""
        if listener is None:
            self._listener = None
            return
        # `socket.dup` would make the shared socket block again, and the other workers would then
        # wait for a connection in `accept`, with all their streams.
        self._listener = socket.socket(
            listener.family, listener.type, listener.proto, os.dup(listener.fileno())
        )

    @property
    def listener(self) -> socket.socket:
        """The copy of the listening socket."""
        if self._listener is None:
            raise RuntimeError("the listening socket is created before it is used")
        return self._listener

    def end_keep_alive(self) -> None:
        """From now on every response ends its connection."""
        self.ending = True
        for connection in self.connections:
            if (http := connection.http) is not None:
                http.keep_alive = False

    def stop_accepting(self) -> None:
        """Leave new connections to the other workers."""
        if self.acceptor is not None:
            self.acceptor.stop()
        if self.server is not None:
            self.server.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def refuse_connections(self) -> None:
        """Have the kernel refuse new connections, for all processes that share the socket.

        Otherwise they would wait without a response until main closes the socket.
        """
        if self._listener is not None:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                # Workers that stop at the same time both do this; the second call fails.
                if error.errno != errno.ENOTCONN:
                    raise

    async def wait_until_flushed(self, seconds: float) -> None:
        """Wait until no connection has an unfinished response, at most that long."""
        deadline = time.monotonic() + seconds
        # Polled: each response would have to update an event for one use.
        while any(_is_busy(c) for c in self.connections) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)


def _is_busy(connection: ServedConnection) -> bool:
    http = connection.http
    return http is not None and http.stage not in (Stage.IDLE, Stage.REQUEST)
