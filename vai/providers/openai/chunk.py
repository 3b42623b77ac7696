"""The parts of a Chat Completions answer that VAI reads.

The same objects serve chunks and whole answers: a whole answer is one chunk whose choice
has a `message` where a chunk has a `delta`. Members that are not named here are skipped
by the decoder, which is what makes reading a chunk cheap. Where servers differ in the
form of a member it is `Any`, and its reader looks.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["CallDelta", "ChatChoice", "ChatChunk", "ChatUsage", "Delta", "FunctionDelta", "decode"]


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

    `content` is a string or parts; `reasoning` and `reasoning_content` are the two names
    for reasoning, a string or ``{"text": ...}``, and `reasoning_details` says it once more with
    what belongs to it. `executed_tools` are what the server ran,
    `images` what the model drew.
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
    """One of the answers; VAI asks for one and reads number 0.

    Brokers put the error of one answer here. `text` is what servers of the older Completions
    have in place of a message.
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
    """Tokens as Chat Completions counts them: `prompt_tokens` includes what was cached.

    Nothing is said of the counters, so that an odd one cannot take the answer with it.
    """

    prompt_tokens: Any = None
    completion_tokens: Any = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class GroqPart(msgspec.Struct, gc=False):
    """What Groq adds to the first and last chunk."""

    usage: ChatUsage | None = None
    error: Any = None


class ChatChunk(msgspec.Struct, gc=False):
    """One object of the stream, or the whole answer."""

    model: str | None = None
    choices: list[ChatChoice] | None = None
    usage: ChatUsage | None = None
    service_tier: str | None = None
    error: Any = None
    status_code: int | None = None
    x_groq: GroqPart | None = None


# Not strict: there are servers that quote their numbers.
decode = msgspec.json.Decoder(ChatChunk, strict=False).decode
"""Bytes or text -> `ChatChunk`. Raises msgspec.DecodeError (also as its subclass
ValidationError), or UnicodeDecodeError where a string is no UTF-8."""
