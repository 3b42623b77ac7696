"""The body of a streamed answer: server-sent events, or one JSON object.

A server that was asked to stream may answer with plain JSON (because it cannot stream
what was asked, or was asked not to), and one that was asked for JSON with a stream. The first
character tells, and not the header: no event stream begins with a brace or a bracket, and
neither of them with the sign that a page begins with. JSON objects line by line are events.
"""

from __future__ import annotations

from typing import Final

from vai.codec.sse import MAX_FRAME, SseDecoder
from vai.errors import UpstreamBroken

__all__ = ["MAX_BODY", "StreamBody", "no_response_fault"]

MAX_BODY: Final = MAX_FRAME
"""Bytes of a JSON answer."""

_BLANKS: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"


def no_response_fault() -> UpstreamBroken:
    """The fault of a body that is a page, or of another kind that holds no answer."""
    return UpstreamBroken.from_code("upstream_content_type")


class StreamBody:
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
    """The lines of a body that has an object on each; none if it is of another form."""
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    are_objects = all(line[:1] == b"{" and line[-1:] == b"}" for line in lines)
    return lines if are_objects else []
