"""The parts of a generateContent answer that VAI reads.

Chunks and whole answers are the same object. Members that are not named here are skipped
by the decoder; where only some readers look into a member it is `Any`.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "Blob",
    "Candidate",
    "FunctionCall",
    "GeminiChunk",
    "GeminiUsage",
    "Part",
    "decode",
]


class Wire(msgspec.Struct, rename="camel", gc=False):
    """An object with names in camelCase."""


class FunctionCall(Wire, gc=False):
    """A call; it always comes whole."""

    id: Any = None
    name: str | None = None
    args: Any = None


class Blob(Wire, gc=False):
    """A medium, in base64."""

    mime_type: str = ""
    data: str = ""


class Part(Wire, gc=False):
    """A piece of the answer. `thought` marks reasoning; any part may be signed."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Blob | None = None
    executable_code: dict[str, Any] | None = None
    code_execution_result: dict[str, Any] | None = None
    tool_call: dict[str, Any] | None = None
    tool_response: dict[str, Any] | None = None


class Content(Wire, gc=False):
    """What was said."""

    parts: list[Part] | None = None


class Candidate(Wire, gc=False):
    """One of the answers; VAI asks for one and reads number 0."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    continuation_token: str | None = None
    citation_metadata: dict[str, Any] | None = None
    grounding_metadata: dict[str, Any] | None = None
    url_context_metadata: dict[str, Any] | None = None


class PromptFeedback(Wire, gc=False):
    """Why there are no candidates."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class GeminiUsage(Wire, gc=False):
    """Running totals of one HTTP request. Counters of zero are left out by the server."""

    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    total_token_count: Any = None


class GeminiChunk(Wire, gc=False):
    """One object of the stream, or the whole answer.

    `response` is what Code Assist puts around nothing else: the object itself.
    """

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: GeminiUsage | None = None
    model_version: str | None = None
    response: GeminiChunk | None = None
    error: Any = None


# Not strict: proto JSON writes 64-bit numbers as strings.
_decode_chunk = msgspec.json.Decoder(GeminiChunk, strict=False).decode
_decode_chunks = msgspec.json.Decoder(list[GeminiChunk], strict=False).decode


def decode(text: bytes) -> list[GeminiChunk]:
    """The chunks in a JSON text: an object, or an array of them.

    Raises:
        msgspec.DecodeError: it is something else (also as its subclass ValidationError).
        UnicodeDecodeError: a string is no UTF-8.
    """
    if text[:1] != b"{" and text.lstrip()[:1] == b"[":
        return _decode_chunks(text)
    return [_decode_chunk(text)]
