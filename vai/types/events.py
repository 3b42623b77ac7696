"""The events of a streamed response.

Order: message_start, then per block content_block_start, deltas and content_block_stop
with contiguous indexes from 0, then message_delta and message_stop. A ping may come
anywhere; an error ends the stream.
"""

from __future__ import annotations

from typing import Any

from vai.types.base import OpenStruct, Unknown
from vai.types.blocks import Block
from vai.types.message import Message, Usage

__all__ = [
    "AudioDelta",
    "CitationsDelta",
    "ContentBlockDelta",
    "ContentBlockStart",
    "ContentBlockStop",
    "Delta",
    "ErrorEvent",
    "Event",
    "InputJsonDelta",
    "MessageDelta",
    "MessageDeltaBody",
    "MessageStart",
    "MessageStop",
    "Ping",
    "SignatureDelta",
    "TextDelta",
    "ThinkingDelta",
    "TranscriptDelta",
    "UnknownDelta",
    "UnknownEvent",
]


class TextDelta(OpenStruct, frozen=True, kw_only=True, tag="text_delta"):
    """More text for the open text block."""

    text: str


class InputJsonDelta(OpenStruct, frozen=True, kw_only=True, tag="input_json_delta"):
    """A piece of the tool's input; the pieces join to one JSON object, none to ``{}``."""

    partial_json: str


class ThinkingDelta(OpenStruct, frozen=True, kw_only=True, tag="thinking_delta"):
    """More reasoning for the open thinking block."""

    thinking: str


class SignatureDelta(OpenStruct, frozen=True, kw_only=True, tag="signature_delta"):
    """The complete signature of the open thinking block, sent once, before its stop."""

    signature: str


class CitationsDelta(OpenStruct, frozen=True, kw_only=True, tag="citations_delta"):
    """One source of the open text block."""

    citation: dict[str, Any]


class AudioDelta(OpenStruct, frozen=True, kw_only=True, tag="audio_delta"):
    """More sound for the open audio block: base64 of its own. VAI extension.

    The pieces, decoded and joined, are the block's data.
    """

    data: str


class TranscriptDelta(OpenStruct, frozen=True, kw_only=True, tag="transcript_delta"):
    """More of the words spoken in the open audio block. VAI extension."""

    text: str


class UnknownDelta(Unknown, frozen=True, kw_only=True, tag="?"):
    """A delta of a type VAI does not know, unchanged."""


Delta = (
    TextDelta
    | InputJsonDelta
    | ThinkingDelta
    | SignatureDelta
    | CitationsDelta
    | AudioDelta
    | TranscriptDelta
    | UnknownDelta
)


class MessageStart(OpenStruct, frozen=True, kw_only=True, tag="message_start"):
    """Opens the stream with an empty message."""

    message: Message


class ContentBlockStart(OpenStruct, frozen=True, kw_only=True, tag="content_block_start"):
    """Opens block number `index`."""

    index: int
    content_block: Block


class ContentBlockDelta(OpenStruct, frozen=True, kw_only=True, tag="content_block_delta"):
    """Adds to block number `index`."""

    index: int
    delta: Delta


class ContentBlockStop(OpenStruct, frozen=True, kw_only=True, tag="content_block_stop"):
    """Completes block number `index`."""

    index: int


class MessageDeltaBody(OpenStruct, frozen=True, kw_only=True):
    """Why the response ended."""

    stop_reason: str | None
    stop_sequence: str | None
    stop_details: dict[str, Any] | None = None


class MessageDelta(OpenStruct, frozen=True, kw_only=True, tag="message_delta"):
    """The end of the response, with the running totals of its usage."""

    delta: MessageDeltaBody
    usage: Usage | None = None


class MessageStop(OpenStruct, frozen=True, kw_only=True, tag="message_stop"):
    """The stream is complete."""


class Ping(OpenStruct, frozen=True, kw_only=True, tag="ping"):
    """Keeps a silent connection alive."""


class ErrorEvent(OpenStruct, frozen=True, kw_only=True, tag="error"):
    """The stream failed; nothing follows."""

    error: dict[str, Any]


class UnknownEvent(Unknown, frozen=True, kw_only=True, tag="?"):
    """An event of a type VAI does not know, unchanged."""


Event = (
    MessageStart
    | ContentBlockStart
    | ContentBlockDelta
    | ContentBlockStop
    | MessageDelta
    | MessageStop
    | Ping
    | ErrorEvent
    | UnknownEvent
)
