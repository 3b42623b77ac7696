"""A strict judge of canonical streams.

Invariants: a stream is judged by what clients may rely on, not by what VAI
happens to emit. It takes the wire form, so it judges a socket's bytes as well as an
adapter's events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from vai.types.events import Event
from vai.types.render import event_to_wire

__all__ = ["StreamError", "check_ending", "check_events", "check_message", "check_stream"]

_OFFICIAL = TypeAdapter(RawMessageStreamEvent)
_DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "audio": {"audio_delta", "transcript_delta"},
}
_OURS = {"audio", "image", "audio_delta", "transcript_delta"}
"""Types of VAI's own: clients that do not know them skip them."""
_OWN_USAGE = {
    "audio_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_usd",
    "total_tokens",
}
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_KNOWN = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
}
_SPOKEN_ENDS = {"end_turn", "stop_sequence"}
_CONTENT = {"text", "image", "audio", "video"}
"""What an answer that ends by itself ends with: clients take their result from the last block."""
_KNOWN_DELTAS = set().union(*_DELTAS.values())


class StreamError(AssertionError):
    """The stream breaks a rule."""


def check_events(events: Iterable[Event], *, complete: bool = True) -> list[dict[str, Any]]:
    """Judge an adapter's events; gives their wire forms."""
    return check_stream([event_to_wire(event) for event in events], complete=complete)


def check_stream(events: list[dict[str, Any]], *, complete: bool = True) -> list[dict[str, Any]]:
    """Judge a stream in wire form.

    Args:
        complete: whether it must have come to its end; False for one that was cut off
            or ended by an error event.
    """
    judge = _Judge()
    for event in events:
        judge.next(event)
    if complete and not judge.stopped:
        raise StreamError("no message_stop")
    if not complete and judge.stopped:
        raise StreamError("complete, although it was cut off")
    return events


def check_message(message: dict[str, Any]) -> dict[str, Any]:
    """Judge a whole answer in wire form."""
    last = message["content"][-1]["type"] if message["content"] else None
    check_ending(message["stop_reason"], last)
    return message


def check_ending(stop_reason: str | None, last: str | None) -> None:
    """Judge the type of the last block; None where the answer has no block."""
    if stop_reason in _SPOKEN_ENDS and last is not None and last not in _CONTENT:
        raise StreamError(f"{stop_reason} behind a {last} block")


class _Judge:
    def __init__(self) -> None:
        self.stopped = False
        self.failed = False
        self.started = False
        self.ended: str | None = None
        self.open: dict[str, Any] | None = None
        self.last: str | None = None
        self.json = ""
        self.broken_json = False
        self.signed = False
        self.count = 0
        self.ids: set[str] = set()
        self.usage: dict[str, int] = {}

    def next(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        self._must(not self.stopped, f"{kind} after message_stop")
        self._must(not self.failed, f"{kind} after error")
        if kind == "error":
            self.failed = True
        if kind not in _KNOWN:
            return
        inner = event.get("delta") or event.get("content_block") or {}
        unknown = kind == "content_block_delta" and inner["type"] not in _KNOWN_DELTAS
        if not unknown and inner.get("type") not in _OURS:
            _OFFICIAL.validate_python(event)
        self._must(self.started or kind == "message_start", f"{kind} before message_start")
        self._must(self.ended is None or kind == "message_stop", f"{kind} after message_delta")
        getattr(self, f"_{kind}")(event)

    def _message_start(self, event: dict[str, Any]) -> None:
        self._must(not self.started, "message_start twice")
        self.started = True
        message = event["message"]
        self._must(message["content"] == [], "content in message_start")
        self._must(message["stop_reason"] is None, "stop_reason in message_start")
        own = sorted(_OWN_USAGE & message["usage"].keys())
        self._must(not own, f"{own} in message_start.usage, where clients keep them for good")
        self._count(message["usage"], first=True)

    def _content_block_start(self, event: dict[str, Any]) -> None:
        self._must(self.open is None, "two blocks open at once")
        self._must(event["index"] == self.count, "index not contiguous")
        self.open, self.json, self.signed = event["content_block"], "", False
        self.last = self.open["type"]
        if self.open["type"] == "tool_use":
            self._must(self.open["input"] == {}, "input in the start of a tool_use")
            call, name = self.open["id"], self.open["name"]
            self._must(bool(_CALL_ID.fullmatch(call) and name), "tool_use without id or name")
            self._must(call not in self.ids, "two tool_use of one id")
            self.ids.add(call)

    def _content_block_delta(self, event: dict[str, Any]) -> None:
        self._must(self.open is not None, "delta outside of a block")
        assert self.open is not None
        self._must(event["index"] == self.count, "delta of another block")
        delta, kind = event["delta"], self.open["type"]
        if delta["type"] not in _KNOWN_DELTAS:
            return
        self._must(delta["type"] in _DELTAS.get(kind, ()), f"{delta['type']} in {kind}")
        self._must(not self.signed, "delta after the signature")
        self.signed = delta["type"] == "signature_delta"
        if delta["type"] == "input_json_delta":
            self.json += delta["partial_json"]

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        self._must(self.open is not None, "stop without a block")
        self._must(event["index"] == self.count, "stop of another block")
        self.open = None
        self.count += 1
        if self.json and not _is_object(self.json):
            self.broken_json = True

    def _message_delta(self, event: dict[str, Any]) -> None:
        self._must(self.open is None, "message_delta inside a block")
        self.ended = event["delta"]["stop_reason"]
        self._must(self.ended is not None, "message_delta without stop_reason")
        check_ending(self.ended, self.last)
        if self.ended in ("end_turn", "tool_use"):
            self._must(not self.broken_json, "tool input that is no JSON object")
        self._count(event.get("usage") or {})

    def _message_stop(self, _: dict[str, Any]) -> None:
        self._must(self.ended is not None, "message_stop without message_delta")
        self.stopped = True

    def _count(self, usage: dict[str, Any], *, first: bool = False) -> None:
        for name in ("output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            value = usage.get(name)
            if value is not None:
                self._must(first or value >= self.usage.get(name, 0) or value == 0, f"{name} fell")
                self.usage[name] = value

    @staticmethod
    def _must(held: bool, otherwise: str) -> None:
        if not held:
            raise StreamError(otherwise)


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
