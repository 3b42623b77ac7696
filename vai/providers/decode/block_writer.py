"""The blocks of a streamed message: when one opens and closes, and what may be the last.

Invariants: one block is open at a time, indexes are contiguous, every block is stopped.

A response that ends by itself ends with its text or its media: clients read their result
from the last block. So the writer holds reasoning and server tool blocks that arrive after text
until more text, media or a call shows that they were not the last. A stream cannot
put them before text that it has sent, so at such an end the writer leaves them out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import msgspec

from vai.errors import UpstreamFault
from vai.providers.decode.stream_decoder import EventSink
from vai.types.blocks import (
    AudioBlock,
    Block,
    ImageBlock,
    RedactedThinkingBlock,
    ServerToolUseBlock,
    Source,
    TextBlock,
    ThinkingBlock,
    VideoBlock,
)
from vai.types.events import (
    AudioDelta,
    CitationsDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    TranscriptDelta,
)

__all__ = ["AUDIO", "CLOSED", "PAUSED", "TEXT", "THINKING", "TOOL", "BlockWriter", "buffered_size"]

_MAX_HELD_BLANKS: Final = 64

CLOSED, TEXT, THINKING, TOOL, AUDIO, PAUSED = range(6)
"""The kind of the open block. `PAUSED` is text after which the writer holds a block."""
_CONTENT: Final = (TextBlock, ImageBlock, AudioBlock, VideoBlock)
"""Block types that may be the last of a response that ends by itself."""


class BlockWriter(EventSink, ABC):
    """Turns blocks and their pieces into events. A subclass decides when to write each."""

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._open = CLOSED
        self._index = -1
        self._blanks = ""
        self._signature = ""
        self._held: list[tuple[str, Any]] = []
        self._has_final_content = False
        self._call_came = False

    @abstractmethod
    def _count_buffered(self, count: int) -> None:
        """Count `count` held characters; too many are a fault."""

    def fail(self, fault: UpstreamFault) -> None:
        """The stream ends here, incomplete."""
        if not (self.is_complete or self.fault):
            self._open = CLOSED
        super().fail(fault)

    def _write_piece(self, kind: str, value: Any) -> None:
        if kind == "text":
            self._write_text(value)
        elif kind == "thinking":
            self._write_thinking(value)
        elif kind == "signature":
            self._write_signature(value)
        elif kind == "audio":
            self._write_audio(*value)
        elif kind == "citation":
            self._write_citation(value)
        elif kind == "end":
            if self._open == TEXT:
                self._close_block()
        else:
            self._write_block(value)

    def _write_text(self, text: str) -> None:
        # Blanks alone open no block: models put a line break between reasoning or text
        # and a call, and clients would show an empty paragraph. Bounded, because a model in
        # a loop can stream blanks for minutes.
        if self._held:
            if text.isspace():
                self._hold_back("text", text)
                return
            self._release_held()
        text = self._blanks + text
        if self._open != TEXT and text.isspace() and len(text) <= _MAX_HELD_BLANKS:
            self._blanks = text
        else:
            self._emit_text(text)

    def _emit_text(self, text: str) -> None:
        if self._open != TEXT:
            self._open_block(TEXT, TextBlock(text=""))
            self._has_final_content = True
        self._out.append(ContentBlockDelta(index=self._index, delta=TextDelta(text=text)))

    def _write_thinking(self, text: str) -> None:
        if self._hold_back("thinking", text):
            return
        if self._open != THINKING or self._signature:
            self._open_block(THINKING, ThinkingBlock(thinking="", signature=""))
        self._out.append(ContentBlockDelta(index=self._index, delta=ThinkingDelta(thinking=text)))

    def _write_signature(self, signature: str) -> None:
        if self._open == THINKING:
            self._signature = signature
        elif not self._hold_back("signature", signature):
            self._write_block(RedactedThinkingBlock(data=signature))

    def _write_audio(self, media_type: str, data: str, words: str) -> None:
        if self._open != AUDIO:
            self._release_held()
            self._has_final_content = True
            source = Source(type="base64", media_type=media_type, data="")
            self._open_block(AUDIO, AudioBlock(source=source, transcript=""))
        for delta in (words and TranscriptDelta(text=words), data and AudioDelta(data=data)):
            if delta:
                self._out.append(ContentBlockDelta(index=self._index, delta=delta))

    def _write_citation(self, citation: dict[str, Any]) -> None:
        if self._open in (TEXT, PAUSED):
            delta = CitationsDelta(citation=citation)
            self._out.append(ContentBlockDelta(index=self._index, delta=delta))

    def _write_block(self, block: Block) -> None:
        if isinstance(block, _CONTENT):
            self._release_held()
            self._has_final_content = True
        elif self._hold_back("block", block):
            return
        if isinstance(block, ServerToolUseBlock):
            # Clients read the input of any call from its deltas, also if the call arrived whole.
            self._open_block(CLOSED, msgspec.structs.replace(block, input={}))
            if block.input:
                delta = InputJsonDelta(partial_json=msgspec.json.encode(block.input).decode())
                self._out.append(ContentBlockDelta(index=self._index, delta=delta))
        else:
            self._open_block(CLOSED, block)
        self._out.append(ContentBlockStop(index=self._index))

    def _hold_back(self, kind: str, value: Any) -> bool:
        """Hold `value` if the response may be at its end; return whether it did.

        It may be after text or media, as long as no call came.
        """
        if not self._has_final_content or self._call_came:
            return False
        self._held.append((kind, value))
        self._blanks = ""
        self._count_buffered(buffered_size(value))
        if self._open == TEXT:
            self._open = PAUSED  # its citations may still follow
        elif self._open != PAUSED:
            self._close_block()
        return True

    def _release_held(self) -> None:
        """Send the held pieces: what follows shows that the response was not at its end."""
        if not self._held:
            return
        held, self._held = self._held, []
        self._has_final_content = False
        for kind, value in held:
            self._write_piece(kind, value)

    def _note_call(self) -> None:
        """Note a call: send the held pieces, and hold none from now on."""
        self._release_held()
        self._call_came = True

    def _end_content(self, spoken: bool) -> None:
        """End the content. `spoken` means that the response ended by itself."""
        if not spoken:
            self._release_held()
        if self._open == PAUSED:
            self._open = TEXT
        if self._blanks or (spoken and not self._has_final_content and self._index >= 0):
            self._emit_text(self._blanks)

    def _open_block(self, kind: int, block: Block) -> None:
        self._close_block()
        self._blanks = ""
        self._index += 1
        self._open = kind
        self._out.append(ContentBlockStart(index=self._index, content_block=block))

    def _close_block(self) -> None:
        if self._open == CLOSED:
            return
        if self._signature:
            delta = SignatureDelta(signature=self._signature)
            self._out.append(ContentBlockDelta(index=self._index, delta=delta))
            self._signature = ""
        self._out.append(ContentBlockStop(index=self._index))
        self._open = CLOSED


def buffered_size(value: Any) -> int:
    """The characters that a held value occupies in memory."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, tuple):
        return sum(map(len, value))
    return len(msgspec.json.encode(value))
