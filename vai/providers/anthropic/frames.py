"""Parses the frames of a Messages API stream without rebuilding them.

Invariants: the gateway checks that every frame is one JSON object with a type, under the event
name of that type: a partial object breaks the client that parses it, and the official clients
ignore an event without its name. Only frames of an unusual form are split into their lines.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.codec.halves import repair_escapes
from vai.codec.sse import encode_frame, read_single_frame

__all__ = [
    "CONTENT",
    "FrameDelta",
    "FrameEvent",
    "decode_object",
    "is_event",
    "read_content",
    "read_deltas",
    "read_event",
    "read_members",
    "replace_broken_characters",
    "to_valid_utf8",
    "with_event_name",
]

CONTENT: Final = frozenset(
    {"content_block_delta", "content_block_start", "content_block_stop", "ping"}
)
"""Types of frames that are frequent, and pass without a full parse."""
_DELTA_HEAD: Final = b"event: content_block_delta\ndata: "
_DELTA_AT: Final = len(_DELTA_HEAD)
_NEXT_DELTA: Final = b"\n\n" + _DELTA_HEAD
_LF: Final = 0x0A
_CR: Final = 0x0D
"""Line ends as numbers: to look for a number in bytes costs a ninth of looking for bytes."""
_decode_any = msgspec.json.Decoder().decode


class FrameDelta(msgspec.Struct, gc=False):
    """The members of a delta that hold what the model generated."""

    text: Any = None
    thinking: Any = None
    partial_json: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether the delta is a content delta of zero length."""
        has_text = self.text or self.thinking or self.partial_json
        return not has_text and "" in (self.text, self.thinking, self.partial_json)


class FrameBlock(msgspec.Struct, gc=False):
    """The members of an opened block that show whether it already has content."""

    type: Any = None
    text: Any = None
    thinking: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether the block has no content before its first delta."""
        return self.type in ("text", "thinking") and not (self.text or self.thinking)


class FrameEvent(msgspec.Struct, gc=False):
    """The type and the content of one event of a stream."""

    type: str
    delta: FrameDelta | None = None
    content_block: FrameBlock | None = None

    @property
    def is_complete(self) -> bool:
        """Whether a content event has the member that clients read."""
        if self.type == "content_block_delta":
            return self.delta is not None
        if self.type == "content_block_start":
            return self.content_block is not None and type(self.content_block.type) is str
        return True


_decode_one = msgspec.json.Decoder(FrameEvent).decode


def read_deltas(data: bytes) -> list[FrameDelta] | None:
    """The deltas, where a read is nothing but content deltas of the usual form; else None.

    Nearly all reads are, and those of a paced stream hold one. `read_content` reads the same.
    """
    if data[:_DELTA_AT] != _DELTA_HEAD or data[-2:] != b"\n\n" or _CR in data:
        return None
    body = data[_DELTA_AT:-2]
    if _LF not in body:
        delta = _decode_delta(body)
        return None if delta is None else [delta]
    deltas: list[FrameDelta] = []
    for text in body.split(_NEXT_DELTA):
        delta = None if _LF in text else _decode_delta(text)
        if delta is None:
            return None
        deltas.append(delta)
    return deltas


def _decode_delta(text: bytes) -> FrameDelta | None:
    try:
        event = _decode_one(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event.delta if event.type == "content_block_delta" else None


def read_content(name: str, data: bytes) -> FrameEvent | None:
    """The event of a frame that passes unchanged after this one parse: content that is complete,
    under its own name. None for any other frame.

    Args:
        name: the frame's event name.
        data: its data.
    """
    if name not in CONTENT:
        return None
    try:
        event = _decode_one(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event if event.type == name and event.is_complete else None


def read_members(name: str, data: bytes) -> dict[str, Any] | None:
    """The members of an event under its own name; None for any other frame.

    Arguments as for `read_content`.
    """
    try:
        value = _decode_any(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if type(value) is dict and value.get("type") == name else None


def read_event(name: str, data: bytes) -> FrameEvent | dict[str, Any] | None:
    """Parse one frame: its event, a JSON object that is no event, or None without data.

    Arguments as for `read_content`.

    Raises:
        ValueError: its data is not a JSON object.
    """
    if not data.strip():
        return None
    try:
        return _decode_one(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = decode_object(data)
    kind = value.get("type")
    if isinstance(kind, str):
        try:
            return msgspec.convert(value, FrameEvent)
        except msgspec.ValidationError:
            return FrameEvent(kind)
    return FrameEvent(name) if name == "error" else value


def with_event_name(frame: bytes, kind: str) -> bytes:
    """`frame`, rebuilt if its event name is not `kind`."""
    if frame.startswith(b"event: %b\n" % kind.encode()):
        return frame
    name, data = read_single_frame(frame)
    return frame if name == kind or "\n" in kind or "\r" in kind else encode_frame(kind, data)


def is_event(frame: bytes) -> bool:
    """Whether `frame` is a whole event; a frame cut by a lost connection is not."""
    try:
        return isinstance(read_event(*read_single_frame(frame)), FrameEvent)
    except ValueError:
        return False


def decode_object(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is. Escaped lone surrogates become U+FFFD.

    Raises:
        ValueError: `data` is no JSON object.
    """
    try:
        value = _decode_any(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _decode_repaired(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  of bytes, the value is what is wrong
    return value


def to_valid_utf8(data: bytes) -> bytes:
    """`data`, with U+FFFD for invalid UTF-8: the official clients decode it strictly."""
    if data.isascii():
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace").encode()
    return data


def replace_broken_characters(data: bytes) -> bytes:
    """`data`, with U+FFFD for what no parser accepts: invalid UTF-8 and lone surrogates."""
    text, rest = repair_escapes(data.decode("utf-8", "replace"))
    return (text + rest).encode()


def _decode_repaired(data: bytes) -> Any:
    try:
        return _decode_any(replace_broken_characters(data))
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not JSON") from None
