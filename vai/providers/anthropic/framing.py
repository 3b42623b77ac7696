"""Corrects the order of events in streams of servers that deviate from the Messages API.

Anthropic's own streams need no correction. Other servers open a block before they close the last
one, give all blocks the same index, leave out the start or the end of blocks or of the
message, send ``end_turn`` after a call, and send reasoning after the text. Clients rely on the
API's order: one block at a time, contiguous indexes, a stop reason that fits the content, and text
or media as the last block of a response that ended by itself.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from vai.codec.sse import encode_frame, read_single_frame
from vai.providers.anthropic.frames import decode_object
from vai.providers.decode.tool_call import parse_arguments

__all__ = ["EventSequencer", "encode_frames", "order_frame", "with_fitting_end"]

Wire = dict[str, Any]

_CONTENT: Final = ("text", "image", "audio", "video", "document")
"""Block types that may be the last of a response that ends by itself."""
_DONE: Final = re.compile(rb"^data: ?\[DONE\]\s*$", re.MULTILINE)
"""OpenAI's end mark, which some servers of the Messages API send."""
_NATURAL_ENDS: Final = ("end_turn", "stop_sequence")
_BLOCKS: Final[dict[str, Wire]] = {
    "text_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
}
"""Type of a delta -> the block to open for it where the server opened none."""
_MAX_HELD: Final = 4 << 20
"""Bytes of the blocks that wait for the end of the block before them, and of those that are held
until more text shows that they are not the last. Above it the sequencer sends them at once."""


class EventSequencer:
    """Puts the events of one stream into the API's order; returns correct events unchanged."""

    def __init__(self) -> None:
        self._out: list[Wire] = []
        self._open: Any = None
        self._is_open = False
        self._input: Wire | None = None
        """The input in the start of a call, until a delta with input arrives."""
        self._waiting: dict[Any, list[Wire]] = {}
        self._size = 0
        self._held: list[Wire] = []
        self._held_size = 0
        self._holds = False
        self._index = -1
        self._started = self._ended = self._stopped = False
        self._has_call = self._has_content = False
        self._late: Wire | None = None
        """A `message_delta` without a stop reason."""

    def feed_event(self, event: Wire) -> list[Wire]:
        """The events to send for the server's next event."""
        kind = event.get("type")
        if kind == "content_block_delta":
            self._add_delta(event)
        elif kind == "content_block_start":
            self._start_block(event)
        elif kind == "content_block_stop":
            self._stop_block(event)
        elif kind == "message_start":
            self._begin_message(event)
        elif kind == "message_delta":
            self._end_message(event)
        elif kind == "message_stop":
            self._complete_message()
            self._put_event(event)
            self._stopped = True
        else:
            self._put_event(event)
        return self._take_events()

    def end_stream(self) -> list[Wire]:
        """End the stream: return `message_stop` if the server left only that out."""
        if self._ended and not self._stopped:
            self._stopped = True
            self._put_event({"type": "message_stop"})
        return self._take_events()

    def read_done_marker(self) -> list[Wire]:
        """End the message: the server sent OpenAI's end mark ``[DONE]``."""
        if self._index >= 0 and not self._stopped:
            self._complete_message()
        return self._take_events() + self.end_stream()

    def _take_events(self) -> list[Wire]:
        out, self._out = self._out, []
        return out

    def _begin_message(self, event: Wire) -> None:
        if self._started:
            return
        self._started = True
        message = event.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        if not (isinstance(message, dict) and isinstance(content, list) and content):
            self._put_event(event)
            return
        self._put_event({**event, "message": {**message, "content": []}})
        for index, block in enumerate(content):
            key = ("whole", index)
            self._start_block({"type": "content_block_start", "index": key, "content_block": block})
            self._stop_block({"type": "content_block_stop", "index": key})

    def _start_block(self, event: Wire) -> None:
        index = event.get("index")
        if self._is_open and index != self._open:
            self._defer_event(event)
            return
        self._close_block()
        self._open, self._is_open = index, True
        block = event.get("content_block")
        kind = block.get("type") if isinstance(block, dict) else None
        self._note_block_kind(kind)
        self._index += 1
        self._input = parse_arguments(block.get("input")) if block and kind == "tool_use" else None
        if self._input:
            # Clients read the input of a call only from its deltas.
            event = {**event, "content_block": {**(block or {}), "input": {}}}
        self._put_content(event)

    def _note_block_kind(self, kind: Any) -> None:
        """Note how the block that opens now affects the end of the response."""
        is_call = kind == "tool_use"
        if is_call or kind in _CONTENT:
            self._release_held()
            self._has_call = self._has_call or is_call
            self._has_content = not is_call
        elif self._has_content and not self._has_call:
            self._holds = True

    def _add_delta(self, event: Wire) -> None:
        index = event.get("index")
        if self._is_open and index != self._open:
            self._defer_event(event)
        elif self._is_open:
            self._put_piece(event)
        else:
            delta = event.get("delta")
            block = _BLOCKS.get(str(delta.get("type"))) if isinstance(delta, dict) else None
            if block is not None:
                self._start_block(
                    {"type": "content_block_start", "index": index, "content_block": block}
                )
                self._put_content(event)

    def _stop_block(self, event: Wire) -> None:
        if not self._is_open:
            return
        if event.get("index") != self._open:
            if event.get("index") in self._waiting:
                self._defer_event(event)
            return
        self._put_stop(event)
        self._release_waiting()

    def _defer_event(self, event: Wire) -> None:
        """Keep an event of a block that opened before the last one closed."""
        self._waiting.setdefault(_waiting_key(event.get("index")), []).append(event)
        self._size += len(msgspec.json.encode(event))
        if self._size > _MAX_HELD:
            self._close_block()
            self._release_waiting()

    def _release_waiting(self) -> None:
        """Send the waiting blocks, up to the first that is still incomplete."""
        while self._waiting and not self._is_open:
            self._write_events(self._waiting.pop(next(iter(self._waiting))))
        if not self._waiting:
            self._size = 0

    def _write_events(self, events: list[Wire]) -> None:
        """Send the events of one block."""
        for event in events:
            kind = event["type"]
            if kind == "content_block_start":
                self._start_block(event)
            elif kind == "content_block_delta":
                self._add_delta(event)
            elif self._is_open:
                self._put_stop(event)

    def _close_block(self) -> None:
        if self._is_open:
            self._put_stop({"type": "content_block_stop", "index": self._open})

    def _put_piece(self, event: Wire) -> None:
        delta = event.get("delta")
        if isinstance(delta, dict) and delta.get("partial_json"):
            self._input = None
        self._put_content(event)

    def _put_stop(self, event: Wire) -> None:
        if self._input:
            arguments = msgspec.json.encode(self._input).decode()
            delta = {"type": "input_json_delta", "partial_json": arguments}
            self._put_content({"type": "content_block_delta", "index": self._open, "delta": delta})
        self._input, self._is_open = None, False
        self._put_content(event)

    def _finish_content(self) -> None:
        self._close_block()
        while self._waiting:
            self._release_waiting()
            self._close_block()

    def _end_message(self, event: Wire) -> None:
        self._finish_content()
        if self._ended:
            return
        delta = event.get("delta")
        members = delta if isinstance(delta, dict) else {}
        upstream_reason = members.get("stop_reason")
        if upstream_reason is None:
            self._late = event
            return
        reason = _fitting_reason(upstream_reason, has_call=self._has_call)
        if reason in _NATURAL_ENDS:
            self._held.clear()
            self._holds = False
            if self._index >= 0 and not self._has_content:
                self._put_empty_text()
        else:
            self._release_held()
        self._ended = True
        is_same = reason == upstream_reason
        self._put_event(
            event if is_same else {**event, "delta": {**members, "stop_reason": reason}}
        )

    def _complete_message(self) -> None:
        """End the message, with or without a stop reason from the server."""
        self._finish_content()
        if not self._ended:
            late = self._late or {"type": "message_delta", "usage": {}}
            delta = late.get("delta")
            members = delta if isinstance(delta, dict) else {"stop_sequence": None}
            self._end_message({**late, "delta": {**members, "stop_reason": "end_turn"}})

    def _put_empty_text(self) -> None:
        position = {"index": self._index + 1}
        self._index += 1
        self._put_event(
            {"type": "content_block_start", **position, "content_block": _BLOCKS["text_delta"]}
        )
        self._put_event({"type": "content_block_stop", **position})

    def _put_content(self, event: Wire) -> None:
        if self._holds:
            self._held.append(event)
            self._held_size += len(msgspec.json.encode(event))
            if self._held_size > _MAX_HELD:
                self._release_held()
        elif event.get("index") == self._index:
            self._put_event(event)
        else:
            self._put_event({**event, "index": self._index})

    def _release_held(self) -> None:
        """Send the held events: what follows shows that the response was not at its end."""
        held, self._held, self._holds = self._held, [], False
        self._held_size = 0
        if not held:
            return
        self._index -= sum(event["type"] == "content_block_start" for event in held)
        for event in held:
            self._index += event["type"] == "content_block_start"
            self._put_content(event)

    def _put_event(self, event: Wire) -> None:
        self._out.append(event)


