"""Checks and reads the responses of verbatim exchanges, and edits as few bytes as possible.

Invariants: bytes that need no change are not rebuilt, and bytes that are no response
do not pass. Nearly every frame of a stream is a content delta, which is checked and counted but
not changed. Only the JSON structure of a frame counts, so text that looks like a part of the
protocol has no effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from vai.codec.sse import encode_frame, read_frames, split_frames
from vai.errors import InvalidRequest, UpstreamBroken, UpstreamFault
from vai.providers.anthropic.bent import normalize_event
from vai.providers.anthropic.calls import CallRepairer
from vai.providers.anthropic.frames import (
    CONTENT,
    FrameDelta,
    FrameEvent,
    decode_object,
    read_content,
    read_deltas,
    read_event,
    read_members,
    replace_broken_characters,
    to_valid_utf8,
    with_event_name,
)
from vai.providers.anthropic.framing import (
    EventSequencer,
    encode_frames,
    order_frame,
    with_fitting_end,
)
from vai.providers.anthropic.stream import AnthropicStreamDecoder
from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.lenient import is_error
from vai.providers.decode.stream_body import StreamBody
from vai.providers.decode.wrong_address import UPSTREAM_ADDRESS
from vai.types import parse
from vai.types.catalogue import CostFunction
from vai.types.message import Usage
from vai.types.provider import ProviderSpec
from vai.types.render import message_to_wire, usage_to_wire, vai_counters, without_vai_counters

__all__ = [
    "VerbatimReport",
    "VerbatimStreamObserver",
    "collect_stream",
    "is_passed_on",
    "read_message",
]

_EVENTS: Final = frozenset({"message_start", "message_delta", "message_stop", "error"})
_NO_USAGE: Final = Usage()
_encode = msgspec.json.Encoder().encode


class VerbatimStreamObserver:
    """Observes one stream, passed in whole frames.

    `edited` selects VAI's dialect: `message_start` has the full model name, and `message_delta`
    has usage under VAI's names as well; every other frame keeps its bytes. `generated` receives
    each piece of generated text; `estimate` returns the usage members for an output that the
    upstream did not count. `calls` repairs the start of calls, for servers that are not
    Anthropic's own; the observer then also puts the frames into the order of the API.

    Attributes:
        usage: running totals as the upstream reports them.
        has_started: whether `message_start` has been seen.
        has_content: whether a part of the response has been seen: a delta, a block that has
            content when it opens, or the end of a response without content.
        has_news: whether another attribute may have changed; the code that reads it resets it.
        is_complete: whether `message_stop` has been seen: the response is complete.
        stop_reason: why the response ended, as the upstream reports it.
        fault: the error of an error frame, or the reason why a frame is invalid.
        error_frame: the bytes of the error frame, if clients recognise its form and wording.
    """

    def __init__(
        self,
        spec: ProviderSpec,
        cost: CostFunction | None = None,
        *,
        edited: bool,
        generated: Callable[[str], None],
        estimate: Callable[[], dict[str, Any]],
        calls: CallRepairer | None = None,
    ) -> None:
        self.usage = _NO_USAGE
        self.has_started = False
        self.has_content = False
        self.has_news = False
        self.is_complete = False
        self.stop_reason: str | None = None
        self.fault: UpstreamFault | None = None
        self.error_frame = b""
        self._spec = spec
        self._cost = cost
        self._edited = edited
        self._generated = generated
        self._estimate = estimate
        self._calls = calls
        self._sequencer = None if calls is None else EventSequencer()

    @property
    def passes_deltas(self) -> bool:
        """Whether a delta changes nothing from now on but the count of the generated text."""
        return self.has_content and self._sequencer is None and self.fault is None

    def count_deltas(self, data: bytes) -> bool:
        """Count a read while `passes_deltas`, if it is nothing but deltas of the usual form, which
        `feed_frames` would pass unchanged; returns whether it is."""
        deltas = read_deltas(data)
        if deltas is None or not (data.isascii() or to_valid_utf8(data) is data):
            return False
        for delta in deltas:
            generated = delta.text or delta.thinking or delta.partial_json
            if type(generated) is str:
                self._generated(generated)
        return True

    def feed_frames(self, data: bytes) -> bytes:
        """Check more whole frames; return those for the client, up to a fault or the end."""
        data = to_valid_utf8(data)
        sequencer = self._sequencer
        if sequencer is not None:
            data = b"".join([order_frame(frame, sequencer) for frame in split_frames(data)])
        return self._pass_frames(data)

    def _pass_frames(self, data: bytes) -> bytes:
        passed: list[bytes] = []
        for frame, name, text in read_frames(data):
            content = read_content(name, text) if self.has_started else None
            if content is not None and not self._needs_repair(content):
                self._count_event(content)
                passed.append(frame)
                continue
            self.has_news = True
            outgoing = self._inspect_frame(frame, name, text)
            if outgoing is None:
                break
            passed.append(outgoing)
            if self.is_complete:
                break
        return b"".join(passed)

    def end_stream(self) -> bytes:
        """End the stream: return the end of the message if the server left only that out."""
        if self._sequencer is None or self.is_complete or self.fault is not None:
            return b""
        return self._pass_frames(encode_frames(self._sequencer.end_stream()))

    def _inspect_frame(self, frame: bytes, name: str, data: bytes) -> bytes | None:
        """Process a frame with this name and data; return the frame to send, or None if it must
        not be sent."""
        try:
            if name in _EVENTS and (self.has_started or name in ("message_start", "error")):
                # Its members are needed, so one parse finds its type as well.
                value = read_members(name, data)
                if value is not None:
                    return self._inspect_event(frame, name, value)
            event = read_event(name, data)
            return frame if event is None else self._judge_event(frame, data, event)
        except ValueError:
            self._fail_unreadable(name, data)
            return None

    def _judge_event(
        self, frame: bytes, data: bytes, event: FrameEvent | dict[str, Any]
    ) -> bytes | None:
        if isinstance(event, dict):
            self._fail_with_unknown_event(data)
            return None
        kind = event.type
        is_early = kind != "message_start" and kind.startswith(("message_", "content_"))
        if is_early and not self.has_started:
            self._fail_malformed("it begins in the middle")
            return None
        if not event.is_complete:
            self._fail_malformed("a part of it has no content")
            return None
        if kind in CONTENT:
            self._count_event(event)
            return with_event_name(
                self._repair_frame(frame, data) if self._needs_repair(event) else frame, kind
            )
        value = decode_object(data)
        if kind not in _EVENTS:
            if isinstance(value.get("message"), str):
                self._fail_with_unknown_event(data)
                return None
            return with_event_name(frame, kind)
        return self._inspect_event(frame, kind, value)

    def _inspect_event(self, frame: bytes, kind: str, value: dict[str, Any]) -> bytes | None:
        """Process an event without content; return the frame as `_inspect_frame` does."""
        if kind == "message_start":
            if self.has_started:
                self._fail_malformed("it begins twice")
                return None
            self.has_started = True
            if not _has_parts(value.get("message")):
                value = normalize_event(value)
                frame = encode_frame(kind, _encode(value))
            self._add_usage(value["message"].get("usage"))
        elif kind == "message_delta":
            self.usage = self.usage.with_final_usage(_parse_usage(value.get("usage")))
            end = value.get("delta")
            if isinstance(end, dict) and isinstance(end.get("stop_reason"), str):
                self.has_content = True
                self.stop_reason = end["stop_reason"]
        elif kind == "message_stop":
            if not self.has_content:
                self._fail_malformed("it has neither content nor an end")
                return None
            self.is_complete = True
        else:
            self._fail_with_error_event(frame, value)
            return None
        edited = self._edit_event(value) if self._edited else None
        return edited or with_event_name(frame, kind)

    def _needs_repair(self, event: FrameEvent) -> bool:
        """Whether the frame may need a repair: a call starts, at a server not Anthropic's own."""
        if self._calls is None or event.content_block is None:
            return False
        return bool(event.content_block.type == "tool_use")

    def _repair_frame(self, frame: bytes, data: bytes) -> bytes:
        value = decode_object(data)
        original = value.get("content_block")
        block = original if self._calls is None else self._calls.repair_block(original)
        if block is original:
            return frame
        repaired = msgspec.json.encode({**value, "content_block": block})
        return b"event: content_block_start\ndata: %b\n\n" % repaired

    def _count_event(self, event: FrameEvent) -> None:
        """Count what a content frame adds."""
        if event.type == "content_block_delta" and event.delta is not None:
            self._count_delta(event.delta)
        elif event.type == "content_block_start" and not self.has_content:
            block = event.content_block
            self.has_content = self.has_news = block is None or not block.is_empty

    def _count_delta(self, delta: FrameDelta) -> None:
        if not self.has_content:
            self.has_content = self.has_news = not delta.is_empty
        generated = delta.text or delta.thinking or delta.partial_json
        if type(generated) is str:
            self._generated(generated)

    def _fail_with_error_event(self, frame: bytes, value: dict[str, Any]) -> None:
        self.fault = failure.fault_from_event(self._spec.id, self._spec.name, value)
        if _has_form(value) and not _is_misworded(value, self.fault):
            self.error_frame = frame

    def _fail_with_unknown_event(self, data: bytes) -> None:
        """End the stream at a frame that is no event: with the error that it reports, if any."""
        fault = failure.fault_from_object(
            self._spec.id, self._spec.name, msgspec.json.encode(decode_object(data))
        )
        self.fault = fault or _malformed_fault("a part of it is no event", self._spec.id)

    def _fail_unreadable(self, name: str, data: bytes) -> None:
        # Some servers send their error as plain text.
        words = data.decode("utf-8", "replace") if name == "error" else ""
        if words:
            self.fault = failure.fault_from_event(self._spec.id, self._spec.name, words)
        else:
            self._fail_malformed("a part of it is not the JSON that was expected")

    def _fail_malformed(self, what: str) -> None:
        self.fault = _malformed_fault(what, self._spec.id)

    def _add_usage(self, raw: Any) -> None:
        usage = _parse_usage(raw)
        if usage is not None:
            self.usage = usage if self.usage is _NO_USAGE else self.usage.merged_with(usage)

    def _edit_event(self, value: dict[str, Any]) -> bytes | None:
        """The frame in VAI's dialect; None if it is the same there."""
        kind = value["type"]
        if kind == "message_start":
            message = value.get("message")
            if not isinstance(message, dict):
                return None
            _set_full_model(message, self._spec.id)
            if isinstance(message.get("usage"), dict):
                message["usage"] = without_vai_counters(message["usage"])
        elif kind != "message_delta":
            return None
        else:
            usage = value.get("usage")
            if not isinstance(usage, dict):
                usage = usage_to_wire(self.usage)
            if self.usage.output_tokens is None:
                # Some servers send no output count, and strict clients fail on that.
                usage |= self._estimate()
            value["usage"] = usage | vai_counters(self.usage, self._cost)
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(value))


