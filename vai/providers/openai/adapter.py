"""The adapter for Chat Completions servers."""

from __future__ import annotations

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.reading import ReadingAdapter, TranslatedRequest
from vai.providers.decode.text_filter import TextFilter
from vai.providers.openai.reasoning import reasoning_signatures
from vai.providers.openai.request import translate_request
from vai.providers.openai.stream import ChatStreamDecoder
from vai.types.request import MessageRequest

__all__ = ["ChatAdapter"]


class ChatAdapter(ReadingAdapter):
    """One exchange with a Chat Completions server."""

    _sound = "wav"

    def _translate(self, request: MessageRequest) -> TranslatedRequest:
        translation = translate_request(request, self._spec)
        self._sound = translation.sound
        return translation

    def _make_decoder(
        self, emitter: Emitter, names: dict[str, str], text: TextFilter | None
    ) -> ChatStreamDecoder:
        spec = self._spec
        return ChatStreamDecoder(
            emitter,
            spec.id,
            spec.name,
            text=text,
            signatures=reasoning_signatures(spec),
            sound=self._sound,
        )
