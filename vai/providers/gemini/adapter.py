"""The adapter for generateContent, plain or inside Code Assist's wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from vai.errors import UpstreamFault
from vai.providers.decode.accumulate import message_from_events
from vai.providers.decode.base_adapter import BaseAdapter, TranslatedRequest
from vai.providers.gemini import faults
from vai.providers.gemini.body import BodyParser
from vai.providers.gemini.request import translate_request
from vai.providers.gemini.stream import GeminiStreamDecoder
from vai.types.message import Message, Usage
from vai.types.provider import ProviderSpec, WireRequest
from vai.types.request import MessageRequest

__all__ = ["MAX_HOPS", "GeminiAdapter"]

MAX_HOPS: Final = 32
"""Further requests for one response; the longest that Google mentions needs about 16."""


class GeminiAdapter(BaseAdapter[GeminiStreamDecoder]):
    """One exchange with the Gemini API or with Code Assist."""

    _body_type = BodyParser

    def __init__(
        self, spec: ProviderSpec, exchange_id: str, *, input_estimate: int | None = None
    ) -> None:
        super().__init__(spec, exchange_id, input_estimate=input_estimate)
        self._wire: WireRequest | None = None
        self._limit: int | None = None
        self._hops = 0

    def _translate_request(self, request: MessageRequest) -> TranslatedRequest:
        translation = translate_request(request, self._spec, self._exchange)
        self._wire = translation.wire
        self._limit = request.max_tokens
        return translation

    def _make_decoder(
        self, translation: TranslatedRequest, request: MessageRequest | None
    ) -> GeminiStreamDecoder:
        emitter = self._make_emitter(translation, request)
        return GeminiStreamDecoder(
            emitter,
            self._spec.id,
            self._spec.name,
            exchange_id=self._exchange,
            names=emitter.tool_names,
            text=translation.text,
            grounds=translation.grounds,
        )

    @property
    def usage(self) -> Usage:
        """The usage that the service has reported so far."""
        self._decoder.report_usage()
        return self._sink.usage

    def parse_message(self, body: bytes, /) -> Message | None:
        """The response of a request that was not streamed; None when it continues.

        Raises:
            UpstreamFault: the body is an error, or no response.
        """
        self._read_bytes(body)
        self._read_end()
        if self._sink.fault is not None:
            raise self._sink.fault
        if self.next_request is not None:
            return None
        return message_from_events(self._sink.take_events(), self._sink.usage)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> UpstreamFault:
        """The fault that an HTTP error status stands for. Header names are lower case."""
        return faults.fault_from_response(self._spec.id, self._spec.name, status, headers, body)

    def _read_bytes(self, data: bytes) -> None:
        self._start_next_body()
        super()._read_bytes(data)

    def _read_end(self) -> None:
        self._start_next_body()
        self._read_events(self._body.end_body()[0])
        token = self._decoder.token
        if token is not None and self._decoder.goes_on and self._may_continue():
            self._hops += 1
            self.next_request = self._continuation_request(token)
        self._decoder.end_body(goes_on=self.next_request is not None)

    def _start_next_body(self) -> None:
        """Read the bytes that follow as a further body, if one was requested."""
        if self.next_request is not None:
            self.next_request = None
            self._body = BodyParser()
            self._decoder.start_next_body()

    def _may_continue(self) -> bool:
        # Code Assist has no member for the token.
        has_token = self._wire is not None and self._spec.kind == "gemini"
        within = self._limit is None or self._decoder.totals.output_tokens < self._limit
        return has_token and within and self._hops < MAX_HOPS

    def _continuation_request(self, token: str) -> WireRequest | None:
        """The same request, byte for byte, with the token added."""
        if self._wire is None:
            return None
        member = b',"continuationToken":%b}' % msgspec.json.encode(token)
        return msgspec.structs.replace(self._wire, body=self._wire.body[:-1] + member)
