"""What the frames of a Messages API stream say, told without rebuilding any of them.

The law of this module: every frame is proven to be what the API sends, one JSON object of a
type, because half an object that is passed on breaks the client that parses it. All frames of
one read are proven by one call of the parser. Its cost is that of the bytes; only frames that
do not have the usual form are looked at one by one.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from vai.codec.halves import mend_escapes
from vai.codec.sse import SseDecoder

__all__ = [
    "FrameEvent",
    "decode_object",
    "is_event",
    "mended",
    "object_of",
    "read_frame",
    "read_frames",
]

_DATA: Final = re.compile(rb"^data: ?(.*)$", re.MULTILINE)
_decode_any = msgspec.json.Decoder().decode


class FrameDelta(msgspec.Struct, gc=False):
    """The members of a delta that hold what the model generated."""

    text: Any = None
    thinking: Any = None
    partial_json: Any = None


class FrameBlock(msgspec.Struct, gc=False):
    """The members of an opened block that tell whether it has content already."""

    type: Any = None
    text: Any = None
    thinking: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether the block has no content before its first delta."""
        return self.type in ("text", "thinking") and not (self.text or self.thinking)


class FrameEvent(msgspec.Struct):
    """One event of a stream, as far as its type and its content matter."""

    type: str
    delta: FrameDelta | None = None
    content_block: FrameBlock | None = None


_decode_one = msgspec.json.Decoder(FrameEvent).decode
_decode_all = msgspec.json.Decoder(list[FrameEvent]).decode


def read_frames(data: bytes) -> list[FrameEvent] | None:
    """The events of whole frames, None where a frame is not of the usual form.

    The usual form is one line ``data: {...}`` per frame, with line feeds at its line ends.
    """
    if b"\r" in data:
        return None
    # The one frame that nearly all reads of a paced stream bring is cut in place.
    start = data.find(b"\ndata: ") + 7
    if start > 6 and data.find(b"\n", start) == len(data) - 2:
        try:
            return [_decode_one(data[start:])]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    found = _DATA.findall(data)
    try:
        events = _decode_all(b"[%b]" % b",".join(found))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # Two halves of an object are one object when a comma joins them.
    return events if len(events) == len(found) else None


def read_frame(frame: bytes) -> FrameEvent | dict[str, Any] | None:
    """What one frame says: its event; a JSON object that is no event; None without data.

    Raises:
        ValueError: its data is not a JSON object.
    """
    data = _data_of(frame)
    if data is None:
        return None
    try:
        return _decode_one(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = decode_object(data)
    kind = value.get("type")
    return FrameEvent(kind) if isinstance(kind, str) else value


def is_event(frame: bytes) -> bool:
    """Whether this is a whole event; what a broken connection leaves of one is not."""
    try:
        return isinstance(read_frame(frame), FrameEvent)
    except ValueError:
        return False


def object_of(frame: bytes) -> dict[str, Any]:
    """The JSON object in a frame that has one.

    Raises:
        ValueError: its data is not a JSON object.
    """
    return decode_object(_data_of(frame) or b"")


def decode_object(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is. Escaped halves of characters are read as U+FFFD.

    Raises:
        ValueError: it is something else.
    """
    try:
        value = _decode_any(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _mended_value(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  of bytes, the value is what is wrong
    return value


def mended(data: bytes) -> bytes:
    """`data`, with U+FFFD for what no parser takes: halves of characters, escaped or not."""
    whole, rest = mend_escapes(data.decode("utf-8", "replace"))
    return (whole + rest).encode()


def _mended_value(data: bytes) -> Any:
    try:
        return _decode_any(mended(data))
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not JSON") from None


def _data_of(frame: bytes) -> bytes | None:
    decoder = SseDecoder()
    for _, data in decoder.feed(frame) + decoder.end():
        return data if data.strip() else None
    return None