def with_fitting_end(message: Wire) -> Wire:
    """A whole response whose end fits its content; the same object if it fits already."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    kinds = [block.get("type") for block in content if isinstance(block, dict)]
    upstream_reason = message.get("stop_reason")
    reason = _fitting_reason(upstream_reason or "end_turn", has_call="tool_use" in kinds)
    if reason in _NATURAL_ENDS and kinds and kinds[-1] not in _CONTENT:
        last = max((at for at, kind in enumerate(kinds) if kind in _CONTENT), default=None)
        fitting = content if last is None else content[: last + 1]
        content = fitting if last is not None else [*content, {"type": "text", "text": ""}]
    if reason == upstream_reason and content is message["content"]:
        return message
    return {**message, "content": content, "stop_reason": reason}


def _fitting_reason(reason: Any, *, has_call: bool) -> Any:
    """The fitting stop reason: ``tool_use`` with a call, ``end_turn`` without; others stay."""
    if reason in ("end_turn", "tool_use"):
        return "tool_use" if has_call else "end_turn"
    return reason


def _waiting_key(index: Any) -> Any:
    return index if isinstance(index, int | str | tuple) else None


def order_frame(frame: bytes, sequencer: EventSequencer) -> bytes:
    """The frames to send for one of the server's frames; unchanged where it fits."""
    try:
        value = decode_object(read_single_frame(frame)[1])
    except ValueError:
        return encode_frames(sequencer.read_done_marker()) if _DONE.search(frame) else frame
    events = sequencer.feed_event(value)
    fits = len(events) == 1 and events[0] is value
    return frame if fits else encode_frames(events)


def encode_frames(events: list[dict[str, Any]]) -> bytes:
    """The frames of `events`."""
    return b"".join(encode_frame(event["type"], msgspec.json.encode(event)) for event in events)
