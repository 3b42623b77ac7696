"""How an answer ended, in Google's words -> in ours.

Invariants: an answer that the model could not finish is never passed off as
one that it did. What is unknown ends an answer only if there is one.
"""

from __future__ import annotations

from typing import Any, Final

from vai.errors import UPSTREAM_SENTENCES, UpstreamBroken, UpstreamFault, UpstreamRejected

__all__ = ["CONTINUATION", "REASONS", "SPOILT", "refusal", "unfinished"]

CONTINUATION: Final = "CONTINUATION"
"""There is more, to be asked for with the token that came with it.
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""

REASONS: Final = {
    "MAX_TOKENS": "max_tokens",
    "TOO_MANY_TOOL_CALLS": "pause_turn",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "LANGUAGE": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "MODEL_ARMOR": "refusal",
    "ESCALATION": "refusal",
    "IMAGE_SAFETY": "refusal",
    "IMAGE_PROHIBITED_CONTENT": "refusal",
    "IMAGE_RECITATION": "refusal",
}
"""Reasons that mean the same whatever was said before. STOP is not among them.
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""

SPOILT: Final = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")
"""Reasons that one call could not be used; beside it there may be one that can.
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_FAILURES: Final = {
    "MALFORMED_FUNCTION_CALL": "the model wrote a function call that cannot be read",
    "UNEXPECTED_TOOL_CALL": "the model called a tool that it was not given",
    "MALFORMED_RESPONSE": "the model wrote something that cannot be read",
    "MISSING_THOUGHT_SIGNATURE": "a call in the history lacks its thought signature",
    "IMAGE_OTHER": "the image could not be made",
    "NO_IMAGE": "the model made no image",
}
"""Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""


def refusal(explanation: str) -> dict[str, Any]:
    """The details of a refusal."""
    return {"type": "refusal", "category": None, "explanation": explanation}


def unfinished(reason: str, message: str | None, provider: str) -> UpstreamFault | None:
    """The fault that `reason` stands for; None if it is not known to be one."""
    if reason == "PUP_LIMITED_DISABLED":
        return UpstreamRejected(
            message or "The provider has disabled this model for the account",
            type="permission_error",
            status=403,
            code=reason.lower(),
            provider=provider,
            should_retry=False,
        )
    what = _FAILURES.get(reason)
    if what is None:
        return None
    return UpstreamBroken(
        f"{UPSTREAM_SENTENCES['upstream_malformed']}: {what}",
        type="api_error",
        code=reason.lower(),
        provider=provider,
        # The model may well get it right the next time; what the history lacks it lacks.
        should_retry=reason != "MISSING_THOUGHT_SIGNATURE",
    )