class VerbatimReport(msgspec.Struct, frozen=True):
    """The usage and the stop reason of a JSON response."""

    usage: Usage
    stop_reason: str | None


class _Part(msgspec.Struct, gc=False):
    """The type of one content block."""

    type: str


class _MessageHead(msgspec.Struct):
    """The members of a JSON response that VAI reads; of its content only the types."""

    type: Any = None
    model: Any = None
    content: list[_Part] | None = None
    error: Any = None
    usage: Any = None
    stop_reason: Any = None

    def to_report(self) -> VerbatimReport:
        reason = self.stop_reason if isinstance(self.stop_reason, str) else None
        return VerbatimReport(_parse_usage(self.usage) or Usage(), reason)


_decode_head = msgspec.json.Decoder(_MessageHead).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_message(
    body: bytes,
    spec: ProviderSpec,
    cost: CostFunction | None = None,
    *,
    edited: bool,
    calls: CallRepairer | None = None,
) -> tuple[bytes, VerbatimReport]:
    """The bytes of a JSON response for the client, and its report.

    `edited` selects VAI's dialect. Members that are not edited, such as the content, keep
    their bytes, except for what `calls` changes.

    Raises:
        UpstreamFault: the body is an error, or no message.
    """
    body = to_valid_utf8(body)
    head, readable = _read_head(body)
    if head is None or head.type != "message" or head.content is None or is_error(head.error):
        raise _fault_from_body(body, spec)
    report = head.to_report()
    changes = _repaired_members(head, readable, calls)
    if "stop_reason" in changes:
        report = msgspec.structs.replace(report, stop_reason=changes["stop_reason"])
    if not (edited or changes):
        return body, report
    members: dict[str, Any] = _decode_members(readable) | changes
    if edited and isinstance(head.model, str):
        members["model"] = f"{spec.id}/{head.model}"
    if edited and isinstance(head.usage, dict):
        members["usage"] = head.usage | vai_counters(report.usage, cost)
    return msgspec.json.encode(members), report


