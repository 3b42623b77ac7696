"""What the adapters of OpenAI's formats have in common: one exchange, read by a reader.

Invariants: a whole answer and a stream go through the same reader, and what
a server sends in place of what it was asked for (JSON for a stream, an end without a
mark) is read as what it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final, Protocol

import msgspec

from vai.errors import UpstreamFault
from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.call_ids import CallIds, known
from vai.providers.decode.emitter import Emitter
from vai.providers.decode.stream_body import StreamBody
from vai.providers.decode.text_filter import TextFilter
from vai.providers.decode.tool_names import ToolNames
from vai.types.events import Event
from vai.types.message import Message, Usage
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["ReadingAdapter", "StreamDecoder", "TranslatedRequest"]

_END: Final = b"[DONE]"
_MAX_MARK: Final = 16


class TranslatedRequest(msgspec.Struct, frozen=True):
    """The upstream request, and what its answer must be read with.

    Attributes:
        names: tool alias -> the caller's name.
        text: what the answer's text passes through, if anything.
        dropped: paths of hints that were left out.
        sound: the format of the spoken answer that was asked for.
    """

    wire: WireRequest
    names: dict[str, str]
    text: TextFilter | None
    dropped: list[str]
    sound: str = "wav"


class StreamDecoder(Protocol):
    """Reads one answer into an emitter."""

    @property
    def met_stop_sequence(self) -> bool:
        """Whether the caller's stop sequence ended the answer, and not the upstream."""
        ...

    def read_event(self, data: bytes, /) -> None:
        """The data of one server-sent event."""
        ...

    def read_body(self, data: bytes, /) -> None:
        """A whole answer, read to its end."""
        ...

    def read_done_marker(self) -> None:
        """The server says that nothing follows."""
        ...

    def end_stream(self) -> None:
        """The answer is over."""
        ...


class ReadingAdapter(ABC):
    """One exchange with a server.

    Args:
        exchange_id: ids of the answer derive from it; letters, digits, ``_`` and ``-``.
        input_estimate: input tokens to show until the server has counted them.
    """

    def __init__(
        self, spec: ProviderSpec, exchange_id: str, *, input_estimate: int | None = None
    ) -> None:
        self.dropped: list[str] = []
        self.next_request: WireRequest | None = None
        self._spec = spec
        self._id = f"msg_{exchange_id}"
        self._estimate = input_estimate
        self._body = StreamBody()

    @abstractmethod
    def _translate(self, request: MessageRequest) -> TranslatedRequest:
        """The request in the server's words."""

    @abstractmethod
    def _make_decoder(
        self, emitter: Emitter, names: dict[str, str], text: TextFilter | None
    ) -> StreamDecoder:
        """The reader of its answer."""

    @property
    def usage(self) -> Usage:
        """What the server has reported so far."""
        return self._emitter.usage

    @property
    def ended_early(self) -> bool:
        """Whether a stop sequence was met that the server does not know of."""
        return self._decoder.met_stop_sequence

    @property
    def is_complete(self) -> bool:
        """Whether the closing events have been returned."""
        return self._emitter.is_complete

    @property
    def fault(self) -> UpstreamFault | None:
        """Why the stream failed, once it has."""
        return self._emitter.fault

    def build_request(self, request: MessageRequest, /) -> WireRequest:
        """The upstream request. Call it before its answer is read.

        Raises:
            InvalidRequest: something that matters cannot be expressed.
        """
        translation = self._translate(request)
        self.dropped = translation.dropped
        self._emitter = self._emitter_of(
            request.model,
            known(request.messages),
            ToolNames(translation.names, request.tools or ()),
        )
        self._decoder = self._make_decoder(self._emitter, translation.names, translation.text)
        return translation.wire

    def parse_message(self, body: bytes, /) -> Message:
        """The answer of a request that was not streamed.

        Raises:
            UpstreamFault: the body is an error, or not an answer.
        """
        if body[:1] == b"{":
            self._decoder.read_body(body)
            events = self._emitter.take_events()
        else:
            events = self.feed_bytes(body) + self.end_stream()
        if self._emitter.fault is not None:
            raise self._emitter.fault
        return message_from_events(events, self._emitter.usage)

    def feed_bytes(self, data: bytes, /) -> list[Event]:
        """More bytes of the streamed answer: the events that are complete now."""
        if self._over:
            return []
        self._read(self._body.feed_bytes(data))
        return self._emitter.take_events()

    def end_stream(self) -> list[Event]:
        """The server closed the body: the closing events, or a fault if it was cut."""
        if self._over:
            return []
        events, body = self._body.end_body()
        self._read(events)
        if body is not None:
            self._decoder.read_body(body)
        self._decoder.end_stream()
        return self._emitter.take_events()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        return failure.from_answer(self._spec.id, self._spec.name, status, headers, body)

    @property
    def _over(self) -> bool:
        return self._emitter.is_complete or self._emitter.fault is not None

    # An answer can be read without its request: then it is what is below, made when it is needed.

    @cached_property
    def _emitter(self) -> Emitter:
        return self._emitter_of("unknown")

    @cached_property
    def _decoder(self) -> StreamDecoder:
        return self._make_decoder(self._emitter, {}, None)

    def _emitter_of(
        self, model: str, taken: Iterable[str] = (), names: ToolNames | None = None
    ) -> Emitter:
        spec = self._spec
        return Emitter(
            self._id,
            f"{spec.id}/{model}",
            spec.id,
            self._estimate,
            ids=CallIds(spec.id, self._id.removeprefix("msg_"), taken),
            names=names,
        )

    def _read(self, events: list[tuple[str, bytes]]) -> None:
        reader = self._decoder
        for _, data in events:
            if len(data) < _MAX_MARK and data.strip() == _END:
                reader.read_done_marker()
                break
            reader.read_event(data)
        if self._body.fault is not None:
            self._body.fault.provider = self._spec.id
            self._emitter.fail(self._body.fault)
