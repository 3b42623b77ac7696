"""The adapter for Chat Completions servers."""

from __future__ import annotations

from vai.providers.decode.emitter import Emitter
from vai.providers.decode.reading import ReadingAdapter, TranslatedRequest
from vai.providers.decode.text_filter import TextFilter
from vai.providers.openai.reasoning import marks
from vai.providers.openai.request import translate
from vai.providers.openai.stream import ChatStreamDecoder
from vai.types.request import MessageRequest

__all__ = ["ChatAdapter"]


class ChatAdapter(ReadingAdapter):
    """One exchange with a Chat Completions server."""

    _sound = "wav"

    def _translate(self, request: MessageRequest) -> TranslatedRequest:
        translation = translate(request, self._spec)
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
            marks=marks(spec),
            sound=self._sound,
        )
