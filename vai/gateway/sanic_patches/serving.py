"""What a worker serves with: its listening socket, its server and its connections.

Sanic keeps all three in local variables of one function, so no caller can stop accepting
without stopping everything. `takeover` picks them up at the start.
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
    """What accepts connections."""

    def start(self) -> None:
        """Accept from now on."""

    def stop(self) -> None:
        """Accept no more."""


class ServerEnds:
    """The open ends of this worker, for the drain, which closes them in order."""

    def __init__(self) -> None:
        self.connections: set[ServedConnection] = set()
        self.ending = False
        self.server: AbstractServer | None = None
        self.acceptor: Accepting | None = None
        self._listener: socket.socket | None = None

    def keep_listener(self, listener: socket.socket | None) -> None:
        """Remember the listening socket; as a copy, because the server closes its own."""
        if listener is None:
            self._listener = None
            return
        # Not by `socket.dup`: it makes what all workers share block again, and the accepting of
        # the others would then wait for a connection with all their streams.
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

        Without it they would wait unanswered until main closes the socket at last.
        """
        if self._listener is not None:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                # Workers that stop at the same time both do this; the second finds it done.
                if error.errno != errno.ENOTCONN:
                    raise

    async def wait_until_flushed(self, seconds: float) -> None:
        """Wait until no connection has a response on its way, at most that long."""
        deadline = time.monotonic() + seconds
        # Polled: an event would have to be kept right by every response, for one use.
        while any(_is_busy(c) for c in self.connections) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)


def _is_busy(connection: ServedConnection) -> bool:
    http = connection.http
    return http is not None and http.stage not in (Stage.IDLE, Stage.REQUEST)
