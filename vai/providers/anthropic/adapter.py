"""The adapter for Anthropic."""

from __future__ import annotations

from collections.abc import Mapping

from vai.errors import UpstreamFault
from vai.providers.anthropic.calls import ClaudeCalls
from vai.providers.anthropic.framing import Framing
from vai.providers.anthropic.request import translate
from vai.providers.anthropic.stream import AnthropicStreamDecoder
from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.accumulate import events_from_message, message_from_events
from vai.providers.decode.call_ids import known
from vai.providers.decode.stream_body import StreamBody
from vai.providers.decode.tool_names import ToolNames
from vai.types.events import Event
from vai.types.message import Message, Usage
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["AnthropicAdapter"]


class AnthropicAdapter:
    """One exchange with Anthropic.

    Args:
        exchange_id: ids that the server left out derive from it.
        headers: the caller's; ``anthropic-version`` and ``anthropic-beta`` are sent on.
    """

    def __init__(self, spec: ProviderSpec, exchange_id: str, *, headers: Mapping[str, str]) -> None:
        self.dropped: list[str] = []
        self.next_request: WireRequest | None = None
        self._spec = spec
        self._headers = headers
        self._exchange = exchange_id
        self._decoder = self._make_decoder(ClaudeCalls(spec.id, exchange_id))
        self._body = StreamBody()

    @property
    def usage(self) -> Usage:
        """What Anthropic has reported so far."""
        return self._decoder.usage

    @property
    def ended_early(self) -> bool:
        """Never: the Messages API knows all that a caller can ask to stop at."""
        return False

    @property
    def is_complete(self) -> bool:
        """Whether the closing events have been returned."""
        return self._decoder.is_complete

    @property
    def fault(self) -> UpstreamFault | None:
        """Why the stream failed, once it has."""
        return self._decoder.fault

    def build_request(self, request: MessageRequest, /) -> WireRequest:
        """The upstream request.

        Raises:
            InvalidRequest: something that matters cannot be expressed.
        """
        wire, self.dropped = translate(request, self._spec, self._headers)
        names = ToolNames({}, request.tools or ())
        taken = known(request.messages)
        self._decoder = self._make_decoder(ClaudeCalls(self._spec.id, self._exchange, taken, names))
        return wire

    def parse_message(self, body: bytes, /) -> Message:
        """The answer of a request that was not streamed.

        Raises:
            UpstreamFault: the body is an error, or not an answer.
        """
        if body[:1] == b"{":
            return self._decoder.parse_message(body)
        events = self.feed_bytes(body) + self.end_stream()
        if self.fault is not None:
            raise self.fault
        return message_from_events(events)

    def feed_bytes(self, data: bytes, /) -> list[Event]:
        """More bytes of the streamed answer: the events that are complete now."""
        if self.is_complete or self.fault is not None:
            return []
        self._read(self._body.feed_bytes(data))
        return self._decoder.take_events()

    def end_stream(self) -> list[Event]:
        """Anthropic closed the body: the closing events, or a fault if it was cut."""
        if self.is_complete or self.fault is not None:
            return []
        events, body = self._body.end_body()
        self._read(events)
        if body is not None:
            self._whole(body)
        self._decoder.end_stream()
        return self._decoder.take_events()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        return failure.from_answer(self._spec.id, self._spec.name, status, headers, body)

    def _make_decoder(self, calls: ClaudeCalls) -> AnthropicStreamDecoder:
        is_own = self._spec.id == "anthropic"
        return AnthropicStreamDecoder(
            self._spec.id, self._spec.name, calls, None if is_own else Framing()
        )

    def _read(self, events: list[tuple[str, bytes]]) -> None:
        for _, data in events:
            self._decoder.read_event(data)
        if self._body.fault is not None:
            self._body.fault.provider = self._spec.id
            self._decoder.fail(self._body.fault)

    def _whole(self, body: bytes) -> None:
        try:
            self._decoder.replay_events(events_from_message(self._decoder.parse_message(body)))
        except UpstreamFault as fault:
            self._decoder.fail(fault)
