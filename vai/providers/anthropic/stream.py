"""Anthropic responses -> canonical events.

Anthropic's events are VAI's own, so no emitter is needed. The decoder writes the full model name,
keeps the totals of the usage complete, and checks that the stream reached its end.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.codec.halves import SplitCharacters
from vai.errors import InvalidRequest, UpstreamFault
from vai.providers.anthropic.bent import normalize_event, parse_lenient_message
from vai.providers.anthropic.calls import CallRepairer
from vai.providers.anthropic.framing import EventSequencer, with_fitting_end
from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.accumulate import events_from_message
from vai.providers.decode.lenient import is_error
from vai.providers.decode.stream_decoder import EventSink, StreamDecoder
from vai.types import parse
from vai.types.events import (
    ErrorEvent,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    UnknownEvent,
)
from vai.types.message import Message

__all__ = ["AnthropicStreamDecoder"]

_DONE: Final = b"[DONE]"
_decode = msgspec.json.Decoder().decode


class AnthropicStreamDecoder(EventSink, StreamDecoder):
    """Decodes one response.

    Args:
        sequencer: orders the events of servers that are not Anthropic's own.
    """

    def __init__(
        self,
        provider: str,
        title: str,
        calls: CallRepairer,
        sequencer: EventSequencer | None = None,
    ) -> None:
        EventSink.__init__(self, provider)
        StreamDecoder.__init__(self, provider, title)
        self.sink = self
        self._calls = calls
        self._sequencer = sequencer
        self._halves = SplitCharacters()

    def read_event(self, data: bytes) -> None:
        """The data of one server-sent event."""
        if self.is_complete or self.fault is not None or not data.strip():
            return
        if data.strip() == _DONE:
            self.read_done_marker()
            return
        try:
            raw = self._halves.loads(data) if self._halves.is_waiting else _decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError):
            try:
                raw = self._halves.loads(data)
            except (ValueError, RecursionError):
                raw = None
        if self._sequencer is not None and isinstance(raw, dict):
            self._read_events(self._sequencer.feed_event(normalize_event(raw)), data)
        else:
            self._read_events([raw], data)

    def read_done_marker(self) -> None:
        """End the stream: a proxy sent OpenAI's end mark ``[DONE]``."""
        if self._sequencer is not None and not self.is_complete and self.fault is None:
            self._read_events(self._sequencer.read_done_marker())

    def _read_events(self, values: list[Any], data: bytes = b"") -> None:
        """Read events from `data`, or events that the server left out."""
        for raw in values:
            if self.is_complete or self.fault is not None:
                return
            event = self._parse_event(raw)
            if event is None or (type(event) is UnknownEvent and _may_be_error(event.raw)):
                fault = failure.fault_from_object(self._provider, self._title, data)
                if fault is not None:
                    self.fail(fault)
                    return
            if event is None:
                self.fail_unusable("a part of it is not the JSON that was expected", "malformed")
            else:
                self._add_event(event)

    def _add_event(self, event: Event) -> None:
        if type(event) is MessageStart:
            self.usage = self.usage.merged_with(event.message.usage)
            message = msgspec.structs.replace(event.message, model=self._full_model(event.message))
            event = msgspec.structs.replace(event, message=message)
        elif type(event) is MessageDelta:
            self.usage = self.usage.with_final_usage(event.usage)
            event = msgspec.structs.replace(event, usage=self.usage)
        elif type(event) is MessageStop:
            self.is_complete = True
        elif type(event) is ErrorEvent:
            body = {"error": event.error, **event.extra}
            self.fail(failure.fault_from_event(self._provider, self._title, body))
            return
        self._out.append(event)

    def _parse_event(self, raw: Any) -> Event | None:
        """The event that `raw` is; None if not even lenient parsing finds one."""
        raw = self._repair_call(raw)
        try:
            return parse.parse_event(raw)
        except InvalidRequest:
            try:
                return parse.parse_event(normalize_event(raw))
            except InvalidRequest:
                return None

    def _repair_call(self, raw: Any) -> Any:
        if not isinstance(raw, dict) or raw.get("type") != "content_block_start":
            return raw
        return {**raw, "content_block": self._calls.repair_block(raw.get("content_block"))}

    def parse_message(self, body: bytes) -> Message:
        """A whole response.

        Raises:
            UpstreamFault: the body is an error, or no response.
        """
        try:
            raw = self._decode_body(body)
            if isinstance(raw, dict):
                self._raise_if_error(raw, body)
                raw = {**raw, "content": self._calls.repair_content(raw.get("content"))}
            if isinstance(raw, dict) and self._sequencer is not None:
                raw = with_fitting_end(raw)
            message = parse_lenient_message(raw)
        except (msgspec.DecodeError, ValueError, InvalidRequest, RecursionError):
            raise self.unusable_fault("it is not the JSON that was expected", "malformed") from None
        self.usage = self.usage.merged_with(message.usage)
        return msgspec.structs.replace(message, model=self._full_model(message))

    def _raise_if_error(self, raw: dict[str, Any], body: bytes) -> None:
        """Raise the error that an object reports in place of a response."""
        if raw.get("type") == "message" and not is_error(raw.get("error")):
            return
        fault = failure.fault_from_object(self._provider, self._title, body)
        if fault is None and raw.get("type") == "error":
            fault = failure.fault_from_event(self._provider, self._title, raw)
        if fault is not None:
            raise fault

    def _decode_body(self, body: bytes) -> Any:
        try:
            return _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._halves.loads(body)

    def read_body(self, data: bytes) -> None:
        """A JSON response that the server sent in place of the requested stream."""
        try:
            self._out += events_from_message(self.parse_message(data))
        except UpstreamFault as fault:
            self.fail(fault)
        else:
            self.is_complete = True

    def end_stream(self) -> None:
        """No more data follows."""
        if self._sequencer is not None and self.fault is None:
            self._read_events(self._sequencer.end_stream())
        if not self.is_complete:
            self.fail_unusable("", "truncated")

    def _full_model(self, message: Message) -> str:
        return f"{self._provider}/{message.model}"


def _may_be_error(raw: dict[str, Any]) -> bool:
    """Whether an object of no known type may report an error; a new event has its own type."""
    return not isinstance(raw.get("type"), str) or isinstance(raw.get("message"), str)
