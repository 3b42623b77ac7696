"""Stream events -> server-sent events.

Deltas are nearly all of a stream, so they are encoded without an intermediate dict as
long as they hold no unknown member.
"""

from __future__ import annotations

import msgspec

from vai.codec.json import dumps
from vai.types.catalogue import CostFunction
from vai.types.events import ContentBlockDelta, Event, UnknownDelta, UnknownEvent
from vai.types.render import event_to_wire

__all__ = ["encode_events"]

_encode_into = msgspec.json.Encoder().encode_into


def encode_events(events: list[Event], cost: CostFunction | None = None) -> bytes:
    """The frames of `events`, to be sent in one write; the last usage with what it costs."""
    frames = bytearray()
    for event in events:
        if type(event) is ContentBlockDelta and _is_plain(event):
            frames += b"event: content_block_delta\ndata: "
            _encode_into(event, frames, -1)
        else:
            frames += b"event: %b\ndata: " % _event_name(event).encode()
            frames += dumps(event_to_wire(event, cost))
        frames += b"\n\n"
    return bytes(frames)


def _is_plain(event: ContentBlockDelta) -> bool:
    delta = event.delta
    return not (event.extra or delta.extra or type(delta) is UnknownDelta)


def _event_name(event: Event) -> str:
    if isinstance(event, UnknownEvent):
        # A name with a line break would open a second field of the frame.
        return str(event.raw.get("type", "message")).replace("\n", "").replace("\r", "")
    return str(event.__struct_config__.tag)
