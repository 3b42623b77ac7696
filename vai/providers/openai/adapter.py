"""The adapter for Chat Completions servers."""

from __future__ import annotations

from vai.providers.decode.base_adapter import BaseAdapter, TranslatedRequest
from vai.providers.openai.reasoning import reasoning_signatures
from vai.providers.openai.request import translate_request
from vai.providers.openai.stream import ChatStreamDecoder
from vai.types.request import MessageRequest

__all__ = ["ChatAdapter"]


class ChatAdapter(BaseAdapter[ChatStreamDecoder]):
    """One exchange with a Chat Completions server."""

    def _translate_request(self, request: MessageRequest) -> TranslatedRequest:
        return translate_request(request, self._spec)

    def _make_decoder(
        self, translation: TranslatedRequest, request: MessageRequest | None
    ) -> ChatStreamDecoder:
        spec = self._spec
        return ChatStreamDecoder(
            self._make_emitter(translation, request),
            spec.id,
            spec.name,
            text=translation.text,
            signatures=reasoning_signatures(spec),
            sound=translation.sound,
        )