def _repaired_members(
    head: _MessageHead, body: bytes, calls: CallRepairer | None
) -> dict[str, Any]:
    """The members to change in the response of a server that is not Anthropic's own."""
    if calls is None:
        return {}
    original = msgspec.json.decode(_decode_members(body)["content"])
    framed = with_fitting_end({"content": original, "stop_reason": head.stop_reason})
    content = calls.repair_content(framed["content"])
    changes: dict[str, Any] = {"content": content} if content != original else {}
    if framed["stop_reason"] != head.stop_reason:
        changes["stop_reason"] = framed["stop_reason"]
    return changes


def collect_stream(body: bytes, spec: ProviderSpec, calls: CallRepairer | None) -> bytes:
    """The JSON response from an event stream, where the client requested JSON.

    `calls` brings the tool calls into the API's form.

    Raises:
        UpstreamFault: the body is no such stream, or the stream fails.
    """
    incoming = StreamBody()
    sequencer = EventSequencer() if calls is not None else None
    reader = AnthropicStreamDecoder(
        spec.id, spec.name, calls or CallRepairer(spec.id, ""), sequencer
    )
    events = incoming.feed_bytes(body)
    if incoming.fault is not None:
        raise incoming.fault
    for _, data in events + incoming.end_body()[0]:
        reader.read_event(data)
    reader.end_stream()
    if reader.fault is not None:
        raise reader.fault
    message = message_from_events(reader.take_events())
    unprefixed = msgspec.structs.replace(message, model=message.model.removeprefix(f"{spec.id}/"))
    wire = message_to_wire(unprefixed)
    return msgspec.json.encode({**wire, "usage": without_vai_counters(wire["usage"])})


