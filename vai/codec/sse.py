"""Event streams: bytes to events, bytes to whole frames, events to bytes.

Invariants: the result does not depend on how the bytes were cut into chunks, and reading a chunk
costs time linear in its length. The rules of the format are those of the HTML standard, section
9.2.6; three are wider here because providers need it: an event at the end of the stream counts
without its blank line, `data` is kept as bytes (the JSON parser that reads it checks its UTF-8),
and a frame may be as long as `MAX_FRAME`.

`encode_events` writes the Messages API's own events. Those without usage, which are nearly all of a
stream, are encoded without an intermediate dict as long as they hold no unknown member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from vai.codec.json import dumps
from vai.errors import UpstreamBroken
from vai.types.blocks import TextBlock, ThinkingBlock
from vai.types.catalogue import CostFunction
from vai.types.events import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    Event,
    MessageStop,
    UnknownDelta,
    UnknownEvent,
)
from vai.types.render import event_to_wire

__all__ = [
    "MAX_FRAME",
    "PING",
    "FrameSplitter",
    "SseDecoder",
    "encode_events",
    "encode_frame",
    "read_frames",
    "read_single_frame",
    "split_frames",
]

MAX_FRAME = 64 * 1024 * 1024
"""Bytes of one frame: an image arrives as one line."""

PING = b": ping\n\n"
"""A comment frame; keeps a silent connection alive, and every client ignores it."""

_BOM = b"\xef\xbb\xbf"

_NAME_LINES = {
    f"event: {name}".encode(): name
    for name in (
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
    )
}
"""The lines of the names in a stream of the Messages API."""

# Line ends as numbers: to look for a number in bytes costs a ninth of looking for bytes.
_LF = 0x0A
_CR = 0x0D


class SseDecoder:
    """Decodes one stream. Events are ``(event, data)``; an unnamed event is ``message``.

    `fault` is set when a frame grows beyond the limit; the decoder ignores everything after it.
    """

    __slots__ = ("_after_cr", "_limit", "_started", "_tail", "fault")

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.fault: UpstreamBroken | None = None
        self._limit = max_frame
        # The incomplete frame, its line ends already "\n". A bytearray, because a long
        # line fed in small chunks must not be copied for each of them.
        self._tail = bytearray()
        self._started = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """The events that `chunk` completes, in order."""
        if self.fault is not None or not chunk:
            return []
        if self._after_cr or _CR in chunk:
            chunk = self._unify_line_ends(chunk)
        tail = self._tail
        if self._started and not tail and chunk[-2:] == b"\n\n" and len(chunk) <= self._limit:
            # Fast path: nearly all reads of a paced stream hold exactly one frame.
            event = _decode_usual_frame(chunk[:-2])
            if event is not None:
                return [event]
        if not tail and (cut := chunk.rfind(b"\n\n")) >= 0:
            block, rest = chunk[:cut], chunk[cut + 2 :]
            if rest:
                tail += rest
        else:
            seam = max(0, len(tail) - 1)
            tail += chunk
            cut = tail.rfind(b"\n\n", seam)
            if cut < 0:
                self._check_limit()
                return []
            block = bytes(tail[:cut])
            del tail[: cut + 2]
        events = self._decode_block(block)
        if tail:
            self._check_limit()
        return events

    def flush(self) -> list[tuple[str, bytes]]:
        """The event that the end of the stream completes, if any."""
        if self.fault is not None:
            return []
        rest = bytes(self._tail)
        self._tail.clear()
        return self._decode_block(rest.rstrip(b"\n"))

    def _check_limit(self) -> None:
        # One extra byte: the line end of a frame that just fits.
        if len(self._tail) > self._limit + 1:
            self._set_fault()

    def _unify_line_ends(self, chunk: bytes) -> bytes:
        """Turn CRLF and CR into LF; a CRLF may be cut in two."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._after_cr = False
            if not chunk:
                return chunk
        self._after_cr = chunk[-1:] == b"\r"
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _decode_block(self, block: bytes) -> list[tuple[str, bytes]]:
        if not self._started:
            # The tail holds a stream's beginning back, so the first block has its first bytes.
            self._started = True
            block = block.removeprefix(_BOM)
        events: list[tuple[str, bytes]] = []
        limited = len(block) > self._limit
        for frame in block.split(b"\n\n"):
            if limited and len(frame) > self._limit:
                self._set_fault()
                break
            event = _decode_usual_frame(frame)
            if event is not None:
                events.append(event)
            else:
                _decode_frame(frame, events)
        return events

    def _set_fault(self) -> None:
        self._tail.clear()
        self.fault = _too_long(self._limit)


def _too_long(limit: int) -> UpstreamBroken:
    return UpstreamBroken(f"The provider sent an event of more than {limit} bytes")


def _decode_usual_frame(frame: bytes) -> tuple[str, bytes] | None:
    """The event of one of the two frames that nearly all streams consist of: a line of data, and
    a name followed by a line of data. None for any other frame.

    `frame` has no blank line and no CR.
    """
    if frame[:6] == b"data: ":
        return None if _LF in frame else ("message", frame[6:])
    line, separator, data = frame.partition(b"\ndata: ")
    name = _NAME_LINES.get(line)  # half of the time that decoding it takes
    if name is None:
        if line[:7] != b"event: " or _LF in line:
            return None
        name = line[7:].decode("utf-8", "replace")
    return (name, data) if name and separator and _LF not in data else None


