"""An upstream's error -> the fault that the client receives.

Invariants: every status, type and code leads to exactly one error type. The
HTTP status decides; a type or code decides only where it is more specific than the status, and
in a stream, where there is no status. The message decides two cases for which servers have no
common code and which clients must distinguish: an overload, and a prompt that is too long. The
client receives the upstream's own error object, without what looks like a credential.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from vai.errors import ErrorType, UpstreamFault, UpstreamRejected
from vai.providers.decode.error_messages import (
    CONTEXT_OVERFLOW,
    MAX_MESSAGE,
    PROMPT_TOO_LONG,
    all_words,
    decode_json,
    error_object,
    is_overflow,
    message_of,
    overflow_message,
    plain_words,
)
from vai.providers.decode.wrong_address import UPSTREAM_ADDRESS, address_message, is_wrong_address

__all__ = [
    "CONTEXT_OVERFLOW",
    "MAX_MESSAGE",
    "MAX_RETRY_AFTER",
    "PROMPT_TOO_LONG",
    "fault_from_event",
    "fault_from_object",
    "fault_from_response",
    "is_overload_message",
    "is_reasoning_rejection",
    "retry_after",
]

MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds. Longer waits make no difference to a client, so VAI caps them."""
_MAX_CODE: Final = 100
_MAX_DEPTH: Final = 32
_MAX_ERROR_CHARACTERS: Final = 32_768
"""Characters of an upstream's error object that VAI sends to the client."""


class _Verdict(NamedTuple):
    type: ErrorType
    status: int
    retry: bool | None = None


_INVALID = _Verdict("invalid_request_error", 400)
_OVERFLOW = _Verdict("invalid_request_error", 400, retry=False)
_UNAUTHENTICATED = _Verdict("authentication_error", 401)
_UNPAID = _Verdict("billing_error", 402, retry=False)
_FORBIDDEN = _Verdict("permission_error", 403)
_MISSING = _Verdict("not_found_error", 404)
_CONFLICT = _Verdict("invalid_request_error", 409)
_TOO_LARGE = _Verdict("request_too_large", 413)
_LIMITED = _Verdict("rate_limit_error", 429)
_INTERNAL = _Verdict("api_error", 500)
_OVERLOADED = _Verdict("overloaded_error", 529)
_UNAVAILABLE = _Verdict("overloaded_error", 503)
_TIMEOUT = _Verdict("timeout_error", 504)
_OTHER = _Verdict("provider_error", 502)
# A refusal that no other type describes: a retry has the same result.
_REFUSED = _Verdict("provider_error", 502, retry=False)

_BY_STATUS: Final[dict[int, _Verdict]] = {
    400: _INVALID,
    401: _UNAUTHENTICATED,
    402: _UNPAID,
    403: _FORBIDDEN,
    404: _MISSING,
    408: _TIMEOUT,
    409: _CONFLICT,
    413: _TOO_LARGE,
    422: _INVALID,
    424: _INVALID,
    429: _LIMITED,
    498: _OVERLOADED,  # Groq: no capacity in the flex tier
    499: _OTHER,  # Groq: cancelled on its side
    500: _INTERNAL,
    503: _UNAVAILABLE,
    504: _TIMEOUT,
    529: _OVERLOADED,
}

_DECISIVE: Final[dict[str, _Verdict]] = {
    "insufficient_quota": _UNPAID,
    "billing_error": _UNPAID,
    "billing_hard_limit_reached": _UNPAID,
    "invalid_api_key": _UNAUTHENTICATED,
    "authentication_error": _UNAUTHENTICATED,
    "permission_error": _FORBIDDEN,
    "permission_denied": _FORBIDDEN,
    "model_not_found": _MISSING,
    "not_found_error": _MISSING,
    "conflict_error": _CONFLICT,
    "request_too_large": _TOO_LARGE,
    "capacity_exceeded": _OVERLOADED,
    "engine_overloaded_error": _OVERLOADED,
    "insufficient_system_resource": _OVERLOADED,  # DeepSeek, as the reason of an end
    "model_overloaded": _OVERLOADED,
    "overloaded": _OVERLOADED,
    "overloaded_error": _OVERLOADED,
    "service_unavailable": _UNAVAILABLE,
    "slow_down": _OVERLOADED,
    "unavailable": _UNAVAILABLE,
    "service_unavailable_error": _UNAVAILABLE,
    "timeout_error": _TIMEOUT,
}
"""Types and codes that are more specific than the status beside them."""

