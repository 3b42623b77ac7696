"""A WebSocket connection that closes on bad text, reads pongs at once and cuts a stalled peer.

Sanic passes each TCP read to a task of its own and each message through a queue of length one.
Text that is not UTF-8 kills such a task: the message is lost, the connection goes on, and asyncio
logs the bytes. An unread message keeps the pongs behind it unread, and Sanic closes a healthy
connection as dead. A send that a stalled peer blocks keeps the lock that pings need, so a dead
connection is never closed.

Here `data_received` processes frames synchronously as they arrive: pongs at once, messages into a
bounded queue. Reading stops while the queue is full, and a missing pong proves nothing then. Pings
take no lock; a peer that reads nothing for the time of a ping's timeout counts as gone.
"""

from __future__ import annotations

import asyncio
import codecs
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn, cast

from sanic.exceptions import ServerError, WebsocketClosed
from sanic.server.protocols import websocket_protocol
from sanic.server.websockets.impl import WebsocketImplProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from vai.errors import ClientLeft

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "PatchedWebsocket", "patch_websockets", "send_or_cut"]

MAX_BYTES = 256 * 1024
"""Unread bytes after which reading stops; one TCP read (256 KiB) may be added."""

MAX_MESSAGES = 1024
"""Unread messages after which reading stops; the rest of one TCP read may be added."""

_MAX_UNSENT_REPLIES = 256 * 1024
_Message = str | bytes


async def send_or_cut(ws: PatchedWebsocket, data: _Message, seconds: float) -> None:
    """Send within `seconds`, or cut the connection.

    Raises ClientLeft (`write_stall`) when the peer did not read in time, or (`cancelled`)
    when it has closed.
    """
    try:
        # wait_for can swallow a cancellation on Python 3.11; timeout cannot.
        async with asyncio.timeout(seconds):
            await ws.send(data)
    except TimeoutError:
        ws.cut_connection()
        raise ClientLeft("The client did not read in time", code="write_stall") from None
    except WebsocketClosed:
        raise ClientLeft("The client closed the connection") from None


