"""The adapter for OpenAI's Responses."""

from __future__ import annotations

from vai.providers.decode.base_adapter import BaseAdapter, TranslatedRequest
from vai.providers.responses.request import translate_request
from vai.providers.responses.stream import ResponsesStreamDecoder
from vai.types.request import MessageRequest

__all__ = ["ResponsesAdapter"]


class ResponsesAdapter(BaseAdapter[ResponsesStreamDecoder]):
    """One exchange with a Responses server."""

    def _translate_request(self, request: MessageRequest) -> TranslatedRequest:
        return translate_request(request, self._spec)

    def _make_decoder(
        self, translation: TranslatedRequest, request: MessageRequest | None
    ) -> ResponsesStreamDecoder:
        return ResponsesStreamDecoder(
            self._make_emitter(translation, request),
            self._spec.id,
            self._spec.name,
            names=translation.names,
            text=translation.text,
        )
