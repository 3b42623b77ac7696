"""Sanic's two connection protocols with the repairs in them.

Which class serves is chosen in many places of Sanic (`run`, `prepare`, `create_server`, the
command line), always by name; `serving` replaces it at the one place they all pass.
"""

from __future__ import annotations

from asyncio import BaseTransport
from typing import TYPE_CHECKING, Any

from sanic.http import Stage
from sanic.server.protocols.http_protocol import HttpProtocol
from sanic.server.protocols.websocket_protocol import WebSocketProtocol

from vai.gateway.repairs import sockets
from vai.gateway.repairs.deadlines import Deadlines
from vai.gateway.repairs.head import GuardedHttp

if TYPE_CHECKING:
    from vai.gateway.repairs.serving import Serving

__all__ = ["Repaired", "RepairedHttpProtocol", "RepairedWebSocketProtocol", "repaired"]

_AT_THE_DOOR = (Stage.IDLE, Stage.REQUEST)


class Repaired(HttpProtocol):
    """What both have in common."""

    HTTP_CLASS = GuardedHttp
    # The slots are in the classes below: two bases with slots of their own do not combine.
    __slots__ = ()

    serving: Serving
    deadlines: Deadlines
    buffer_limit: int

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.serving = self.app.ctx.serving  # type: ignore[misc]
        self.deadlines = self.app.ctx.deadlines  # type: ignore[misc]
        self.buffer_limit = self.app.config.REQUEST_BUFFER_SIZE  # type: ignore[misc]

    @property
    def http(self) -> GuardedHttp | None:
        """The state of this connection; None before it began and after it ended."""
        return getattr(self, "_http", None)

    def connection_made(self, transport: BaseTransport) -> None:
        sockets.tune(transport)
        super().connection_made(transport)  # type: ignore[no-untyped-call]
        self.deadlines.bytes_came(self)

    def data_received(self, data: bytes) -> None:
        http = self.http
        if http is not None and http.stage in _AT_THE_DOOR:
            self.deadlines.bytes_came(self)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadlines.forget(self)
        super().connection_lost(exc)  # type: ignore[no-untyped-call]


class RepairedHttpProtocol(Repaired):
    """For an app without WebSocket routes."""

    __slots__ = ("buffer_limit", "deadlines", "serving")


class RepairedWebSocketProtocol(Repaired, WebSocketProtocol):
    """For an app with WebSocket routes."""

    __slots__ = ("buffer_limit", "deadlines", "serving")


def repaired(protocol: type) -> type:
    """The repaired class for the one Sanic chose; any other is left alone."""
    classes: dict[type, type] = {
        HttpProtocol: RepairedHttpProtocol,
        WebSocketProtocol: RepairedWebSocketProtocol,
    }
    return classes.get(protocol, protocol)
