"""The body of an answer: event stream, plain JSON, or the one inside the other.

An event stream can break off into an error object as plain JSON lines, without `data:`;
and a request to stream can be answered with one JSON object or array. All of them are the
same here: JSON texts, in the order they came.
"""

from __future__ import annotations

import re
from typing import Final

from vai.codec.sse import FrameSplitter, SseDecoder, frames
from vai.errors import UpstreamBroken

__all__ = ["Body"]

# No field of an event stream begins with a brace or a bracket.
_LOOSE_FIRST: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t]*(?=[{\[])")
_LOOSE: Final = re.compile(rb"[\r\n][ \t]*(?=[{\[])")


class Body:
    """Decodes one body, however it is cut."""

    __slots__ = ("_splitter", "_sse")

    def __init__(self) -> None:
        self._splitter = FrameSplitter()
        self._sse = SseDecoder()

    @property
    def fault(self) -> UpstreamBroken | None:
        """Set when a part of the body grows beyond what can be held."""
        return self._splitter.fault or self._sse.fault

    def feed(self, data: bytes) -> list[bytes]:
        """The JSON texts that `data` completes."""
        return [text for frame in frames(self._splitter.feed(data)) for text in self._read(frame)]

    def end(self) -> list[bytes]:
        """The last of them."""
        texts = self._read(self._splitter.rest())
        return texts if self.fault is not None else texts + [data for _, data in self._sse.end()]

    def _read(self, frame: bytes) -> list[bytes]:
        loose = _LOOSE_FIRST.match(frame) or _LOOSE.search(frame)
        if loose is None:
            return [data for _, data in self._sse.feed(frame)]
        # The blank line that the loose text took the place of ends the event before it.
        fields = frame[: loose.start()]
        events = self._sse.feed(fields + b"\n\n") if fields.strip() else []
        return [*(data for _, data in events), frame[loose.end() :]]
