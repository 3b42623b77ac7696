"""What sets one provider's face apart: its paths, its headers, its error bodies.

The law of this module: everything a client can tell one provider from another by, other
than the shape of a message, is a row or a branch here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from vai.simulator.ask import Refused
from vai.simulator.reply import Headers

__all__ = [
    "FACES",
    "Face",
    "answer_headers",
    "authenticate",
    "fault_body",
    "fault_headers",
    "request_id_of",
]

Dialect = Literal["messages", "chat"]
JSON: Final = ("content-type", "application/json")


class Face(msgspec.Struct, frozen=True):
    """One provider as seen from outside."""

    name: str
    dialect: Dialect
    path: str
    """Of the messages or completions endpoint."""
    models_path: str
    request_id: str
    """The header that carries the request's id."""


FACES: Final = (
    Face("anthropic", "messages", "/anthropic/v1/messages", "/anthropic/v1/models", "request-id"),
    Face("openai", "chat", "/openai/v1/chat/completions", "/openai/v1/models", "x-request-id"),
    Face(
        "groq",
        "chat",
        "/groq/openai/v1/chat/completions",
        "/groq/openai/v1/models",
        "x-request-id",
    ),
    Face(
        "cerebras",
        "chat",
        "/cerebras/v1/chat/completions",
        "/cerebras/v1/models",
        "x-request-id",
    ),
)

