"""The body of a streamed response: server-sent events, or one JSON object.

A server may send plain JSON where the client requested a stream, because it cannot stream this
response or because VAI requested JSON, and a stream where VAI requested JSON. The first character
of the body decides, not the header: no event stream begins with a brace or a bracket, and
neither form with the ``<`` of a page. JSON objects, one on each line, are events.
"""

from __future__ import annotations

from typing import Final

from vai.codec.sse import MAX_FRAME, SseDecoder
from vai.errors import UpstreamBroken

__all__ = ["MAX_BODY", "StreamBody", "no_response_fault"]

MAX_BODY: Final = MAX_FRAME
"""The most bytes of a JSON response."""

_BLANKS: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"


def no_response_fault() -> UpstreamBroken:
    """The fault of a body that is a page, or of another type that holds no response."""
    return UpstreamBroken.from_code("upstream_content_type")


class StreamBody:
    """Decodes one body, in pieces of any size."""

    __slots__ = ("_body", "_broken", "_head", "_sse", "_streams")

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._head = b""
        self._streams: bool | None = None
        self._body = bytearray()
        self._broken: UpstreamBroken | None = None

    @property
    def fault(self) -> UpstreamBroken | None:
        """Set when the body exceeds its maximum size, or is a page."""
        return self._sse.fault or self._broken

    def feed_bytes(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events that `data` completes; none while the body is JSON."""
        if self._streams:
            return self._sse.feed(data)
        if self._streams is None:
            data = self._head = (self._head + data).lstrip(_BLANKS)
            if _BOM.startswith(data[:3]):
                rest = data[3:].lstrip(_BLANKS)
                if not rest:
                    return []
                begin = rest[:1]
            else:
                begin = data[:1]
            self._streams = begin not in (b"{", b"[")
            if begin == b"<":
                self._broken = no_response_fault()
            self._head = b""
            if self._streams:
                return self._sse.feed(data)
        self._body += data
        if len(self._body) > MAX_BODY:
            self._body.clear()
            self._broken = UpstreamBroken(
                f"The provider sent a response of more than {MAX_BODY} bytes"
            )
        return []

    def end_body(self) -> tuple[list[tuple[str, bytes]], bytes | None]:
        """The last events, and the whole body if it was JSON."""
        if self._streams is False and self._broken is None:
            body = bytes(self._body).removeprefix(_BOM)
            lines = _split_objects(body) if b"}\n" in body.rstrip() else []
            return ([("message", line) for line in lines], None) if lines else ([], body)
        return self._sse.flush(), None


def _split_objects(body: bytes) -> list[bytes]:
    """The lines of a body with one object on each; none for another form."""
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    are_objects = all(line[:1] == b"{" and line[-1:] == b"}" for line in lines)
    return lines if are_objects else []
