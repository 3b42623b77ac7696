"""A response written as server-sent events.

Invariants: the status line is sent with the first byte there is to send, or
after `ping` seconds of silence, whichever is first (a middlebox that sees nothing for a
minute cuts the connection); a ping stands between frames, never in one; and a reader that
takes nothing for `stall` seconds is cut off, because the upstream is paused for it.

One timer per stream does all of this. It re-arms itself when it fires, so a busy stream
pays for it with two assignments per batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import cast

from sanic import HTTPResponse, Request

from vai.codec.sse import PING
from vai.exchange.ports import Clock
from vai.gateway.request.responses import GatewayResponse
from vai.gateway.sanic_patches import sockets
from vai.gateway.sanic_patches.protocol import PatchedProtocol

__all__ = ["EventStream"]


class EventStream:
    """The client's side of one stream. `close` must be called, whatever happens."""

    def __init__(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        ping: float,
        stall: float,
        clock: Clock,
    ) -> None:
        self._request = request
        self._connection = cast("PatchedProtocol", request.protocol)
        self._headers = headers
        self._ping_every = ping
        self._stall = stall
        self._clock = clock
        self._response: HTTPResponse | None = None
        self._starting = asyncio.Lock()
        self._sending_since: float | None = None
        self._last = clock()
        self._pinging: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(min(ping, stall), self._check_deadlines)

    @property
    def is_started(self) -> bool:
        """Whether the status line has been sent, so that a failure must be an event."""
        return self._response is not None

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """More headers, while the status line has not been sent; without effect after."""
        self._headers = {**self._headers, **headers}

    async def send_frames(self, frames: bytes) -> None:
        """Send complete frames in one write, and wait while the reader is behind."""
        self._sending_since = self._clock()
        await self._write_frames(frames)
        self._last = self._clock()
        self._sending_since = None

    async def finish_stream(self) -> None:
        """All has been sent; a reader that is behind is given `stall` once more."""
        if self._response is not None:
            self._sending_since = self._clock()
            await self._response.send(end_stream=True)

    def close(self) -> None:
        """Stop the timer. A client that has left needs no ping."""
        self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    def _write_frames(self, frames: bytes) -> Awaitable[None]:
        # Straight to the connection: Sanic's own way there is three coroutines deep, for
        # every event. The response knows that it is chunked and writes the last chunk.
        started = self._response is not None
        return self._connection.send_chunk(frames) if started else self._write_head(frames)

    async def _write_head(self, frames: bytes) -> None:
        """The head and the first frames in one write; without the head if a ping was first."""
        async with self._starting:
            if self._response is not None:
                await self._connection.send_chunk(frames)
                return
            response = GatewayResponse(
                content_type="text/event-stream; charset=utf-8",
                headers={**self._headers, "cache-control": "no-cache", "x-accel-buffering": "no"},
            )
            await self._request.respond(response)
            await response.send(frames)
            self._response = response

    def _check_deadlines(self) -> None:
        now = self._clock()
        if self._sending_since is not None:
            due = self._sending_since + self._stall
            if now >= due:
                # The handler waits in a send; losing the connection cancels it there.
                sockets.reset_connection(self._request.transport)
                return
        else:
            due = self._last + self._ping_every
            if now >= due:
                self._pinging = asyncio.create_task(self._send_ping(), name="vai-ping")
                due = now + self._ping_every
        wait = min(due - now, self._ping_every, self._stall)
        self._timer = asyncio.get_running_loop().call_later(wait, self._check_deadlines)

    async def _send_ping(self) -> None:
        self._last = self._clock()
        await self._write_frames(PING)
