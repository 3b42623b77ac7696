"""Deadlines for the arrival of a request.

Sanic's timeouts start again with every byte, so a client that sends one byte now and then
keeps a connection for ever. Here the head has an absolute deadline, and a body has one and
must also keep a minimum rate. When one is missed, the task that waits for the bytes wakes up,
answers 408 and closes the connection.

There are no timers per connection. Connections with an unfinished head or body are in one
dict. One timer checks it twice a second, and does not run while the dict is empty. Each check
cuts few connections, so that a thousand slow clients do not delay the others.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Transport
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from sanic.http import Stage

from vai.gateway.sanic_patches.head import GuardedHttp

__all__ = ["Deadlines", "ReceiveLimits", "ReceivingConnection"]

_LOOK = 0.5
_CUTS_PER_LOOK = 64


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """How slow a client may be. Seconds and bytes.

    Attributes:
        head: from the first byte of a request (of the first one: from the connect) to the
            end of its head.
        body: from the end of the head to the end of the body.
        window: the rate is judged over windows of this length.
        rate: bytes per second of body that must arrive.
        stall: seconds without reading anything after which a client is cut.
    """

    head: float = 10.0
    body: float = 300.0
    window: float = 5.0
    rate: int = 1024
    stall: float = 30.0


class ReceivingConnection(Protocol):
    """The methods of a connection that this module uses."""

    loop: AbstractEventLoop
    state: dict[str, Any]
    transport: Transport | None
    buffer_limit: int

    @property
    def http(self) -> GuardedHttp | None:
        """Its state; None before it began and after it ended."""

    def wake(self) -> None:
        """Have the task that waits for bytes check again."""

    def close(self) -> None:
        """End it."""


class _IncompleteRequest:
    """A request that has not been received completely."""

    __slots__ = ("body_since", "mark_bytes", "mark_time", "ordinal", "since")

    def __init__(self, since: float, ordinal: int) -> None:
        self.since = since
        self.ordinal = ordinal  # complete heads that this connection had received
        self.body_since = self.mark_time = 0.0
        self.mark_bytes = 0


class Deadlines:
    """The requests of this worker that are not complete yet."""

    def __init__(self, limits: ReceiveLimits) -> None:
        self.limits = limits
        self._watched: dict[ReceivingConnection, _IncompleteRequest] = {}
        self._look_every = min(_LOOK, limits.head / 4, limits.window / 4)
        self._running = False

    def __len__(self) -> int:
        return len(self._watched)

    def note_bytes(self, protocol: ReceivingConnection) -> None:
        """Called when bytes of a head arrive: the first of them start its clock."""
        ordinal: int = protocol.state["requests_count"]
        watched = self._watched.get(protocol)
        if watched is None or watched.ordinal != ordinal:
            self._watched[protocol] = _IncompleteRequest(monotonic(), ordinal)
            if not self._running:
                self._running = True
                protocol.loop.call_later(self._look_every, self._check_all, protocol.loop)

    def forget_connection(self, protocol: ReceivingConnection) -> None:
        """Called when the connection is lost."""
        self._watched.pop(protocol, None)

    def _check_all(self, loop: AbstractEventLoop) -> None:
        now, cuts = monotonic(), 0
        for protocol, watched in list(self._watched.items()):
            if self._is_over(protocol, watched, now):
                self._watched.pop(protocol, None)
            elif self._is_late(protocol, watched, now):
                self._watched.pop(protocol, None)
                _cut_connection(protocol)
                cuts += 1
                if cuts == _CUTS_PER_LOOK:
                    break
        self._running = bool(self._watched)
        if self._running:
            pause = 0.01 if cuts == _CUTS_PER_LOOK else self._look_every
            loop.call_later(pause, self._check_all, loop)

    def _is_over(
        self, protocol: ReceivingConnection, watched: _IncompleteRequest, now: float
    ) -> bool:
        """Whether the request is complete; moves on to the body or to the next head."""
        http = protocol.http
        if protocol.transport is None or protocol.transport.is_closing():
            return True
        if http is None:
            return False  # the connection has just been made
        ordinal = protocol.state["requests_count"]
        if ordinal == watched.ordinal:
            return http.stage not in (Stage.IDLE, Stage.REQUEST)
        if http.stage is Stage.REQUEST:
            # The next head arrived in one packet with the end of the last request.
            watched.since, watched.ordinal = now, ordinal
            watched.body_since = 0.0
            return False
        return http.stage is not Stage.HANDLER or _missing_bytes(http) <= 0

    def _is_late(
        self, protocol: ReceivingConnection, watched: _IncompleteRequest, now: float
    ) -> bool:
        http = protocol.http
        if http is None or protocol.state["requests_count"] == watched.ordinal:
            return now - watched.since > self.limits.head
        received = int(http.request_bytes or 0) - _missing_bytes(http)
        if not watched.body_since or len(http.recv_buffer) >= protocol.buffer_limit:
            # A full buffer means that this side does not read: not the client's fault.
            watched.body_since = watched.body_since or now
            watched.mark_time, watched.mark_bytes = now, received
            return False
        if now - watched.body_since > self.limits.body:
            return True
        if now - watched.mark_time < self.limits.window:
            return False
        came = received - watched.mark_bytes
        watched.mark_time, watched.mark_bytes = now, received
        return came < self.limits.rate * self.limits.window


def _missing_bytes(http: GuardedHttp) -> int:
    """Bytes of the body that have not arrived. The head guard refuses chunked bodies."""
    if not http.request_body or http.upgrade_websocket:
        return 0
    return int(http.request_bytes_left or 0) - len(http.recv_buffer)


def _cut_connection(protocol: ReceivingConnection) -> None:
    http = protocol.http
    if http is not None and http.stage in (Stage.REQUEST, Stage.HANDLER):
        # The task that waits for the rest answers with the error of its stage.
        http.is_late = True
        protocol.wake()
        return
    if http is not None:
        http.abandon_connection()
    protocol.close()
