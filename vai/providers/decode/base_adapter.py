"""The base of the adapters of all wire formats: one exchange, read by a stream decoder.

Invariants: a JSON response and a stream go through the same decoder. The decoder also reads what
a server sends in another form than requested (JSON for a stream, an end without a mark).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from vai.errors import UpstreamBroken, UpstreamFault
from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.call_ids import CallIds, collect_call_ids
from vai.providers.decode.emitter import Emitter
from vai.providers.decode.stream_body import StreamBody
from vai.providers.decode.stream_decoder import EventSink, StreamDecoder
from vai.providers.decode.text_filter import TextFilter
from vai.providers.decode.tool_names import ToolNames
from vai.types.events import Event
from vai.types.message import Message, Usage
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["BaseAdapter", "TranslatedRequest"]

_DONE: Final = b"[DONE]"
_MAX_MARK: Final = 16

D = TypeVar("D", bound=StreamDecoder)


class TranslatedRequest(msgspec.Struct, frozen=True):
    """The upstream request, and what the decoder needs to read its response.

    Attributes:
        names: tool alias -> the client's name.
        text: the filter that the response's text passes through, if any.
        dropped: paths of optional parameters that were left out.
        sound: the format of the spoken response that was requested.
        grounds: whether Google may search and report its sources only after the response.
    """

    wire: WireRequest
    names: dict[str, str]
    text: TextFilter | None
    dropped: list[str]
    sound: str = "wav"
    grounds: bool = True


_NO_REQUEST: Final = TranslatedRequest(WireRequest("POST", "", (), b""), {}, None, [])


class ResponseBody(Protocol):
    """Decodes the body of one response, in pieces of any size."""

    @property
    def fault(self) -> UpstreamBroken | None:
        """Set when the body holds no response, or exceeds its maximum size."""
        ...

    def feed_bytes(self, data: bytes, /) -> list[tuple[str, bytes]]:
        """The events that `data` completes."""
        ...

    def end_body(self) -> tuple[list[tuple[str, bytes]], bytes | None]:
        """The last events, and the JSON if the body was one object."""
        ...


class BaseAdapter(ABC, Generic[D]):
    """One exchange with a server.

    Args:
        exchange_id: ids of the response derive from it; letters, digits, ``_`` and ``-``.
        input_estimate: input tokens to show until the server has counted them.

    Attributes:
        is_complete: whether the adapter has returned the closing events.
        fault: why the stream failed; None until it fails.
    """

    _body_type: type[ResponseBody] = StreamBody

    def __init__(
        self, spec: ProviderSpec, exchange_id: str, *, input_estimate: int | None = None
    ) -> None:
        self.dropped: list[str] = []
        self.next_request: WireRequest | None = None
        self.is_complete = False
        self.fault: UpstreamFault | None = None
        self._spec = spec
        self._exchange = exchange_id
        self._estimate = input_estimate
        self._body = self._body_type()

    @abstractmethod
    def _translate_request(self, request: MessageRequest) -> TranslatedRequest:
        """Translate the request into the server's wire format."""

    @abstractmethod
    def _make_decoder(self, translation: TranslatedRequest, request: MessageRequest | None) -> D:
        """The decoder of the response; `request` is None for a response without its request."""

    @property
    def usage(self) -> Usage:
        """The usage that the server has reported so far."""
        return self._sink.usage

    @property
    def ended_early(self) -> bool:
        """Whether VAI ended the response at a stop sequence that it checks itself."""
        return self._decoder.met_stop_sequence

    def build_request(self, request: MessageRequest, /) -> WireRequest:
        """The upstream request. Call it before the adapter reads the response.

        Raises:
            InvalidRequest: the format cannot express a required part.
        """
        translation = self._translate_request(request)
        self.dropped = translation.dropped
        self._decoder = self._make_decoder(translation, request)
        self._sink = self._decoder.sink
        return translation.wire

    def parse_message(self, body: bytes, /) -> Message | None:
        """The response to an unstreamed request; None when `next_request` continues it.

        Raises:
            UpstreamFault: the body is an error, or no response.
        """
        if body[:1] == b"{":
            self._decoder.read_body(body)
        else:
            self._read_bytes(body)
            if not self._is_over:
                self._read_end()
        if self._sink.fault is not None:
            raise self._sink.fault
        return message_from_events(self._sink.take_events(), self._sink.usage)

    def feed_bytes(self, data: bytes, /) -> list[Event]:
        """Decode more bytes of the streamed response; return the events that are complete now."""
        if self.is_complete or self.fault is not None:
            return []
        self._read_bytes(data)
        return self._take_events()

    def end_stream(self) -> list[Event]:
        """End the body: return the closing events, or set `fault` or `next_request`."""
        if self.is_complete or self.fault is not None:
            return []
        self._read_end()
        return self._take_events()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        return failure.fault_from_response(self._spec.id, self._spec.name, status, headers, body)

    @property
    def _is_over(self) -> bool:
        return self._sink.is_complete or self._sink.fault is not None

    # An adapter can read a response without its request: it then makes the decoder on first use.

    @cached_property
    def _decoder(self) -> D:
        return self._make_decoder(_NO_REQUEST, None)

    @cached_property
    def _sink(self) -> EventSink:
        return self._decoder.sink

    def _make_emitter(
        self, translation: TranslatedRequest, request: MessageRequest | None
    ) -> Emitter:
        spec = self._spec
        tools = request.tools if request is not None else None
        return Emitter(
            f"msg_{self._exchange}",
            f"{spec.id}/{'unknown' if request is None else request.model}",
            spec.id,
            self._estimate,
            ids=CallIds(
                spec.id,
                self._exchange,
                () if request is None else collect_call_ids(request.messages),
            ),
            names=ToolNames(translation.names, tools or ()),
        )

    def _take_events(self) -> list[Event]:
        sink = self._sink
        self.is_complete, self.fault = sink.is_complete, sink.fault
        return sink.take_events()

    def _read_bytes(self, data: bytes) -> None:
        self._read_events(self._body.feed_bytes(data))

    def _read_end(self) -> None:
        events, body = self._body.end_body()
        self._read_events(events)
        if body is not None:
            self._decoder.read_body(body)
        self._decoder.end_stream()

    def _read_events(self, events: list[tuple[str, bytes]]) -> None:
        decoder = self._decoder
        for _, data in events:
            if len(data) < _MAX_MARK and data.strip() == _DONE:
                decoder.read_done_marker()
                if self._is_over:
                    break
            else:
                decoder.read_event(data)
        fault = self._body.fault
        if fault is not None:
            fault.provider = self._spec.id
            self._sink.fail(fault)