def is_passed_on(body: bytes, fault: UpstreamFault) -> bool:
    """Whether the gateway sends the body of an error to the client unchanged.

    Clients of the Messages API match the type and the wording of such bodies, so those keep
    every byte. Clients react to two errors in one wording only: an overload and a prompt that is
    too long. The gateway replaces other wordings of these two. It also replaces the body from a
    wrong address, which is not the provider's.
    """
    if fault.code == UPSTREAM_ADDRESS:
        return False
    try:
        return not _is_misworded(decode_object(body), fault)
    except ValueError:
        return True  # a page of a proxy: its status is the whole information


def _is_misworded(value: dict[str, Any], fault: UpstreamFault) -> bool:
    """Whether clients would not recognise `fault` by this wording."""
    if fault.code == failure.CONTEXT_OVERFLOW:
        return not _has_form(value) or failure.PROMPT_TOO_LONG not in value["error"]["message"]
    if fault.type == "overloaded_error" and failure.is_overload_message(value):
        return not _has_form(value) or value["error"]["type"] != fault.type
    return False


def _has_form(value: dict[str, Any]) -> bool:
    """Whether `value` is an error object of the Messages API."""
    error = value.get("error")
    if value.get("type") != "error" or not isinstance(error, dict):
        return False
    return isinstance(error.get("type"), str) and isinstance(error.get("message"), str)


def _has_parts(message: Any) -> bool:
    """Whether the message of a `message_start` has the members that clients need."""
    return (
        isinstance(message, dict)
        and isinstance(message.get("content"), list)
        and isinstance(message.get("usage"), dict)
    )


def _fault_from_body(body: bytes, spec: ProviderSpec) -> UpstreamFault:
    try:
        value = decode_object(body)
    except ValueError:
        return _malformed_fault("it is not the JSON that was expected", spec.id)
    fault = failure.fault_from_object(spec.id, spec.name, msgspec.json.encode(value))
    if fault is None and (value.get("type") == "error" or value.get("error")):
        fault = failure.fault_from_event(spec.id, spec.name, value)
    return fault or _malformed_fault("it is no message", spec.id)


def _malformed_fault(what: str, provider: str) -> UpstreamBroken:
    return UpstreamBroken.from_code("upstream_malformed", what, provider=provider)


def _read_head(body: bytes) -> tuple[_MessageHead | None, bytes]:
    """The head of a JSON response, and its bytes, repaired if they do not parse."""
    try:
        return _decode_head(body), body
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = replace_broken_characters(body)
    try:
        return _decode_head(body), body
    except (msgspec.DecodeError, RecursionError):
        return None, body


def _parse_usage(raw: Any) -> Usage | None:
    if not isinstance(raw, dict):
        return None
    try:
        return parse.parse_usage(raw)
    except InvalidRequest:
        return None


def _set_full_model(message: dict[str, Any], provider: str) -> None:
    model = message.get("model")
    if isinstance(model, str):
        message["model"] = f"{provider}/{model}"
