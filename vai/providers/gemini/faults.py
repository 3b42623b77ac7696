"""Google's errors and finish reasons -> faults and stop reasons.

Invariants:

* The status decides as for every provider; a `google.rpc` detail decides only where it has more.
  Failures that waiting cannot repair (a day's quota, a bad key) are marked as not worth a retry.
* VAI never reports a response that the model could not finish as a finished one. An unknown
  reason ends a response only if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from vai.errors import (
    UPSTREAM_SENTENCES,
    ErrorType,
    UpstreamBroken,
    UpstreamFault,
    UpstreamRejected,
)
from vai.providers.decode import upstream_errors as failure

__all__ = [
    "CONTINUATION",
    "STOP_REASONS",
    "UNUSABLE_CALL_REASONS",
    "fault_from_event",
    "fault_from_reason",
    "fault_from_response",
    "refusal_details",
]

_MAX_WAIT: Final = 300.0
"""Seconds. Google's own client stops where it would have to wait longer."""
_MINUTE: Final = 60.0

_ERROR_REASONS: Final[dict[str, tuple[ErrorType, int, bool | None]]] = {
    "API_KEY_INVALID": ("authentication_error", 401, False),
    "API_KEY_SERVICE_BLOCKED": ("permission_error", 403, False),
    "ACCESS_TOKEN_EXPIRED": ("authentication_error", 401, False),
    "BILLING_DISABLED": ("billing_error", 402, False),
    "INSUFFICIENT_G1_CREDITS_BALANCE": ("billing_error", 402, False),
    "MODEL_CAPACITY_EXHAUSTED": ("overloaded_error", 529, False),
    "QUOTA_EXHAUSTED": ("rate_limit_error", 429, False),
    "VALIDATION_REQUIRED": ("permission_error", 403, False),
}
"""`ErrorInfo.reason` -> type, status, and whether a retry can help.
Google's own client, https://github.com/google-gemini/gemini-cli (2026-08-21)."""
_STATUSES: Final[dict[str, tuple[ErrorType, int]]] = {
    "INVALID_ARGUMENT": ("invalid_request_error", 400),
    "FAILED_PRECONDITION": ("invalid_request_error", 400),
    "OUT_OF_RANGE": ("invalid_request_error", 400),
    "UNAUTHENTICATED": ("authentication_error", 401),
    "PERMISSION_DENIED": ("permission_error", 403),
    "NOT_FOUND": ("not_found_error", 404),
    "RESOURCE_EXHAUSTED": ("rate_limit_error", 429),
    "INTERNAL": ("api_error", 500),
    "UNAVAILABLE": ("overloaded_error", 503),
    "DEADLINE_EXCEEDED": ("timeout_error", 504),
}
"""For errors inside a stream whose code is no HTTP status.
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""
_PROJECT = re.compile(r"\b(projects?[/ :#]+)[\w-]*\d[\w-]*")


def fault_from_response(
    provider: str, name: str, status: int, headers: Mapping[str, str], body: bytes
) -> UpstreamRejected:
    """The fault for a response with an error status. Arguments as in `upstream_errors`."""
    return _refine_fault(failure.fault_from_response(provider, name, status, headers, body))


def fault_from_event(provider: str, name: str, error: Any) -> UpstreamRejected:
    """The fault for an error object inside a response with status 200."""
    fault = failure.fault_from_event(provider, name, {"error": error})
    type_and_status = _STATUSES.get(str(error.get("status"))) if isinstance(error, dict) else None
    if type_and_status is not None and fault.type == "provider_error":
        fault.type, fault.status = type_and_status
    return _refine_fault(fault)


def _refine_fault(fault: UpstreamRejected) -> UpstreamRejected:
    error = fault.provider_error
    if not isinstance(error, dict):
        return fault
    fault.message = _PROJECT.sub(r"\1[redacted]", fault.message)
    details = [item for item in _as_list(error.get("details")) if isinstance(item, dict)]
    info = _find_detail(details, "ErrorInfo")
    reason = info.get("reason")
    if not isinstance(reason, str):
        reason = None
    code = reason or error.get("status")
    if isinstance(code, str) and code and fault.code != failure.CONTEXT_OVERFLOW:
        fault.code = code.lower()[:100]
    wait = _seconds_from_duration(_find_detail(details, "RetryInfo").get("retryDelay"))
    if wait is not None:
        fault.retry_after = wait
    elif fault.retry_after is None:
        fault.retry_after = failure.retry_after({}, fault.message)
    if fault.type == "rate_limit_error":
        _apply_quota(fault, _find_detail(details, "QuotaFailure"))
    if reason in _ERROR_REASONS:
        fault.type, fault.status, fault.should_retry = _ERROR_REASONS[reason]
    return fault


def _apply_quota(fault: UpstreamRejected, quota: dict[str, Any]) -> None:
    """Set the wait for a quota: a day's quota is not worth waiting for."""
    ids = [
        str(item.get("quotaId")) for item in _as_list(quota.get("violations")) if _is_object(item)
    ]
    if any("PerDay" in name for name in ids):
        # The delay in the same error is that of the minute.
        fault.retry_after, fault.should_retry = None, False
    elif fault.retry_after is None and any("PerMinute" in name for name in ids):
        fault.retry_after = _MINUTE
    elif fault.retry_after is not None and fault.retry_after > _MAX_WAIT:
        fault.should_retry = False


def _find_detail(details: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for item in details:
        if str(item.get("@type", "")).endswith(f"google.rpc.{name}"):
            return item
    return {}


_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(m?s)")


def _seconds_from_duration(delay: Any) -> float | None:
    """A duration of proto JSON: ``34.07s``, ``900ms``, or seconds and nanos."""
    if isinstance(delay, dict):
        seconds, nanos = delay.get("seconds", 0), delay.get("nanos", 0)
        if str(seconds).isdecimal() and isinstance(nanos, int):
            return min(int(seconds) + nanos / 1e9, failure.MAX_RETRY_AFTER)
        return None
    match = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
    if match is None:
        return None
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
    return min(seconds, failure.MAX_RETRY_AFTER)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_object(item: Any) -> bool:
    return isinstance(item, dict)


CONTINUATION: Final = "CONTINUATION"
"""There is more; a request with the token in the response continues it.
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""

STOP_REASONS: Final = {
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
"""Reasons with the same meaning whatever preceded them. STOP is not among them.
Types of google-genai 3.4.0, https://github.com/googleapis/python-genai (2026-11-22)."""

UNUSABLE_CALL_REASONS: Final = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL")
"""Reasons that one call was unusable; the same response may hold a usable one.
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


def refusal_details(explanation: str) -> dict[str, Any]:
    """The details of a refusal."""
    return {"type": "refusal", "category": None, "explanation": explanation}


def fault_from_reason(reason: str, message: str | None, provider: str) -> UpstreamFault | None:
    """The fault that `reason` stands for; None if it stands for none."""
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
        # The model may succeed the next time; a signature that the history lacks stays missing.
        should_retry=reason != "MISSING_THOUGHT_SIGNATURE",
    )
