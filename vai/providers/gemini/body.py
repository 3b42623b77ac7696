"""The body of an answer: event stream, plain JSON, or the one and then the other.

An event stream can break off into an error object in plain JSON lines, without `data:`;
and a request to stream can be answered with one JSON object or array. All of them are the
same here: JSON texts, in the order they came.
"""

from __future__ import annotations

import re
from typing import Final

from vai.codec.sse import MAX_FRAME, SseDecoder
from vai.errors import UpstreamBroken
from vai.providers.decode.stream_body import no_answer

__all__ = ["MAX_PLAIN", "BodyParser"]

MAX_PLAIN: Final = MAX_FRAME
"""Bytes of plain JSON."""

# No field of an event stream begins with a brace or a bracket.
_AT_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t]*(?=[{\[])")
_INSIDE: Final = re.compile(rb"[\r\n][ \t]*(?=[{\[])")
_NOTHING: Final = b" \t\xef\xbb\xbf"
_BLANKS: Final = _NOTHING + b"\r\n"


class BodyParser:
    """Decodes one body, however it is cut."""

    __slots__ = ("_at_start", "_broken", "_has_begun", "_plain", "_sse")

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._at_start = True
        self._has_begun = False
        self._plain: bytearray | None = None
        self._broken: UpstreamBroken | None = None

    @property
    def fault(self) -> UpstreamBroken | None:
        """Set when the body is a page, or a part of it grows beyond what can be held."""
        return self._sse.fault or self._broken

    def feed(self, data: bytes) -> list[bytes]:
        """The JSON texts that `data` completes. Plain JSON is complete at the end only."""
        if not self._has_begun and (head := data.lstrip(_BLANKS)):
            self._has_begun = True
            if head[:1] == b"<":
                self._broken = no_answer()
        if self._plain is None:
            begins = (_AT_START.match(data) if self._at_start else None) or _INSIDE.search(data)
            if begins is None:
                self._note_line(data)
                return [text for _, text in self._sse.feed(data)]
            self._plain = bytearray()
            # The blank line that the plain text took the place of ends the event before it.
            events = self._sse.feed(data[: begins.end()]) + self._sse.feed(b"\n\n")
            self._hold(data[begins.end() :])
            return [text for _, text in events]
        self._hold(data)
        return []

    def end(self) -> list[bytes]:
        """The last of them."""
        if self._plain is not None:
            return [bytes(self._plain)]
        return [text for _, text in self._sse.flush()]

    def _note_line(self, data: bytes) -> None:
        """Whether the line that `data` ends in has begun with anything yet."""
        line_end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        if line_end >= 0 or self._at_start:
            self._at_start = not data[line_end + 1 :].strip(_NOTHING)

    def _hold(self, data: bytes) -> None:
        if self._plain is None or self._broken is not None:
            return
        self._plain += data
        if len(self._plain) > MAX_PLAIN:
            self._plain.clear()
            self._broken = UpstreamBroken(
                f"The provider sent a response of more than {MAX_PLAIN} bytes"
            )
