"""The adapter for Anthropic."""

from __future__ import annotations

from collections.abc import Mapping

from vai.providers.anthropic.calls import CallRepairer
from vai.providers.anthropic.framing import EventSequencer
from vai.providers.anthropic.request import translate_request
from vai.providers.anthropic.stream import AnthropicStreamDecoder
from vai.providers.decode.base_adapter import BaseAdapter, TranslatedRequest
from vai.providers.decode.call_ids import collect_call_ids
from vai.providers.decode.tool_names import ToolNames
from vai.types.message import Message
from vai.types.provider import ProviderSpec
from vai.types.request import MessageRequest

__all__ = ["AnthropicAdapter"]


class AnthropicAdapter(BaseAdapter[AnthropicStreamDecoder]):
    """One exchange with Anthropic.

    Args:
        exchange_id: the ids that the server leaves out derive from it.
        headers: the client's; VAI forwards ``anthropic-version`` and ``anthropic-beta``.
    """

    def __init__(self, spec: ProviderSpec, exchange_id: str, *, headers: Mapping[str, str]) -> None:
        super().__init__(spec, exchange_id)
        self._headers = headers

    def _translate_request(self, request: MessageRequest) -> TranslatedRequest:
        wire, dropped = translate_request(request, self._spec, self._headers)
        return TranslatedRequest(wire, {}, None, dropped)

    def _make_decoder(
        self, translation: TranslatedRequest, request: MessageRequest | None
    ) -> AnthropicStreamDecoder:
        spec = self._spec
        if request is None:
            calls = CallRepairer(spec.id, self._exchange)
        else:
            names = ToolNames(translation.names, request.tools or ())
            calls = CallRepairer(spec.id, self._exchange, collect_call_ids(request.messages), names)
        sequencer = None if spec.id == "anthropic" else EventSequencer()
        return AnthropicStreamDecoder(spec.id, spec.name, calls, sequencer)

    def parse_message(self, body: bytes, /) -> Message | None:
        """The response to a request that was not streamed.

        Raises:
            UpstreamFault: the body is an error, or no response.
        """
        if body[:1] == b"{":
            return self._decoder.parse_message(body)
        return super().parse_message(body)