class PatchedWebsocket(WebsocketImplProtocol):
    """Sanic's WebSocket connection with its own receiving side.

    `recv` raises WebsocketClosed when the connection ends, after it has returned the messages
    received before the end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # At DEBUG level the protocol logs the frames with their payload.
        self.ws_proto.debug = False
        self._messages: deque[_Message] = deque()
        self._unread = 0
        self._parts: list[_Message] = []
        self._decoder: codecs.IncrementalDecoder | None = None
        self._arrived = asyncio.Event()
        self._full = False
        self._over = False

    # -- in ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Process received bytes: answer control frames, queue messages."""
        self.ws_proto.receive_data(data)
        for event in self.ws_proto.events_received():
            if isinstance(event, Frame) and not self._process_frame(event):
                return
        self._write_protocol_frames()

    def eof_received(self) -> bool:
        """End the connection: the peer sends no more."""
        self.ws_proto.receive_eof()
        self._write_protocol_frames()
        self._end_connection()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection: it is lost."""
        self._end_connection()
        super().connection_lost(exc)  # type: ignore[no-untyped-call]

    def _process_frame(self, frame: Frame) -> bool:
        """Process one frame; False when the connection was failed for it."""
        if frame.opcode is Opcode.PONG:
            self._acknowledge_pings(bytes(frame.data))
        elif frame.opcode is Opcode.CLOSE:
            self._end_connection()
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return self._process_data_frame(frame)
        return True

    def _process_data_frame(self, frame: Frame) -> bool:
        if frame.opcode is Opcode.TEXT:
            self._decoder = codecs.getincrementaldecoder("utf-8")()
        elif frame.opcode is Opcode.BINARY:
            self._decoder = None
        data: _Message = bytes(frame.data)
        if self._decoder is not None:
            try:
                data = self._decoder.decode(bytes(frame.data), frame.fin)
            except UnicodeDecodeError:
                # The exception holds the payload: it must not leave this function.
                if self.ws_proto.state is State.OPEN:
                    self.fail_connection(1007, "invalid UTF-8")
                else:
                    # Later bytes of this read violate the protocol as well.
                    self._write_protocol_frames()
                self._end_connection()
                return False
        self._parts.append(data)
        if frame.fin:
            joiner: Any = "" if self._decoder is not None else b""
            self._queue_message(joiner.join(self._parts))
            self._parts = []
        return True

    def _queue_message(self, message: _Message) -> None:
        self._messages.append(message)
        self._unread += len(message)
        self._arrived.set()
        if not self._full and (self._unread > MAX_BYTES or len(self._messages) > MAX_MESSAGES):
            self._full = True
            if self.io_proto and self.io_proto.transport:
                self.io_proto.transport.pause_reading()

    def _acknowledge_pings(self, data: bytes) -> None:
        """A pong confirms its ping and every earlier one."""
        if data not in self.pings:
            return
        for ping in list(self.pings):
            waiter = self.pings.pop(ping)
            if not waiter.done():
                waiter.set_result(None)
            if ping == data:
                return

    def _end_connection(self) -> None:
        self._over = True
        self._arrived.set()

    # -- out ---------------------------------------------------------------------------

    def _write_protocol_frames(self) -> None:
        """Write the protocol's own frames (pongs, close) without waiting."""
        transport = self.io_proto.transport if self.io_proto else None
        for data in self.ws_proto.data_to_send():
            if not data:
                self._finish_close()
            elif transport is not None and not transport.is_closing():
                transport.write(data)
        if transport is not None and transport.get_write_buffer_size() > _MAX_UNSENT_REPLIES:
            self.cut_connection()  # the peer sends pings and does not read the pongs

    def _finish_close(self) -> None:
        """The protocol is done: have Sanic's closer end the connection."""
        self._end_connection()
        finished = self.data_finished_fut
        if finished is not None and not finished.done():
            # Sanic sets a result here, which reaches no awaiter of a shielded future.
            finished.cancel()
            self.data_finished_fut = None
        elif self.io_proto is not None and self.io_proto.transport is not None:
            self.io_proto.transport.close()

    def cut_connection(self) -> None:
        """End the connection now and drop unsent data."""
        if self.io_proto is not None and self.io_proto.transport is not None:
            self.io_proto.transport.abort()

    async def send(self, message: Any) -> None:
        """Send one message, waiting while the peer does not read.

        Raises WebsocketClosed when the connection is over. Without a lock: between the
        wait and the write nothing else can run.
        """
        await self._wait_until_writable()
        if isinstance(message, str):
            self.ws_proto.send_text(message.encode())
        elif isinstance(message, bytes | bytearray | memoryview):
            self.ws_proto.send_binary(bytes(message))
        else:
            raise TypeError("a WebSocket message is str or bytes")
        self._pending_data()

    async def _wait_until_writable(self) -> None:
        if self.io_proto is None:
            raise WebsocketClosed("The connection was never open")
        await self.io_proto._can_write.wait()
        if self.ws_proto.state is not State.OPEN or self.io_proto.transport is None:
            raise WebsocketClosed("The connection is closed")

    def _pending_data(self) -> None:
        transport = self.io_proto.transport if self.io_proto else None
        for data in self.ws_proto.data_to_send():
            if data and transport is not None:
                transport.write(data)

    async def keepalive_ping(self) -> None:
        """Ping at intervals; fail the connection when it is dead, and only then."""
        while self.ping_interval:
            await asyncio.sleep(self.ping_interval)
            patience = self.ping_timeout
            try:
                async with asyncio.timeout(patience):
                    await (await self.ping())
            except TimeoutError:
                if self._full:
                    continue  # this side does not read, so it cannot have received the pong
                self.fail_connection(1011, "keepalive ping timeout")
                if self.io_proto is not None and not self.io_proto._can_write.is_set():
                    self.cut_connection()  # no frame reaches a peer that does not read
                return
            except (WebsocketClosed, asyncio.CancelledError):
                return

    async def ping(self, data: Any = None) -> asyncio.Future[None]:
        """Send a ping once the peer reads; the future ends with its pong."""
        await self._wait_until_writable()
        payload = data.encode() if isinstance(data, str) else bytes(data or b"")
        while not payload or payload in self.pings:
            payload = secrets.token_bytes(4)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pings[payload] = waiter
        self.ws_proto.send_ping(payload)
        self._pending_data()
        return waiter

    # -- messages ----------------------------------------------------------------------

    async def recv(self, timeout: float | None = None) -> _Message | None:  # noqa: ASYNC109
        """The next message; None if none arrives within `timeout` seconds.

        Raises WebsocketClosed at the end, ServerError when another task is reading.
        """
        if self.recv_lock.locked():
            raise ServerError("another task is already reading this connection")
        async with self.recv_lock:
            if not self._messages and not self._over:
                self._arrived.clear()
                try:
                    async with asyncio.timeout(timeout):
                        await self._arrived.wait()
                except TimeoutError:
                    return None
            if not self._messages:
                raise WebsocketClosed("The connection is closed")
            return self._pop_message()

    def _pop_message(self) -> _Message:
        message = self._messages.popleft()
        self._unread -= len(message)
        if (
            self._full
            and self._unread <= MAX_BYTES // 2
            and len(self._messages) <= (MAX_MESSAGES // 2)
        ):
            self._full = False
            if self.io_proto and self.io_proto.transport and not self._over:
                self.io_proto.transport.resume_reading()
        return message

    async def __aiter__(self) -> AsyncIterator[_Message]:
        while True:
            try:
                message = await self.recv()
            except WebsocketClosed:
                return
            yield cast("_Message", message)

    async def recv_burst(self, max_recv: int = 256) -> Sequence[_Message]:
        """All messages in the queue, at most `max_recv`; an empty list if there is none."""
        return [self._pop_message() for _ in range(min(max_recv, len(self._messages)))]

    def recv_streaming(self) -> NoReturn:
        """Not offered: messages are bounded, so `recv` returns them whole."""
        raise NotImplementedError


def patch_websockets() -> None:
    """Have Sanic use this class for its connections."""
    vars(websocket_protocol)["WebsocketImplProtocol"] = PatchedWebsocket