_SERVERS: Final = r"(?:slot|worker|instance|server|backend|replica|upstream)s?\b"
_BUSY = re.compile(
    r"\bover ?load|\bover ?capacity|\bat (?:full |max(?:imum)? )?capacity"
    r"|\b(?:no|not enough|insufficient|out of|limited|exceeded|exhausted)(?: \w+)? capacity"
    r"|\bcapacity (?:is |was |has been )?(?:exceeded|exhausted|constraint|limited)"
    r"|\b(?:high|heavy|peak|too much|surge (?:in|of)) (?:demand|load|traffic|volume)"
    r"|\bload is too high|\bheavily loaded"
    r"|\b(?:server|service|model|engine|system|gpu|backend|cluster|worker)s?(?: is| are)?"
    r" (?:currently |too |very )*busy"
    rf"|\bno (?:available|healthy) {_SERVERS}|\b(?:no|all) {_SERVERS}"
    r"(?: are)?(?: currently)? (?:available|busy|in use)\b"
    r"|\bqueue (?:is )?full|\btoo many (?:pending|queued) requests"
    r"|\u670d\u52a1\u5668\u7e41\u5fd9",  # DeepSeek: "the server is busy"
    re.IGNORECASE,
)
"""Messages of servers that report an overload."""
_SPACED: Final = str.maketrans("_-", "  ")
"""Some servers write these words as a code, such as ``over_capacity``."""
_VAGUE: Final = frozenset({"api_error", "provider_error", "rate_limit_error"})
"""Error types that servers without a code for an overload use for one."""

_UNUSABLE: Final = (
    "bio_policy",
    "data_residency_mismatch",
    "empty_image_file",
    "failed_to_download_image",
    "image_content_policy_violation",
    "image_file_not_found",
    "image_file_too_large",
    "image_parse_error",
    "image_too_large",
    "image_too_small",
    "invalid_base64_image",
    "invalid_image",
    "invalid_image_format",
    "invalid_image_mode",
    "invalid_image_url",
    "invalid_prompt",
    "misalignment_policy_violation",
    "unsupported_image_media_type",
)
"""Codes for a fault of the request that Responses reports after it began to respond."""

_BY_NAME: Final[dict[str, _Verdict]] = _DECISIVE | {
    **dict.fromkeys(_UNUSABLE, _INVALID),
    "vector_store_timeout": _TIMEOUT,
    "invalid_request_error": _INVALID,
    "context_length_exceeded": _INVALID,
    "rate_limit_error": _LIMITED,
    "rate_limit_exceeded": _LIMITED,
    "rate_limit_reached": _LIMITED,
    "requests": _LIMITED,
    "tokens": _LIMITED,
    "too_many_requests_error": _LIMITED,
    "api_error": _INTERNAL,
    "server_error": _INTERNAL,
    "internal_server_error": _INTERNAL,
}
"""All types and codes, for errors inside a stream, which have no status."""


def fault_from_response(
    provider: str, name: str, status: int, headers: Mapping[str, str], body: bytes
) -> UpstreamRejected:
    """The fault for a response with an error status.

    Args:
        provider: the provider's id.
        name: the provider's display name.
        headers: with lower-case names.
        body: the bytes received; JSON, HTML or nothing.
    """
    value = decode_json(body)
    if value is None:
        value = plain_words(body)
    error, outer = error_object(value)
    nested = error is not outer and isinstance(error, dict)
    if is_wrong_address(status, error, _error_names(error), all_words(error), nested=nested):
        return _address_fault(provider, name, status, headers)
    verdict = _refine_by_message(_verdict_by_status(status, _error_names(error)), status, error)
    retry = headers.get("x-should-retry", "").lower()
    return _rejected_fault(
        provider,
        verdict,
        error,
        status=status,
        fallback=f"{name} answered with status {status} and no message",
        wait=retry_after(headers, message_of(error)),
        retry={"true": True, "false": False}.get(retry, verdict.retry),
        request_id=_request_id(headers, outer),
    )


def fault_from_event(provider: str, name: str, value: Any) -> UpstreamRejected:
    """The fault for an error object inside a stream, or inside a response with status 200."""
    error, outer = error_object(value)
    verdict = _verdict_by_names(_error_names(error))
    status = outer.get("status_code")
    if not isinstance(status, int) and isinstance(error, dict):
        status = error.get("code")
    if isinstance(status, str) and status.isdecimal() and len(status) == 3:
        status = int(status)
    if not isinstance(status, int) or not 400 <= status < 600:
        status = None
    if verdict is None:
        verdict = _OTHER if status is None else _verdict_by_status(status, ())
    verdict = _refine_by_message(verdict, status, error)
    return _rejected_fault(
        provider,
        verdict,
        error,
        status=status,
        fallback=f"{name} reported an error without a message",
        wait=None,
        retry=verdict.retry,
        request_id=_request_id({}, outer),
    )


