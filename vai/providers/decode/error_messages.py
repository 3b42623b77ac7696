"""Extracts the message from the body of an error, in any server's form.

Invariants: the members of a body identify its form, not the server, because a server of
any API may stand behind a proxy that writes errors of its own.

A prompt that is longer than the model's context gets one wording: clients of the Messages API
shorten a conversation only when an error contains ``prompt is too long``. Servers do not agree on
a code or a sentence, so this module has tables of the known codes and phrases. The message
has the token counts where the server's message has both. Sources, read in November 2026: the
servers' own code (vLLM, SGLang, llama.cpp, llama-cpp-python, TGI) and errors that users of the
hosted ones reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = [
    "CONTEXT_OVERFLOW",
    "MAX_MESSAGE",
    "PROMPT_TOO_LONG",
    "all_words",
    "decode_json",
    "error_object",
    "is_overflow",
    "message_of",
    "overflow_message",
    "plain_words",
]


CONTEXT_OVERFLOW: Final = "context_length_exceeded"
"""VAI's code for this error, for all servers."""
PROMPT_TOO_LONG: Final = "prompt is too long"
"""The words that clients search for."""

_CODES: Final = frozenset(
    {
        CONTEXT_OVERFLOW,
        "context_length_error",
        "context_length_exceeded_error",
        "context_window_exceeded",
        "contextwindowexceedederror",  # LiteLLM
        "exceed_context_size_error",  # llama.cpp
        "input_too_long",
        "model_context_window_exceeded",
        "prompt_too_long",
        "tokens_limit_reached",  # GitHub Models
    }
)
_PLAIN: Final = r"[\d,.]{1,14}"
_PHRASES: Final = (
    r"prompt (?:is )?too long",  # Anthropic, Fireworks, Ollama
    r"(?:input|request|prompt|context) is too (?:long|large) for",  # Bedrock, Ollama
    r"ContextWindowExceeded",  # LiteLLM
    r"request body too large for .{1,80} max size: \d+ tokens",  # GitHub Models
    r"(?:input|prompt)(?: length)? (?:is )?too (?:long|large): \d+ (?:tokens|>)",
    rf"(?:input|prompt) length \(?{_PLAIN}\)?(?: tokens)? (?:exceeds|is (?:greater|longer) than)",
    r"sum of prompt length\b.{0,60}? should not exceed",  # TensorRT-LLM
    r"too many input tokens",  # Bedrock
    r"exceeds? max message tokens",  # Volcengine
    rf"(?<!\w)(?:input|prompt|requested) tokens?(?: \(?{_PLAIN}\)?)? (?:exceeds?|cannot exceed)",
    rf"tokens in (?:the |your )?(?:prompt|input)(?: \(?{_PLAIN}\)?)? exceeds?",
    rf"prompt has {_PLAIN} tokens\b.{{0,60}}?(?:limit|maximum)",
    r"context limit (?:was |has been |is )?exceeded|exceeds? (?:the )?(?:model'?s? )?context limit",
    rf"context (?:window|length|size) is {_PLAIN} tokens, but",
    r"exceeds? (?:the )?(?:model'?s? )?max(?:imum)? context",
    r"(?:input|prompt) is (?:longer|larger) than the maximum number of tokens",
    r"maximum (?:context|prompt|input|model) length",  # OpenAI, vLLM, SGLang, OpenRouter, xAI
    r"max(?:imum)? allowed input length",  # Poolside
    r"exceeds? (?:the )?(?:model'?s? )?(?:max(?:imum)? )?context (?:window|length|size)",
    r"exceeds? (?:the )?(?:available|configured) context (?:window|length|size)",  # llama.cpp
    r"context size (?:has been )?exceeded",  # llama.cpp, in a stream
    r"context (?:length|window) (?:was |has been |is )?exceed",  # LM Studio, MiniMax
    r"longer than (?:the )?(?:model'?s? )?(?:context (?:length|window)|max_model_len)",  # SGLang
    r"(?:greater|more|larger) than (?:the )?(?:model'?s? )?context (?:length|window)",  # LM Studio
    r"loaded with context length of only",  # LM Studio
    r"configured context size is",  # MLX servers
    r"reduce the length of the (?:messages|prompt|input)",  # Groq, Cerebras, OpenAI
    r"input token count\b.{0,60}?(?:exceeds|but)",  # Gemini, Vertex
    r"prompt token count of \d+ exceeds",  # Copilot
    r"exceeded model token limit",  # Moonshot
    r"prompt exceeds max length",  # Z.ai
    r"range of input length should be",  # DashScope
    r"too many tokens: total number of tokens in the prompt",  # Cohere
    r"inputs` (?:tokens \+ `max_new_tokens` )?must (?:be <=|have less than)",  # TGI
)
_OVERFLOW: Final = re.compile("|".join(_PHRASES), re.IGNORECASE)
_OTHER_LIMIT: Final = re.compile(
    r"per (?:minute|hour|day)|\bTPM\b|\bTPD\b|rate.limit|quota|completion tokens, whereas",
    re.IGNORECASE,
)
"""Messages about rates and other limits, which a shorter conversation does not resolve."""
_MAX_TOKENS_WORDS: Final = "exceed context limit: "
"""Anthropic's error for a prompt that fits only with a lower `max_tokens`: clients lower it."""

