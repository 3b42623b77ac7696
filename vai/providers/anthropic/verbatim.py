"""Reading along, and touching as little as possible, while Anthropic's bytes pass through.

The law of this module: bytes that need no change are not rebuilt. Nearly every frame of
a stream is a content delta; those are passed over by a search for a few letters. Only a
frame that contains the letters is parsed, and only what its JSON says counts, so text
that talks about the protocol fools nobody.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.codec.sse import SseDecoder, frames
from vai.errors import InvalidRequest, UpstreamFault
from vai.providers import failure
from vai.types import parse
from vai.types.catalogue import Coster
from vai.types.message import Usage
from vai.types.provider import ProviderRow
from vai.types.render import own_counters, usage_to_wire, without_own_counters

__all__ = ["Report", "Sniffer", "edit_message", "is_marked", "report_of"]

_MARKS: Final = (b"message_", b'"error"')
_NAMED: Final = ("message_start", "message_delta", "message_stop", "error")

_decode = msgspec.json.Decoder().decode


class Sniffer:
    """Watches one stream, given as whole frames.

    Attributes:
        usage: running totals as the upstream reports them.
        started: whether `message_start` has been seen.
        done: whether `message_stop` has been seen: the answer is complete.
        stop_reason: why the answer ended, as the upstream says it.
        fault: what an error frame said, if one came.
    """

    def __init__(self, row: ProviderRow, cost: Coster | None = None) -> None:
        self.usage = Usage()
        self.started = False
        self.done = False
        self.stop_reason: str | None = None
        self.fault: UpstreamFault | None = None
        self._row = row
        self._cost = cost

    def feed(self, data: bytes) -> None:
        """More whole frames, passed on as they are (Anthropic's own dialect)."""
        for frame in frames(data):
            if is_marked(frame):
                self._look(frame)

    def edit_frames(self, data: bytes) -> bytes:
        """More whole frames, with the two kinds edited that VAI's dialect adds to.

        `message_start` names the model in full, and `message_delta` carries usage under VAI's
        names as well; every other frame keeps its bytes.
        """
        return b"".join(
            self._edited(frame) if is_marked(frame) else frame for frame in frames(data)
        )

    def _look(self, frame: bytes) -> dict[str, Any] | None:
        """Take in what the frame says; gives its JSON if it is one of those that count."""
        value = _json_of(frame)
        kind = value.get("type") if value is not None else None
        if value is None or kind not in _NAMED:
            return None
        if kind == "message_start":
            self.started = True
            message = value.get("message")
            self._count(message.get("usage") if isinstance(message, dict) else None)
        elif kind == "message_delta":
            self._count(value.get("usage"))
            end = value.get("delta")
            if isinstance(end, dict) and isinstance(end.get("stop_reason"), str):
                self.stop_reason = end["stop_reason"]
        elif kind == "message_stop":
            self.done = True
        elif self.fault is None:
            self.fault = failure.from_event(self._row.id, self._row.name, value)
        return value

    def _count(self, raw: Any) -> None:
        found = _parsed(raw)
        if found is not None:
            self.usage = self.usage.merged(found)

    def _edited(self, frame: bytes) -> bytes:
        value = self._look(frame)
        if value is None or value["type"] not in ("message_start", "message_delta"):
            return frame
        if value["type"] == "message_start":
            message = value.get("message")
            if not isinstance(message, dict):
                return frame
            _name(message, self._row.id)
            if isinstance(message.get("usage"), dict):
                message["usage"] = without_own_counters(message["usage"])
        elif isinstance(value.get("usage"), dict):
            value["usage"] |= own_counters(self.usage, self._cost)
        else:
            # It exists in the wild, and strict clients fail on it.
            value["usage"] = {"output_tokens": 0, **usage_to_wire(self.usage, self._cost)}
        kind = value["type"].encode()
        return b"event: %b\ndata: %b\n\n" % (kind, msgspec.json.encode(value))


class Report(msgspec.Struct, frozen=True):
    """What a JSON answer says about itself."""

    usage: Usage
    stop_reason: str | None


class _Said(msgspec.Struct):
    """The members of a JSON answer that count; its content is skipped."""

    type: Any = None
    model: Any = None
    usage: Any = None
    stop_reason: Any = None

    def report(self) -> Report:
        reason = self.stop_reason if isinstance(self.stop_reason, str) else None
        return Report(_parsed(self.usage) or Usage(), reason)


_decode_said = msgspec.json.Decoder(_Said).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def report_of(body: bytes) -> Report:
    """Usage and stop reason of a JSON answer, as far as it tells them."""
    return _said(body).report()


def edit_message(body: bytes, row: ProviderRow, cost: Coster | None = None) -> tuple[bytes, Report]:
    """A JSON answer in VAI's dialect, and its report. What is no message is left as it is.

    The members that are not edited, the content above all, keep their bytes.
    """
    said = _said(body)
    report = said.report()
    if said.type != "message":
        return body, report
    members: dict[str, Any] = _decode_members(body)
    if isinstance(said.model, str):
        members["model"] = f"{row.id}/{said.model}"
    if isinstance(said.usage, dict):
        members["usage"] = said.usage | own_counters(report.usage, cost)
    return msgspec.json.encode(members), report


def _said(body: bytes) -> _Said:
    try:
        return _decode_said(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Said()


def is_marked(data: bytes) -> bool:
    """Whether `data` may hold a frame that counts. Nearly no batch of a stream does."""
    return _MARKS[0] in data or _MARKS[1] in data


def _json_of(frame: bytes) -> dict[str, Any] | None:
    decoder = SseDecoder()
    for _, data in decoder.feed(frame) + decoder.end():
        return _object(data)
    return None


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parsed(raw: Any) -> Usage | None:
    if not isinstance(raw, dict):
        return None
    try:
        return parse.usage(raw)
    except InvalidRequest:
        return None


def _name(message: dict[str, Any], provider: str) -> None:
    model = message.get("model")
    if isinstance(model, str):
        message["model"] = f"{provider}/{model}"