def fault_from_object(provider: str, name: str, data: bytes) -> UpstreamRejected | None:
    """The fault in a JSON text that is no part of a response; None if it has no message.

    Servers that fail after they sent the head write the error in their own form, which
    may differ from that of the wire format.
    """
    value = decode_json(data)
    error, _ = error_object(value)
    return fault_from_event(provider, name, value) if message_of(error) else None


_REASONING = re.compile(
    r"signature|encrypted[_ ]content|(?:redacted_)?thinking`? block|expected `thinking`"
    r"|of type 'reasoning'",
    re.IGNORECASE,
)


def is_reasoning_rejection(fault: UpstreamFault) -> bool:
    """Whether the provider refused only the reasoning in the history.

    Then the same request without reasoning is worth one attempt. The message decides: no provider
    has a code for all of these cases.
    """
    if not isinstance(fault, UpstreamRejected) or fault.type != "invalid_request_error":
        return False
    return bool(_REASONING.search(f"{fault.message} {fault.code or ''}"))


def retry_after(headers: Mapping[str, str], message: str = "") -> float | None:
    """Seconds to wait: from ``retry-after-ms``, ``retry-after`` or the message.

    VAI compares an HTTP date with the response's own Date header, so that neither clock
    has to be right.
    """
    wait = _parse_seconds(headers.get("retry-after-ms"))
    if wait is not None:
        return min(wait / 1000, MAX_RETRY_AFTER)
    stated = headers.get("retry-after")
    wait = _parse_seconds(stated)
    if wait is None and stated:
        wait = _seconds_until(stated, headers.get("date"))
    if wait is None:
        wait = _wait_from_message(message)
    return None if wait is None else min(wait, MAX_RETRY_AFTER)


def _address_fault(
    provider: str, name: str, status: int, headers: Mapping[str, str]
) -> UpstreamRejected:
    """The fault for a response from an address that does not serve the provider's API.

    It leaves out the server's message, which may name a path or a host of the operator's.
    """
    request_id = _request_id(headers, {})
    return UpstreamRejected(
        address_message(name, status),
        type=_REFUSED.type,
        status=_REFUSED.status,
        code=UPSTREAM_ADDRESS,
        provider=provider,
        details={"provider": provider, "upstream_status": status},
        should_retry=_REFUSED.retry,
        upstream_request_id=request_id,
        upstream_status=status,
    )


def _rejected_fault(
    provider: str,
    verdict: _Verdict,
    error: Any,
    *,
    status: int | None,
    fallback: str,
    wait: float | None,
    retry: bool | None,
    request_id: str | None,
) -> UpstreamRejected:
    fields = error if isinstance(error, dict) else {}
    message = message_of(error)
    code = _short_text(_error_code(fields))
    if verdict is _OVERFLOW:
        message, code = overflow_message(fields, message), CONTEXT_OVERFLOW
    details = {
        "provider": provider,
        "upstream_status": status,
        "upstream_type": _short_text(fields.get("type") or fields.get("status")),
        "upstream_code": _short_text(_error_code(fields)),
        "upstream_request_id": request_id,
    }
    return UpstreamRejected(
        _redact_secrets(message) or fallback,
        type=verdict.type,
        status=verdict.status,
        param=_short_text(fields.get("param")),
        code=code,
        provider=provider,
        provider_error=_without_secrets(error) or None,
        details={name: value for name, value in details.items() if value is not None},
        retry_after=wait,
        should_retry=retry,
        upstream_request_id=request_id,
        upstream_status=status,
    )


def _verdict_by_status(status: int, names: tuple[str, ...]) -> _Verdict:
    by_status = _BY_STATUS.get(status)
    for name in names:
        if name in _DECISIVE:
            by_name = _DECISIVE[name]
            # A status of the same error type wins: client libraries have a class for each status.
            return (
                by_status if by_status is not None and by_status.type == by_name.type else by_name
            )
    if by_status is None:
        return _REFUSED if 400 <= status < 500 else _OTHER
    return by_status


