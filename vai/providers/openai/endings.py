"""Why an answer ended, in the words of Chat Completions servers -> the Messages API's.

OpenAI has five words. Servers that imitate it have more (DeepSeek, GLM, Mistral, vLLM and
brokers that pass on the words of others, seen 2026-11). An answer that was cut or broken off is
never passed off as one that ended by itself; a word of which this module knows nothing is such an
end.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FAILED", "meaning"]

FAILED: Final = "failed"
"""What `meaning` gives for an answer that the server could not finish."""

_MEANINGS: Final = {
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


def meaning(reason: str) -> str:
    """``max_tokens``, ``refusal``, `FAILED`, or ``end_turn`` for all others.

    Whether there are calls says the answer itself: servers write ``stop`` behind calls, and
    ``tool_calls`` without any.
    """
    return _MEANINGS.get(reason) or _MEANINGS.get(reason.lower(), "end_turn")