_COUNT: Final = r"(?<![\w.])(\d{1,3}(?:,\d{3}){1,3}|\d{2,10})(?![\w-])"
_LIMITS: Final = (
    re.compile(rf"should not exceed \w+ \(?{_COUNT}"),
    re.compile(rf"{_COUNT} maximum", re.IGNORECASE),
    re.compile(
        rf"(?:maximum|max|max_model_len|limit|context|supports up to|<=)\b\D{{0,60}}?{_COUNT}",
        re.IGNORECASE,
    ),
    re.compile(rf"(?:<=|cannot exceed) {_COUNT}"),
)
_COUNTS: Final = re.compile(_COUNT)
_SUM: Final = re.compile(rf"too large: {_COUNT}\..{{0,120}}? {_COUNT} input tokens")
"""vLLM, where the prompt alone would fit: the tokens of the response, and of the prompt."""
_MAX_READ: Final = 4000
"""Characters of a message that VAI searches."""


def is_overflow(status: int | None, names: tuple[str, ...], words: str) -> bool:
    """Whether an error means that the prompt does not fit into the model's context.

    Args:
        status: the response's status; None in a stream.
        names: the error's codes and types, in lower case.
        words: the error's message.
    """
    words = words[:_MAX_READ]
    if status in (401, 402, 403, 429) or _OTHER_LIMIT.search(words) or _MAX_TOKENS_WORDS in words:
        return False
    return not _CODES.isdisjoint(names) or bool(_OVERFLOW.search(words))


def overflow_message(error: Mapping[str, Any], words: str) -> str:
    """The error in Anthropic's wording, with the server's message where it lacks the counts."""
    used, limit = error.get("n_prompt_tokens"), error.get("n_ctx")  # llama.cpp
    if not (type(used) is int and type(limit) is int):
        used, limit = _read_counts(words[:_MAX_READ])
    if used is not None and limit is not None and used > limit > 0:
        return f"{PROMPT_TOO_LONG}: {used} tokens > {limit} maximum"
    if PROMPT_TOO_LONG in words:
        return words
    return f"{PROMPT_TOO_LONG}: {words}" if words else f"{PROMPT_TOO_LONG} for this model"


def _read_counts(words: str) -> tuple[int | None, int | None]:
    """The tokens of the prompt, or of prompt and response, and the limit."""
    limit_match = next((match for limit in _LIMITS if (match := limit.search(words))), None)
    if limit_match is None:
        return None, None
    limit = _parse_count(limit_match[1])
    parts = _SUM.search(words)
    if parts is not None:
        return _parse_count(parts[1]) + _parse_count(parts[2]), limit
    larger = [count for text in _COUNTS.findall(words) if (count := _parse_count(text)) > limit]
    return (max(larger) if larger else None), limit


def _parse_count(text: str) -> int:
    return int(text.replace(",", ""))


MAX_MESSAGE: Final = 2000
"""Characters of an upstream's message that VAI sends to the client."""
_MAX_NESTED: Final = 4
_MAX_ITEMS: Final = 20
"""The most problems of one error, and the most steps in the path of one."""
_MESSAGE_MEMBERS: Final = (
    "message",
    "Message",
    "detail",
    "msg",
    "error_message",
    "error_msg",
    "error_description",
    "errors",
    "reason",
    "base_resp",
    "status_msg",
    "fault",
    "faultstring",
    "error",
)
"""Members that hold the message of an error, the likeliest first."""


def decode_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def plain_words(body: bytes) -> str | None:
    """The text of a body that is no JSON; None for an HTML page."""
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        return None
    is_text = text and text != "null" and text[0] not in "<{["
    return text[: 2 * MAX_MESSAGE] if is_text else None


def error_object(body: Any) -> tuple[Any, dict[str, Any]]:
    """The upstream's own error object, and the object that contains it."""
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, str):
        return body, {}
    if not isinstance(body, dict):
        return None, {}
    error = body.get("error")
    if error and (isinstance(error, dict | list) or not message_of(_without_member(body, "error"))):
        return error, body
    if error:
        return body, body  # beside a message, the text in `error` is a code
    detail = body.get("detail")
    if isinstance(detail, dict) and (detail.get("error") or detail.get("message")):
        return detail.get("error") or detail, body
    return body, body


def _without_member(value: dict[str, Any], member: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != member}


def message_of(error: Any, depth: int = 0) -> str:
    """The message of the error; FastAPI's `detail` may be a text, a list or an object."""
    if isinstance(error, str):
        return error[: 2 * MAX_MESSAGE]
    if depth == _MAX_NESTED:
        return ""
    if isinstance(error, list):
        return "; ".join(filter(None, (message_of(item, depth + 1) for item in error[:_MAX_ITEMS])))
    if isinstance(error, dict):
        for name in _MESSAGE_MEMBERS:
            if text := message_of(error.get(name), depth + 1):
                return f"{location}: {text}" if (location := _error_location(error)) else text
    return ""


def _error_location(error: dict[str, Any]) -> str:
    """The path in the request to which a problem from FastAPI applies."""
    steps = error.get("loc")
    if not isinstance(steps, list):
        return ""
    return ".".join(str(step) for step in steps[:_MAX_ITEMS] if isinstance(step, str | int))


def all_words(error: Any) -> str:
    """The message, and the message of the upstream that a broker (OpenRouter) quotes."""
    metadata = error.get("metadata") if isinstance(error, dict) else None
    quoted = message_of(metadata.get("raw")) if isinstance(metadata, dict) else ""
    return f"{message_of(error)} {quoted[:MAX_MESSAGE]}" if quoted else message_of(error)
