"""The adapter for OpenAI's Responses."""

from __future__ import annotations

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.reading import ReadingAdapter, TranslatedRequest
from vai.providers.decode.text_filter import TextFilter
from vai.providers.responses.request import translate_request
from vai.providers.responses.stream import ResponsesStreamDecoder
from vai.types.request import MessageRequest

__all__ = ["ResponsesAdapter"]


class ResponsesAdapter(ReadingAdapter):
    """One exchange with a Responses server."""

    def _translate(self, request: MessageRequest) -> TranslatedRequest:
        return translate_request(request, self._spec)

    def _make_decoder(
        self, emitter: Emitter, names: dict[str, str], text: TextFilter | None
    ) -> ResponsesStreamDecoder:
        return ResponsesStreamDecoder(
            emitter, self._spec.id, self._spec.name, names=names, text=text
        )