def read_single_frame(frame: bytes) -> tuple[str, bytes]:
    """The event and the data of one frame with its blank line; both empty if it has no data."""
    # A decoder for one frame costs three times as much as this look at it.
    if frame[-2:] == b"\n\n" and _CR not in frame and len(frame) <= MAX_FRAME:
        event = _decode_usual_frame(frame[:-2])
        if event is not None:
            return event
    decoder = SseDecoder()
    for name, data in decoder.feed(frame) + decoder.flush():
        return name, data
    return "", b""


def _decode_frame(frame: bytes, events: list[tuple[str, bytes]]) -> None:
    """Decode one frame line by line and append its event, if it has data."""
    event = b""
    data: list[bytes] = []
    for line in frame.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    if data:
        events.append((event.decode("utf-8", "replace") or "message", b"\n".join(data)))


# Atomic, so that a CRLF can never be read as two line ends.
_LINE_END = rb"(?>\r\n|\n|\r)"
_BLANK = re.compile(_LINE_END + _LINE_END)


class FrameSplitter:
    """Cuts a stream behind its last blank line so that it can be forwarded frame by frame.

    The output of `feed` so far plus `get_rest()` is exactly the input. `fault` is set when
    a frame grows beyond the limit; `feed` returns nothing from then on.
    """

    __slots__ = ("_limit", "_tail", "fault")

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.fault: UpstreamBroken | None = None
        self._limit = max_frame
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """The bytes up to and with the last blank line; b"" when there is none yet."""
        if self.fault is not None:
            return b""
        tail = self._tail
        if not tail and chunk[-2:] == b"\n\n":
            return chunk
        seam = max(0, len(tail) - 3)
        tail += chunk
        cut = _find_last_blank_line(tail, seam)
        frames = bytes(tail[:cut])
        del tail[:cut]
        if len(tail) > self._limit:
            self.fault = _too_long(self._limit)
        return frames

    @property
    def is_empty(self) -> bool:
        """Whether the next byte begins a frame, and there is no fault."""
        return not self._tail and self.fault is None

    def get_rest(self) -> bytes:
        """The incomplete frame at the end."""
        return bytes(self._tail)


def _find_last_blank_line(data: bytearray, start: int) -> int:
    """The offset behind the last blank line at or after `start`; 0 when there is none."""
    cut = data.rfind(b"\n\n", start) + 2
    if data.find(b"\r", start) >= 0:
        # A blank line is two line ends in a row, and CRLF is one line end, not two.
        cut = max(cut, data.rfind(b"\n\r", start) + 2, data.rfind(b"\r\r", start) + 2)
        if cut > 1 and data[cut - 1 : cut + 1] == b"\r\n":
            cut += 1
    return cut if cut > 1 else 0


def split_frames(data: bytes) -> Iterator[bytes]:
    """The frames of `data`, each with its blank line; an incomplete one comes last.

    Their concatenation is `data`.
    """
    at = 0
    if _CR in data:
        for match in _BLANK.finditer(data):
            yield data[at : match.end()]
            at = match.end()
    else:
        while (cut := data.find(b"\n\n", at) + 2) > 1:
            yield data[at:cut]
            at = cut
    if at < len(data):
        yield data[at:]


def read_frames(data: bytes) -> Iterator[tuple[bytes, str, bytes]]:
    """The frames of `data` as in `split_frames`, each with its event and data as in
    `read_single_frame`."""
    if _CR in data or len(data) > MAX_FRAME:
        for frame in split_frames(data):
            yield frame, *read_single_frame(frame)
        return
    *frames, rest = data.split(b"\n\n")
    for frame in frames:
        terminated = frame + b"\n\n"
        name, text = _decode_usual_frame(frame) or read_single_frame(terminated)
        yield terminated, name, text
    if rest:
        yield rest, *read_single_frame(rest)


def encode_frame(event: str, data: bytes) -> bytes:
    """One frame: its name, then its data, a line of data for each line of `data`.

    Raises:
        ValueError: `event` contains a line end.
    """
    if "\n" in event or "\r" in event:
        raise ValueError("an event name is one line")
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


_encode = msgspec.json.Encoder().encode


def encode_events(events: list[Event], cost: CostFunction | None = None) -> bytes:
    """The frames of `events`, to be sent in one write; the last usage includes its cost."""
    frames: list[bytes] = []
    for event in events:
        form = _FORMS.get(type(event))
        if form is not None and _is_plain(event):
            frames.append(form % _encode(event))
        else:
            name, data = _event_name(event).encode(), dumps(event_to_wire(event, cost))
            frames.append(b"event: %b\ndata: %b\n\n" % (name, data))
    return b"".join(frames)


_FORMS: dict[type[Event], bytes] = {
    kind: b"event: %b\ndata: %%b\n\n" % str(kind.__struct_config__.tag).encode()
    for kind in (ContentBlockDelta, ContentBlockStart, ContentBlockStop, MessageStop)
}
"""The frames of events that have no usage."""


def _is_plain(event: Event) -> bool:
    """Whether an event of a type in `_FORMS` is encoded as `event_to_wire` writes it."""
    if type(event) is ContentBlockDelta:
        delta = event.delta
        return not (event.extra or delta.extra or type(delta) is UnknownDelta)
    if event.extra:
        return False
    if type(event) is ContentBlockStart:
        block = event.content_block
        return type(block) in _PLAIN_BLOCKS and not block.extra
    return True


_PLAIN_BLOCKS = (TextBlock, ThinkingBlock)


def _event_name(event: Event) -> str:
    if type(event) is UnknownEvent:
        # A name with a line break would open a second field of the frame.
        return str(event.raw.get("type", "message")).replace("\n", "").replace("\r", "")
    return str(event.__struct_config__.tag)
