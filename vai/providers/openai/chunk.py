"""The parts of a Chat Completions response that VAI reads, and what they mean.

The same objects serve chunks and complete responses: a complete response is one chunk whose choice
has a `message` where a chunk has a `delta`. The decoder skips members without a name here, which
makes reading a chunk cheap. Where servers differ in the form of a member its type is `Any`, and
the code that reads it checks: `content` and `images` are strings, objects and lists of parts.

OpenAI has five values for the end of a response. Servers that imitate it have more (DeepSeek, GLM,
Mistral, vLLM and brokers that pass on the values of others, seen 2026-11). VAI never reports a
response that was cut or broken off as ended by itself; it does so for an unknown value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from vai.types.blocks import ImageBlock, Source

__all__ = [
    "FAILED",
    "CallDelta",
    "ChatChoice",
    "ChatChunk",
    "ChatUsage",
    "Delta",
    "FunctionDelta",
    "Span",
    "decode_chunk",
    "image_from_part",
    "iterate_spans",
    "plain_text",
    "stop_reason_from_finish",
]

Span = tuple[str, Any]
"""The kind of a part (``text``, ``thinking``, ``refusal``, ``image``), and its content."""

_DATA_URL: Final = re.compile(r"data:(image/[\w.+-]+);base64,", re.IGNORECASE)
_REASONING_TYPES: Final = ("thinking", "reasoning")
_IMAGE_TYPES: Final = ("image", "image_url", "output_image")


def plain_text(value: Any) -> str:
    """The text of a string, a ``{"text": ...}`` or a list of such parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return plain_text(value.get("text"))
    if isinstance(value, list):
        return "".join(plain_text(part) for part in value)
    return ""


def iterate_spans(content: Any) -> Iterator[Span]:
    """The parts of `content`, in order, without parts that are empty or of an unknown kind."""
    if isinstance(content, str):
        if content:
            yield "text", content
    elif isinstance(content, list):
        for part in content:
            yield from iterate_spans(part)
    elif isinstance(content, dict):
        yield from _object_spans(content)


def _object_spans(part: dict[str, Any]) -> Iterator[Span]:
    kind = part.get("type")
    if kind in _REASONING_TYPES:
        # Mistral: {"type": "thinking", "thinking": [{"type": "text", "text": ...}]}
        text = plain_text(part.get("thinking") or part.get("reasoning") or part)
        if text:
            yield "thinking", text
    elif kind in _IMAGE_TYPES:
        yield "image", part
    elif kind == "refusal" and isinstance(part.get("refusal"), str):
        yield "refusal", part["refusal"]
    elif text := plain_text(part):
        yield "text", text


def image_from_part(item: Any) -> ImageBlock | None:
    """The block for an item of `images`, or for a part that is an image; None if it is neither."""
    if isinstance(item, dict):
        item = item.get("image_url") or item.get("url") or item.get("b64_json") or item
    if isinstance(item, dict):
        item = item.get("url")
    if not isinstance(item, str) or not item:
        return None
    match = _DATA_URL.match(item)
    if match is not None:
        source = Source(
            type="base64", media_type=match[1].lower(), data=item[match.end() :].strip()
        )
    elif item.startswith(("https://", "http://")):
        source = Source(type="url", url=item)
    elif item.startswith("data:"):
        return None
    else:
        source = Source(type="base64", media_type="image/png", data=item)
    return ImageBlock(source=source)


FAILED: Final = "failed"
"""What `stop_reason_from_finish` returns for a response that the server could not finish."""

_STOP_REASONS: Final = {
    **dict.fromkeys(
        (
            "length",
            "max_length",
            "max_tokens",
            "max_output_tokens",
            "max_completion_tokens",
            "model_length",
            "model_context_window_exceeded",
            "repetition",
            "repetition_truncation",
        ),
        "max_tokens",
    ),
    **dict.fromkeys(
        (
            "content_filter",
            "blocklist",
            "prohibited_content",
            "recitation",
            "refusal",
            "safety",
            "sensitive",
            "spii",
        ),
        "refusal",
    ),
    **dict.fromkeys(
        (
            "error",
            "abort",
            "aborted",
            "canceled",
            "cancelled",
            "engine_overloaded",
            "failed",
            "insufficient_system_resource",
            "network_error",
            "server_error",
            "timeout",
        ),
        FAILED,
    ),
}


def stop_reason_from_finish(reason: str) -> str:
    """``max_tokens``, ``refusal``, `FAILED`, or ``end_turn`` for all others.

    The response itself shows whether there are calls: servers write ``stop`` behind calls, and
    ``tool_calls`` without any.
    """
    return _STOP_REASONS.get(reason) or _STOP_REASONS.get(reason.lower(), "end_turn")


class FunctionDelta(msgspec.Struct, gc=False):
    """`arguments` is a string; some servers send the object itself."""

    name: str | None = None
    arguments: Any = None


class CallDelta(msgspec.Struct, gc=False):
    """A piece of a tool call; some servers leave out the object around name and arguments."""

    index: int | None = None
    id: Any = None
    function: FunctionDelta | None = None
    name: str | None = None
    arguments: Any = None


class Delta(msgspec.Struct, gc=False):
    """A piece of the message, or the message.

    `content` is a string or parts; `reasoning` and `reasoning_content` are the two names for
    reasoning, a string or ``{"text": ...}``; `reasoning_details` repeats it with all that belongs
    to it. `executed_tools` are the server tools that ran, `images` the pictures that the model
    drew.
    """

    content: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None
    function_call: FunctionDelta | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    images: list[Any] | None = None
    executed_tools: list[Any] | None = None


class ChatChoice(msgspec.Struct, gc=False):
    """One of the responses; VAI requests one and reads number 0.

    Brokers put the error of one response here. Servers of the older Completions have `text`
    instead of a message.
    """

    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    error: Any = None
    text: Any = None


class PromptDetails(msgspec.Struct, gc=False):
    """Parts of `prompt_tokens`."""

    cached_tokens: Any = None
    cache_write_tokens: Any = None
    audio_tokens: Any = None


class CompletionDetails(msgspec.Struct, gc=False):
    """Parts of `completion_tokens`."""

    reasoning_tokens: Any = None
    audio_tokens: Any = None


class ChatUsage(msgspec.Struct, gc=False):
    """Tokens as Chat Completions counts them: `prompt_tokens` includes cached ones.

    The counters have no type here, so that an invalid one does not invalidate the response.
    """

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class GroqPart(msgspec.Struct, gc=False):
    """Groq's addition to the first and last chunk."""

    usage: ChatUsage | None = None
    error: Any = None


class ChatChunk(msgspec.Struct, gc=False):
    """One object of the stream, or the whole response."""

    model: str | None = None
    choices: list[ChatChoice] | None = None
    usage: ChatUsage | None = None
    service_tier: str | None = None
    error: Any = None
    status_code: int | None = None
    x_groq: GroqPart | None = None


# Not strict: some servers quote their numbers.
decode_chunk = msgspec.json.Decoder(ChatChunk, strict=False).decode
"""Bytes or text -> `ChatChunk`. Raises msgspec.DecodeError (also as its subclass
ValidationError), or UnicodeDecodeError where a string is no UTF-8."""
