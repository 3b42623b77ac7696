"""The translated mode: canonical types through a provider's adapter.

Two functions determine what the client receives, so that the gateway produces bytes and an
in-process client gets the events themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from msgspec.structs import replace

from vai.errors import UpstreamFault
from vai.exchange.mode import is_page
from vai.policy import estimate
from vai.policy.error_attribution import hide_gateway_key_error
from vai.providers.adapter import Adapter
from vai.types.blocks import Block, TextBlock, ThinkingBlock
from vai.types.events import (
    ContentBlockDelta,
    ContentBlockStart,
    Delta,
    Event,
    InputJsonDelta,
    MessageDelta,
    TextDelta,
    ThinkingDelta,
)
from vai.types.message import Message, Usage
from vai.types.provider import WireRequest
from vai.types.request import MessageRequest

__all__ = ["TranslatedMode"]

T = TypeVar("T")

_MAX_HELD: Final = 256
"""Events of a beginning without content that are held back."""
_TEXT_DELTAS: Final = (TextDelta, ThinkingDelta, InputJsonDelta)
"""Deltas that are content only where they are not empty."""


class TranslatedMode(Generic[T]):
    """A mode whose target has a wire format of its own.

    `uses_gateway_key`: the request carries the gateway's own key.
    """

    is_verbatim = False
    forwarded_error = None

    def __init__(
        self,
        adapter: Adapter,
        request: MessageRequest,
        *,
        events: Callable[[list[Event]], T],
        message: Callable[[Message], T],
        uses_gateway_key: bool = False,
    ) -> None:
        self._adapter = adapter
        self._events = events
        self._message = message
        self.upstream_request = adapter.build_request(request)
        self._meter = estimate.TextMeter()
        self._held: list[Event] | None = []
        self._uses_gateway_key = uses_gateway_key
        self.is_streaming = request.stream
        self.has_content = self.is_complete = False
        self.stop_reason: str | None = None
        self.stream_error: UpstreamFault | None = None

    @property
    def usage(self) -> Usage:
        return self._adapter.usage

    @property
    def ended_early(self) -> bool:
        return self._adapter.ended_early

    @property
    def continuation(self) -> WireRequest | None:
        return self._adapter.next_request

    @property
    def dropped_fields(self) -> list[str]:
        """JSON paths of optional request fields that the target cannot express."""
        return self._adapter.dropped

    def accepts_media_type(self, media_type: str) -> bool:
        # The body itself shows what it is: JSON for a stream, a stream for JSON, under any label.
        return not is_page(media_type)

    def parse_rejection(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamFault:
        return self._hide_key_error(self._adapter.parse_error(status, headers, body))

    def forward_rejection(self, fault: UpstreamFault, body: bytes) -> T:
        raise fault

    def decode_json_body(self, body: bytes) -> T | None:
        try:
            message = self._adapter.parse_message(body)
        except UpstreamFault as fault:
            raise self._hide_key_error(fault) from None
        if message is None:
            return None
        self.stop_reason = message.stop_reason
        if self.usage.output_tokens is None:
            for text in estimate.generated_texts(message.content):
                self._meter.add_text(text)
        return self._message(message)

    def feed_stream(self, data: bytes) -> T | None:
        return self._release_events(self._adapter.feed_bytes(data))

    def end_stream(self) -> T | None:
        return self._release_events(self._adapter.end_stream())

    def release_held(self) -> T | None:
        held, self._held = self._held, None
        return self._events(held) if held else None

    def estimate_usage(self) -> Usage:
        read = estimate.input_tokens(len(self.upstream_request.body))
        return Usage(input_tokens=read, output_tokens=self._meter.token_count)

    def _with_estimated_usage(self, end: MessageDelta) -> MessageDelta:
        """The end of a stream whose output the provider did not count. Clients need a number."""
        usage = end.usage or Usage()
        counted = estimate.estimated_usage_members(self._meter.token_count)
        return replace(end, usage=replace(usage, extra={**usage.extra, **counted}))

    def _hide_key_error(self, fault: UpstreamFault) -> UpstreamFault:
        """The fault as the client may see it: the gateway's own key is not the client's affair."""
        return hide_gateway_key_error(fault) if self._uses_gateway_key else fault

    def _release_events(self, events: list[Event]) -> T | None:
        """What the client gets now, after the adapter returned `events`."""
        adapter = self._adapter
        self.is_complete = adapter.is_complete
        fault = adapter.fault
        if fault is not None and self.stream_error is None:
            self.stream_error = self._hide_key_error(fault)
        if not events:
            return None
        for index, event in enumerate(events):
            if type(event) is ContentBlockDelta:
                text = _generated_text(event.delta)
                self._meter.add_text(text)
                if not self.has_content:
                    self.has_content = bool(text) or type(event.delta) not in _TEXT_DELTAS
            elif type(event) is ContentBlockStart:
                self.has_content = self.has_content or not _is_empty(event.content_block)
            elif type(event) is MessageDelta:
                self.has_content = self.has_content or event.delta.stop_reason is not None
                self.stop_reason = event.delta.stop_reason
                if event.usage is None or event.usage.output_tokens is None:
                    events[index] = self._with_estimated_usage(event)
        if self._held is not None:
            events = self._held + events
            if not self.has_content and len(events) < _MAX_HELD:
                self._held = events
                return None
            self._held = None
        return self._events(events)


def _is_empty(block: Block) -> bool:
    """Whether the block has no content before its first delta."""
    if type(block) is TextBlock:
        return not block.text
    return type(block) is ThinkingBlock and not block.thinking


def _generated_text(delta: Delta) -> str:
    """The text that the model generated for this delta."""
    if type(delta) is TextDelta:
        return delta.text
    if type(delta) is ThinkingDelta:
        return delta.thinking
    return delta.partial_json if type(delta) is InputJsonDelta else ""
