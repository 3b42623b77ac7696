"""The body of a streamed answer: server-sent events, or one JSON object.

A server that was asked to stream may answer with plain JSON (because it cannot stream
what was asked, or was told not to). The first character tells: no event stream begins
with a brace.
"""

from __future__ import annotations

from typing import Final

from vai.codec.sse import MAX_FRAME, SseDecoder
from vai.errors import UpstreamBroken

__all__ = ["MAX_BODY", "Incoming"]

MAX_BODY: Final = MAX_FRAME
"""Bytes of a JSON answer."""

_BLANKS: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"


class Incoming:
    """Decodes one body, however it is cut."""

    __slots__ = ("_body", "_broken", "_head", "_sse", "_streams")

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._head = b""
        self._streams: bool | None = None
        self._body = bytearray()
        self._broken: UpstreamBroken | None = None

    @property
    def fault(self) -> UpstreamBroken | None:
        """Set when the body grows beyond what can be held."""
        return self._sse.fault or self._broken

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events that `data` completes; none while the body is JSON."""
        if self._streams:
            return self._sse.feed(data)
        if self._streams is None:
            data = self._head = (self._head + data).lstrip(_BLANKS)
            if _BOM.startswith(data[:3]):
                rest = data[3:].lstrip(_BLANKS)
                if not rest:
                    return []
                self._streams = rest[:1] != b"{"
            else:
                self._streams = data[:1] != b"{"
            self._head = b""
            if self._streams:
                return self._sse.feed(data)
        self._body += data
        if len(self._body) > MAX_BODY:
            self._body.clear()
            self._broken = UpstreamBroken(
                f"The provider sent an answer of more than {MAX_BODY} bytes"
            )
        return []

    def end(self) -> tuple[list[tuple[str, bytes]], bytes | None]:
        """The last events, and the whole body if it was JSON."""
        if self._streams is False and self._broken is None:
            return [], bytes(self._body).removeprefix(_BOM)
        return self._sse.end(), None
