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
from vai.providers.decode.accumulate import accumulate
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
    def stopped(self) -> bool:
        """Whether the caller's stop sequence ended the answer, and not the upstream."""
        ...

    def data(self, data: bytes, /) -> None:
        """The data of one server-sent event."""
        ...

    def whole(self, data: bytes, /) -> None:
        """A whole answer, read to its end."""
        ...

    def mark(self) -> None:
        """The server says that nothing follows."""
        ...

    def eof(self) -> None:
        """The answer is over."""
        ...


class ReadingAdapter(ABC):
    """One exchange with a server.

    Args:
        exchange_id: ids of the answer derive from it; letters, digits, ``_`` and ``-``.
        input_estimate: input tokens to show until the server has counted them.
    """

    def __init__(
        self, row: ProviderSpec, exchange_id: str, *, input_estimate: int | None = None
    ) -> None:
        self.dropped: list[str] = []
        self.following: WireRequest | None = None
        self._row = row
        self._id = f"msg_{exchange_id}"
        self._estimate = input_estimate
        self._incoming = StreamBody()

    @abstractmethod
    def _translate(self, request: MessageRequest) -> TranslatedRequest:
        """The request in the server's words."""

    @abstractmethod
    def _make_reader(
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
        return self._reader.stopped

    @property
    def done(self) -> bool:
        """Whether the closing events have been returned."""
        return self._emitter.done

    @property
    def fault(self) -> UpstreamFault | None:
        """Why the stream failed, once it has."""
        return self._emitter.fault

    def request(self, request: MessageRequest, /) -> WireRequest:
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
        self._reader = self._make_reader(self._emitter, translation.names, translation.text)
        return translation.wire

    def message(self, body: bytes, /) -> Message:
        """The answer of a request that was not streamed.

        Raises:
            UpstreamFault: the body is an error, or not an answer.
        """
        if body[:1] == b"{":
            self._reader.whole(body)
            events = self._emitter.take()
        else:
            events = self.feed(body) + self.end()
        if self._emitter.fault is not None:
            raise self._emitter.fault
        return accumulate(events, self._emitter.usage)

    def feed(self, data: bytes, /) -> list[Event]:
        """More bytes of the streamed answer: the events that are complete now."""
        if self._over:
            return []
        self._read(self._incoming.feed(data))
        return self._emitter.take()

    def end(self) -> list[Event]:
        """The server closed the body: the closing events, or a fault if it was cut."""
        if self._over:
            return []
        events, body = self._incoming.end()
        self._read(events)
        if body is not None:
            self._reader.whole(body)
        self._reader.eof()
        return self._emitter.take()

    def error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        return failure.from_answer(self._row.id, self._row.name, status, headers, body)

    @property
    def _over(self) -> bool:
        return self._emitter.done or self._emitter.fault is not None

    # An answer can be read without its request: then it is what is below, made when it is needed.

    @cached_property
    def _emitter(self) -> Emitter:
        return self._emitter_of("unknown")

    @cached_property
    def _reader(self) -> StreamDecoder:
        return self._make_reader(self._emitter, {}, None)

    def _emitter_of(
        self, model: str, taken: Iterable[str] = (), names: ToolNames | None = None
    ) -> Emitter:
        row = self._row
        return Emitter(
            self._id,
            f"{row.id}/{model}",
            row.id,
            self._estimate,
            ids=CallIds(row.id, self._id.removeprefix("msg_"), taken),
            names=names,
        )

    def _read(self, events: list[tuple[str, bytes]]) -> None:
        reader = self._reader
        for _, data in events:
            if len(data) < _MAX_MARK and data.strip() == _END:
                reader.mark()
                break
            reader.data(data)
        if self._incoming.fault is not None:
            self._incoming.fault.provider = self._row.id
            self._emitter.fail(self._incoming.fault)
