"""The adapter for Anthropic."""

from __future__ import annotations

from collections.abc import Mapping

from vai.errors import UpstreamFault
from vai.providers.anthropic.calls import ClaudeCalls
from vai.providers.anthropic.framing import Framing
from vai.providers.anthropic.request import translate
from vai.providers.anthropic.stream import AnthropicStreamDecoder
from vai.providers.decode import upstream_errors as failure
from vai.providers.decode.accumulate import accumulate, replay
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

    def __init__(self, row: ProviderSpec, exchange_id: str, *, headers: Mapping[str, str]) -> None:
        self.dropped: list[str] = []
        self.following: WireRequest | None = None
        self._row = row
        self._headers = headers
        self._exchange = exchange_id
        self._reader = self._make_reader(ClaudeCalls(row.id, exchange_id))
        self._incoming = StreamBody()

    @property
    def usage(self) -> Usage:
        """What Anthropic has reported so far."""
        return self._reader.usage

    @property
    def ended_early(self) -> bool:
        """Never: the Messages API knows all that a caller can ask to stop at."""
        return False

    @property
    def done(self) -> bool:
        """Whether the closing events have been returned."""
        return self._reader.done

    @property
    def fault(self) -> UpstreamFault | None:
        """Why the stream failed, once it has."""
        return self._reader.fault

    def request(self, request: MessageRequest, /) -> WireRequest:
        """The upstream request.

        Raises:
            InvalidRequest: something that matters cannot be expressed.
        """
        wire, self.dropped = translate(request, self._row, self._headers)
        names = ToolNames({}, request.tools or ())
        taken = known(request.messages)
        self._reader = self._make_reader(ClaudeCalls(self._row.id, self._exchange, taken, names))
        return wire

    def message(self, body: bytes, /) -> Message:
        """The answer of a request that was not streamed.

        Raises:
            UpstreamFault: the body is an error, or not an answer.
        """
        if body[:1] == b"{":
            return self._reader.message(body)
        events = self.feed(body) + self.end()
        if self.fault is not None:
            raise self.fault
        return accumulate(events)

    def feed(self, data: bytes, /) -> list[Event]:
        """More bytes of the streamed answer: the events that are complete now."""
        if self.done or self.fault is not None:
            return []
        self._read(self._incoming.feed(data))
        return self._reader.take()

    def end(self) -> list[Event]:
        """Anthropic closed the body: the closing events, or a fault if it was cut."""
        if self.done or self.fault is not None:
            return []
        events, body = self._incoming.end()
        self._read(events)
        if body is not None:
            self._whole(body)
        self._reader.eof()
        return self._reader.take()

    def error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        return failure.from_answer(self._row.id, self._row.name, status, headers, body)

    def _make_reader(self, calls: ClaudeCalls) -> AnthropicStreamDecoder:
        is_own = self._row.id == "anthropic"
        return AnthropicStreamDecoder(
            self._row.id, self._row.name, calls, None if is_own else Framing()
        )

    def _read(self, events: list[tuple[str, bytes]]) -> None:
        for _, data in events:
            self._reader.data(data)
        if self._incoming.fault is not None:
            self._incoming.fault.provider = self._row.id
            self._reader.fail(self._incoming.fault)

    def _whole(self, body: bytes) -> None:
        try:
            self._reader.replay(replay(self._reader.message(body)))
        except UpstreamFault as fault:
            self._reader.fail(fault)