_MESSAGES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "The request is not valid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the API."),
    403: ("permission_error", "Your API key does not have permission to use this resource."),
    404: ("not_found_error", "Not found"),
    409: ("conflict_error", "The request conflicts with the current state of the resource."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
_CHAT: Final[Mapping[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("billing_error", "billing_hard_limit_reached", "Payment required."),
    403: (
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    409: ("conflict_error", None, "The resource was changed by another request."),
    413: ("invalid_request_error", "request_too_large", "Request Entity Too Large"),
    422: ("invalid_request_error", None, "The request could not be processed."),
    424: ("invalid_request_error", None, "A dependent request failed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    498: ("capacity_exceeded", "capacity_exceeded", "Flex tier capacity exceeded."),
    499: ("request_cancelled", "request_cancelled", "The request was cancelled."),
    500: ("server_error", None, "The server had an error while processing your request."),
    502: ("server_error", None, "Bad gateway."),
    503: ("server_error", "slow_down", "The engine is currently overloaded."),
    504: ("server_error", "timeout", "The request timed out."),
}
_GROQ: Final[Mapping[int, tuple[str, str | None, str]]] = {
    401: ("invalid_request_error", "invalid_api_key", "Invalid API Key"),
    403: ("permissions_error", "permission_denied", "Forbidden"),
    413: ("tokens", "rate_limit_exceeded", "Request too large for the model."),
    429: ("tokens", "rate_limit_exceeded", "Rate limit reached. Please try again in 1s."),
    500: ("internal_server_error", None, "Internal Server Error"),
    503: ("internal_server_error", None, "Service Unavailable"),
}
_CEREBRAS: Final[Mapping[int, tuple[str, str | None, str]]] = {
    401: ("invalid_request_error", "wrong_api_key", "Wrong API Key"),
    404: ("not_found_error", "model_not_found", "Model does not exist."),
    429: ("too_many_requests_error", "request_quota_exceeded", "Requests per minute exceeded."),
    500: ("server_error", "server_error", "Encountered a server error, please try again."),
    503: ("server_error", "service_unavailable", "We are experiencing high traffic."),
}
_QUOTA: Final = "You exceeded your current quota, please check your plan and billing details."


def authenticate(face: Face, headers: Mapping[str, str]) -> None:
    """Demand a plausible credential; any that does not contain ``invalid`` will do.

    Raises:
        Refused: 401 with the provider's own words.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else ""
    if face.dialect == "messages":
        key = headers.get("x-api-key", "") or key
        if not key:
            raise Refused(401, "x-api-key header is required")
        if "invalid" in key:
            raise Refused(401, "invalid x-api-key")
        return
    if key and "invalid" not in key:
        return
    if face.name != "openai":
        raise Refused(401, "", code="")
    if not key:
        words = "You didn't provide an API key. You need to provide your API key in an "
        raise Refused(401, words + "Authorization header using Bearer auth.", code="null")
    shown = f"{key[:8]}{'*' * 12}{key[-4:]}"
    raise Refused(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


def fault_body(face: Face, fault: Refused, request_id: str) -> Any:
    """The error body of `face`, before it becomes JSON."""
    status = fault.status
    if face.dialect == "messages":
        kind, words = _MESSAGES.get(status, ("api_error", "Unexpected error"))
        error: dict[str, Any] = {"type": kind, "message": fault.message or words}
        if fault.code:
            error["details"] = {"error_code": fault.code}
        return {"type": "error", "error": error, "request_id": request_id}
    rows = {"groq": _GROQ, "cerebras": _CEREBRAS}.get(face.name, {})
    unknown = ("server_error", None, "Unexpected error")
    kind, code, words = rows.get(status) or _CHAT.get(status, unknown)
    if fault.code == "insufficient_quota":
        kind, words = "insufficient_quota", _QUOTA
    code = None if fault.code == "null" else fault.code or code
    message = fault.message or words
    if face.name == "cerebras":
        return {"message": message, "type": kind, "param": fault.param, "code": code}
    error = {"message": message, "type": kind, "param": fault.param, "code": code}
    if face.name == "groq":
        error = {name: value for name, value in error.items() if value is not None}
    return {"error": error}


def fault_headers(face: Face, fault: Refused, request_id: str, retry_after: str | None) -> Headers:
    """The headers that go with `fault_body`."""
    headers = [JSON, (face.request_id, request_id)]
    if fault.status in (429, 503, 529) and face.dialect == "messages":
        headers.append(("x-should-retry", "true"))
    if retry_after is None and fault.status == 429 and fault.code != "insufficient_quota":
        retry_after = "1"
    if retry_after:
        headers.append(("retry-after", retry_after))
    return headers + _limits(face)


def answer_headers(face: Face, request_id: str, *, stream: bool) -> Headers:
    """The headers of an answer of status 200."""
    kind = "text/event-stream"
    if stream and face.name != "cerebras":
        kind += "; charset=utf-8"
    headers = [("content-type", kind) if stream else JSON, (face.request_id, request_id)]
    if stream:
        headers.append(("cache-control", "no-cache"))
    if face.name == "openai":
        headers += [
            ("openai-organization", "org-simulated"),
            ("openai-processing-ms", "1"),
            ("openai-version", "2020-10-01"),
        ]
    elif face.name == "groq":
        headers.append(("x-groq-region", "simulated"))
    elif face.name == "anthropic":
        headers.append(("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"))
    return headers + _limits(face)


def request_id_of(face: Face, number: int) -> str:
    """A new id in the provider's style; `number` makes it unique in this process."""
    if face.name == "anthropic":
        return f"req_011CSim{number:017d}"
    if face.name == "openai":
        return "req_" + hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest()
    return f"req_01sim{number:021d}"


def _limits(face: Face) -> Headers:
    """The rate-limit headers, each provider's own names and units."""
    if face.name == "anthropic":
        reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
        return [
            (f"anthropic-ratelimit-{what}-{part}", value)
            for what, limit in _ANTHROPIC_LIMITS
            for part, value in (("limit", limit), ("remaining", limit), ("reset", reset))
        ]
    return _CHAT_LIMITS[face.name]


_ANTHROPIC_LIMITS: Final = (
    ("requests", "4000"),
    ("tokens", "480000"),
    ("input-tokens", "400000"),
    ("output-tokens", "80000"),
)
_CHAT_LIMITS: Final[Mapping[str, Headers]] = {
    "openai": [
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "2000000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "1999000"),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-reset-tokens", "1m2s"),
    ],
    "groq": [
        ("x-ratelimit-limit-requests", "14400"),
        ("x-ratelimit-limit-tokens", "300000"),
        ("x-ratelimit-remaining-requests", "14399"),
        ("x-ratelimit-remaining-tokens", "299000"),
        ("x-ratelimit-reset-requests", "6s"),
        ("x-ratelimit-reset-tokens", "200ms"),
    ],
    "cerebras": [
        ("x-ratelimit-limit-requests-day", "432000"),
        ("x-ratelimit-limit-tokens-minute", "500000"),
        ("x-ratelimit-remaining-requests-day", "431999"),
        ("x-ratelimit-remaining-tokens-minute", "499000"),
        ("x-ratelimit-reset-requests-day", "33011.38"),
        ("x-ratelimit-reset-tokens-minute", "11.38"),
    ],
}
