"""The adapter for generateContent, plain or inside Code Assist's envelope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from vai.errors import UpstreamFault
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.call_ids import CallIds, known
from vai.providers.decode.emitter import Emitter
from vai.providers.decode.text_filter import TextFilter
from vai.providers.decode.tool_names import ToolNames
from vai.providers.gemini import faults
from vai.providers.gemini.body import BodyParser
from vai.providers.gemini.request import translate_request
from vai.providers.gemini.stream import GeminiStreamDecoder
from vai.types.events import Event
from vai.types.message import Message, Usage
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["MAX_HOPS", "GeminiAdapter"]

MAX_HOPS: Final = 32
"""Further requests for one answer; the longest that Google speaks of needs about 16."""


class GeminiAdapter:
    """One exchange with the Gemini API or with Code Assist.

    Args:
        exchange_id: ids of the answer derive from it; letters, digits, ``_`` and ``-``.
        input_estimate: input tokens to show until the service has counted them.
    """

    def __init__(
        self, spec: ProviderSpec, exchange_id: str, *, input_estimate: int | None = None
    ) -> None:
        self.dropped: list[str] = []
        self.next_request: WireRequest | None = None
        self._spec = spec
        self._exchange = exchange_id
        self._estimate = input_estimate
        self._wire: WireRequest | None = None
        self._limit: int | None = None
        self._hops = 0
        self._body = BodyParser()
        self._ready("unknown", ToolNames(), None, (), grounds=True)

    @property
    def usage(self) -> Usage:
        """What the service has reported so far."""
        self._decoder.report_usage()
        return self._emitter.usage

    @property
    def ended_early(self) -> bool:
        """Whether a stop sequence was met that the service does not know of."""
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
        translation = translate_request(request, self._spec, self._exchange)
        self.dropped = translation.dropped
        self._wire = translation.wire
        self._limit = request.max_tokens
        names, text = ToolNames(translation.names, request.tools or ()), translation.text
        taken = known(request.messages)
        self._ready(request.model, names, text, taken, grounds=translation.grounds)
        return translation.wire

    def parse_message(self, body: bytes, /) -> Message | None:
        """The answer of a request that was not streamed; None when it goes on.

        Raises:
            UpstreamFault: the body is an error, or not an answer.
        """
        self._resume()
        self._read(self._body.feed(body) + self._body.end())
        self._over_with_body()
        if self._emitter.fault is not None:
            raise self._emitter.fault
        if self.next_request is not None:
            return None
        return message_from_events(self._emitter.take_events(), self._emitter.usage)

    def feed_bytes(self, data: bytes, /) -> list[Event]:
        """More bytes of the streamed answer: the events that are complete now."""
        if self._over:
            return []
        self._resume()
        self._read(self._body.feed(data))
        return self._emitter.take_events()

    def end_stream(self) -> list[Event]:
        """The service closed the body: the closing events, a fault, or `next_request` is set."""
        if self._over:
            return []
        self._resume()
        self._read(self._body.end())
        self._over_with_body()
        return self._emitter.take_events()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        return faults.fault_from_response(self._spec.id, self._spec.name, status, headers, body)

    @property
    def _over(self) -> bool:
        return self._emitter.is_complete or self._emitter.fault is not None

    def _ready(
        self,
        model: str,
        names: ToolNames,
        text: TextFilter | None,
        taken: Iterable[str],
        *,
        grounds: bool,
    ) -> None:
        spec = self._spec
        self._emitter = Emitter(
            f"msg_{self._exchange}",
            f"{spec.id}/{model}",
            spec.id,
            self._estimate,
            ids=CallIds(spec.id, self._exchange, taken),
            names=names,
        )
        self._decoder = GeminiStreamDecoder(
            self._emitter,
            spec.id,
            spec.name,
            exchange_id=self._exchange,
            names=names,
            text=text,
            grounds=grounds,
        )

    def _read(self, texts: list[bytes]) -> None:
        for text in texts:
            self._decoder.read_event(text)
        if self._body.fault is not None:
            self._body.fault.provider = self._spec.id
            self._emitter.fail(self._body.fault)

    def _resume(self) -> None:
        """The first bytes of a further body have come."""
        if self.next_request is not None:
            self.next_request = None
            self._body = BodyParser()
            self._decoder.start_next_body()

    def _over_with_body(self) -> None:
        token = self._decoder.token
        if token is not None and self._decoder.goes_on and self._may_ask_on():
            self._hops += 1
            self.next_request = self._continued(token)
        self._decoder.end_stream(goes_on=self.next_request is not None)

    def _may_ask_on(self) -> bool:
        # Code Assist has no member for the token.
        known = self._wire is not None and self._spec.kind == "gemini"
        within = self._limit is None or self._decoder.totals.output_tokens < self._limit
        return known and within and self._hops < MAX_HOPS

    def _continued(self, token: str) -> WireRequest | None:
        """The same request, byte for byte, with the token added."""
        if self._wire is None:
            return None
        member = b',"continuationToken":%b}' % msgspec.json.encode(token)
        return msgspec.structs.replace(self._wire, body=self._wire.body[:-1] + member)
