"""A prompt that is longer than a model's context: how each server says so, in one wording.

Invariants: clients of the Messages API shorten a conversation when an error says
``prompt is too long``, and nothing else tells them to. No two servers agree on a code or a
sentence, so the known codes and phrases are a table here. The message has the token counts
where the server's words have both.

Sources, read in November 2026: the servers' own code (vLLM, SGLang, llama.cpp, llama-cpp-python,
TGI) and errors that users of the hosted ones reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["CONTEXT_OVERFLOW", "PROMPT_TOO_LONG", "is_overflow", "overflow_message"]

CONTEXT_OVERFLOW: Final = "context_length_exceeded"
"""The code of the error, whatever the server calls it."""
PROMPT_TOO_LONG: Final = "prompt is too long"
"""The words that clients look for."""

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
"""Limits of tokens that no shorter conversation keeps for long."""
_MAX_TOKENS_WORDS: Final = "exceed context limit: "
"""Anthropic's error for a prompt that fits without its `max_tokens`: clients lower that."""

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
"""vLLM, where the prompt alone would fit: the tokens of the answer, and those of the prompt."""
_MAX_READ: Final = 4000
"""Characters of a message that are looked through."""


def is_overflow(status: int | None, names: tuple[str, ...], words: str) -> bool:
    """Whether an error says that the prompt does not fit into the model's context.

    Args:
        status: of the response; None in a stream.
        names: the error's codes and types, in lower case.
        words: what it says to a human.
    """
    words = words[:_MAX_READ]
    if status in (401, 402, 403, 429) or _OTHER_LIMIT.search(words) or _MAX_TOKENS_WORDS in words:
        return False
    return not _CODES.isdisjoint(names) or bool(_OVERFLOW.search(words))


def overflow_message(error: Mapping[str, Any], words: str) -> str:
    """The error in Anthropic's words, with the server's where it does not tell the counts."""
    used, limit = error.get("n_prompt_tokens"), error.get("n_ctx")  # llama.cpp
    if not (type(used) is int and type(limit) is int):
        used, limit = _read_counts(words[:_MAX_READ])
    if used is not None and limit is not None and used > limit > 0:
        return f"{PROMPT_TOO_LONG}: {used} tokens > {limit} maximum"
    if PROMPT_TOO_LONG in words:
        return words
    return f"{PROMPT_TOO_LONG}: {words}" if words else f"{PROMPT_TOO_LONG} for this model"


def _read_counts(words: str) -> tuple[int | None, int | None]:
    """The tokens of the prompt, or of prompt and answer, and the most there may be."""
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
