"""Google's errors -> faults: what `google.rpc` details say beyond the status.

Invariants: the status decides as for every provider; a detail decides only
where it says more. What waiting cannot mend (a day's quota, a bad key) says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from vai.errors import ErrorType, UpstreamRejected
from vai.providers.decode import upstream_errors as failure

__all__ = ["from_answer", "from_event"]

_MAX_WAIT: Final = 300.0
"""Seconds. Google's own client gives up where it would have to wait longer."""
_MINUTE: Final = 60.0

_REASONS: Final[dict[str, tuple[ErrorType, int, bool | None]]] = {
    "API_KEY_INVALID": ("authentication_error", 401, False),
    "API_KEY_SERVICE_BLOCKED": ("permission_error", 403, False),
    "ACCESS_TOKEN_EXPIRED": ("authentication_error", 401, False),
    "BILLING_DISABLED": ("billing_error", 402, False),
    "INSUFFICIENT_G1_CREDITS_BALANCE": ("billing_error", 402, False),
    "MODEL_CAPACITY_EXHAUSTED": ("overloaded_error", 529, False),
    "QUOTA_EXHAUSTED": ("rate_limit_error", 429, False),
    "VALIDATION_REQUIRED": ("permission_error", 403, False),
}
"""`ErrorInfo.reason` -> type, status, and whether another try can help.
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


def from_answer(
    provider: str, name: str, status: int, headers: Mapping[str, str], body: bytes
) -> UpstreamRejected:
    """The fault for an answer with an error status. Arguments as `failure.from_answer`."""
    return _refined(failure.from_answer(provider, name, status, headers, body))


def from_event(provider: str, name: str, error: Any) -> UpstreamRejected:
    """The fault for an error object inside an answer with status 200."""
    fault = failure.from_event(provider, name, {"error": error})
    meant = _STATUSES.get(str(error.get("status"))) if isinstance(error, dict) else None
    if meant is not None and fault.type == "provider_error":
        fault.type, fault.status = meant
    return _refined(fault)


def _refined(fault: UpstreamRejected) -> UpstreamRejected:
    error = fault.provider_error
    if not isinstance(error, dict):
        return fault
    fault.message = _PROJECT.sub(r"\1[redacted]", fault.message)
    details = [item for item in _list(error.get("details")) if isinstance(item, dict)]
    info = _detail(details, "ErrorInfo")
    reason = info.get("reason")
    if not isinstance(reason, str):
        reason = None
    said = reason or error.get("status")
    if isinstance(said, str) and said and fault.code != failure.CONTEXT_OVERFLOW:
        fault.code = said.lower()[:100]
    wait = _seconds(_detail(details, "RetryInfo").get("retryDelay"))
    if wait is not None:
        fault.retry_after = wait
    elif fault.retry_after is None:
        fault.retry_after = failure.retry_after({}, fault.message)
    if fault.type == "rate_limit_error":
        _limited(fault, _detail(details, "QuotaFailure"))
    if reason in _REASONS:
        fault.type, fault.status, fault.should_retry = _REASONS[reason]
    return fault


def _limited(fault: UpstreamRejected, quota: dict[str, Any]) -> None:
    """How long a quota is used up: a day's is not worth waiting for."""
    ids = [str(item.get("quotaId")) for item in _list(quota.get("violations")) if _is(item)]
    if any("PerDay" in name for name in ids):
        # The delay that comes with it is that of the minute.
        fault.retry_after, fault.should_retry = None, False
    elif fault.retry_after is None and any("PerMinute" in name for name in ids):
        fault.retry_after = _MINUTE
    elif fault.retry_after is not None and fault.retry_after > _MAX_WAIT:
        fault.should_retry = False


def _detail(details: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for item in details:
        if str(item.get("@type", "")).endswith(f"google.rpc.{name}"):
            return item
    return {}


_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(m?s)")


def _seconds(delay: Any) -> float | None:
    """A duration of proto JSON: ``34.07s``, ``900ms``, or seconds and nanos."""
    if isinstance(delay, dict):
        whole, nanos = delay.get("seconds", 0), delay.get("nanos", 0)
        if str(whole).isdecimal() and isinstance(nanos, int):
            return min(int(whole) + nanos / 1e9, failure.MAX_RETRY_AFTER)
        return None
    found = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
    if found is None:
        return None
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1)
    return min(seconds, failure.MAX_RETRY_AFTER)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is(item: Any) -> bool:
    return isinstance(item, dict)