def _refine_by_message(verdict: _Verdict, status: int | None, error: Any) -> _Verdict:
    """The verdict, unless the error's message leads to a more specific one."""
    words = all_words(error)
    if is_overflow(status, _error_names(error), words):
        return _OVERFLOW
    if verdict.type in _VAGUE and verdict.retry is None and is_overload_message(error):
        return _OVERLOADED
    return verdict


def is_overload_message(error: Any) -> bool:
    """Whether the message of an error object, or of the object around it, reports an overload."""
    words = all_words(error)[:MAX_MESSAGE]
    return bool(_BUSY.search(words.translate(_SPACED)))


def _verdict_by_names(names: tuple[str, ...]) -> _Verdict | None:
    # A decisive name wins over a general one, in the type or in the code.
    for table in (_DECISIVE, _BY_NAME):
        for name in names:
            if name in table:
                return table[name]
    return None


def _error_names(error: Any) -> tuple[str, ...]:
    if not isinstance(error, dict):
        return ()
    candidates = (error.get("code"), error.get("type"), error.get("status"), error.get("error"))
    return tuple(name.lower() for name in candidates if isinstance(name, str))


def _error_code(error: dict[str, Any]) -> Any:
    details = error.get("details")
    if isinstance(details, dict) and details.get("error_code"):
        return details["error_code"]
    return error.get("code")


def _short_text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)[:_MAX_CODE] or None


def _request_id(headers: Mapping[str, str], outer: dict[str, Any]) -> str | None:
    for name in ("request-id", "x-request-id"):
        if headers.get(name):
            return headers[name][:_MAX_CODE]
    return _short_text(outer.get("request_id"))


_SECRET = re.compile(
    r"""\b(?:sk|gsk|csk|xai|proj|org)[-_][\w*.-]{6,}"""
    r"""|\bAIza[\w-]{20,}|\beyJ[\w-]{10,}\.[\w.-]+|\bya29\.[\w.-]+"""
    r"""|\b[Bb]earer\s+[^\s"',]+|(?<=[?&]key=)[^&\s"']+""",
)
_OPAQUE = re.compile(r"\b[A-Za-z0-9+/_-]{40,}={0,2}")
"""A run of characters this long is no word of a message; in an object it may be a real value."""


def _redact_secrets(message: str) -> str:
    shown = _OPAQUE.sub("[redacted]", _SECRET.sub("[redacted]", message[: 2 * MAX_MESSAGE]))
    return shown if len(shown) <= MAX_MESSAGE else shown[:MAX_MESSAGE] + "..."


def _without_secrets(value: Any) -> Any:
    """An error object without credentials, shortened to what clients read."""
    return _copy_value(value, 0, [_MAX_ERROR_CHARACTERS])


def _copy_value(value: Any, depth: int, left: list[int]) -> Any:
    """Copy `value`; `left` is the number of characters left, and each value costs one or more."""
    left[0] -= len(value) + 1 if isinstance(value, str) else 1
    if isinstance(value, str):
        shown = value if left[0] >= 0 else value[: left[0]] + "..."
        return _SECRET.sub("[redacted]", shown[:_MAX_ERROR_CHARACTERS])
    if depth == _MAX_DEPTH and isinstance(value, dict | list):
        return None  # deeper than any real error, and than encoders support
    if isinstance(value, dict):
        members = {}
        for name, item in value.items():
            if left[0] <= 0:
                break
            left[0] -= len(name)
            members[name] = _copy_value(item, depth + 1, left)
        return members
    if isinstance(value, list):
        items = []
        for item in value:
            if left[0] <= 0:
                break
            items.append(_copy_value(item, depth + 1, left))
        return items
    return value


_NUMBER = re.compile(r"\s*(\d{1,15}(?:\.\d{0,9})?)\s*")
_WORDS = re.compile(
    r"(?:try again|retry) in (?:(\d{1,4})h)?(?:(\d{1,4})m(?!s))?(?:(\d{1,6}(?:\.\d{1,6})?)(m?s))?",
    re.IGNORECASE,
)


def _parse_seconds(value: str | None) -> float | None:
    match = _NUMBER.fullmatch(value or "")
    return float(match[1]) if match else None


def _seconds_until(date: str, now: str | None) -> float | None:
    try:
        return max((_parse_date(date) - _parse_date(now or "")), 0.0)
    except (ValueError, OverflowError):
        return None


def _parse_date(value: str) -> float:
    return parsedate_to_datetime(value).timestamp()


def _wait_from_message(message: str) -> float | None:
    match = _WORDS.search(message)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, rest, unit = match.groups()
    seconds = float(rest or 0) / (1000 if unit and unit.lower() == "ms" else 1)
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds
