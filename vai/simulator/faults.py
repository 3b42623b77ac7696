"""The errors of the providers: the words, codes and headers of each status.

Invariants: this module renders the error body of every profile; others decide when one is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vai.simulator.parsed_request import SimulatedError
from vai.simulator.profiles import JSON, ProviderProfile, answer_headers, limit_headers
from vai.simulator.timed_response import Headers

__all__ = ["fault_body", "fault_headers"]

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
_GOOGLE: Final[Mapping[int, tuple[str, str]]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ABORTED", "The operation was aborted."),
    413: ("INVALID_ARGUMENT", "Request payload size exceeds the limit."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The deadline expired before the operation could complete."),
}
_RPC: Final = "type.googleapis.com/google.rpc"


def fault_body(
    profile: ProviderProfile, fault: SimulatedError, request_id: str, retry_after: str | None = None
) -> Any:
    """The error body of `profile`, before it becomes JSON. Google's contains the retry delay."""
    status = fault.status
    if profile.wire_format == "google":
        return {"error": _google_error(profile, fault, retry_after)}
    if profile.wire_format == "messages":
        kind, words = _MESSAGES.get(status, ("api_error", "Unexpected error"))
        error: dict[str, Any] = {"type": kind, "message": fault.message or words}
        if fault.code:
            error["details"] = {"error_code": fault.code}
        return {"type": "error", "error": error, "request_id": request_id}
    table = {"groq": _GROQ, "cerebras": _CEREBRAS}.get(profile.name, {})
    unknown = ("server_error", None, "Unexpected error")
    kind, code, words = table.get(status) or _CHAT.get(status, unknown)
    if fault.code == "insufficient_quota":
        kind, words = "insufficient_quota", _QUOTA
    code = None if fault.code == "null" else fault.code or code
    message = fault.message or words
    if profile.name == "cerebras":
        return {"message": message, "type": kind, "param": fault.param, "code": code}
    error = {"message": message, "type": kind, "param": fault.param, "code": code}
    if profile.name == "groq":
        error = {name: value for name, value in error.items() if value is not None}
    return {"error": error}


def fault_headers(
    profile: ProviderProfile, fault: SimulatedError, request_id: str, retry_after: str | None
) -> Headers:
    """The headers that go with `fault_body`."""
    if profile.wire_format == "google":
        return answer_headers(profile, request_id, stream=False)
    headers = [JSON, (profile.request_id, request_id)]
    if fault.status in (429, 503, 529) and profile.wire_format == "messages":
        headers.append(("x-should-retry", "true"))
    if retry_after is None and fault.status == 429 and fault.code != "insufficient_quota":
        retry_after = "1"
    if retry_after:
        headers.append(("retry-after", retry_after))
    return headers + limit_headers(profile)


def _google_error(
    profile: ProviderProfile, fault: SimulatedError, retry_after: str | None
) -> dict[str, Any]:
    status, words = _GOOGLE.get(fault.status, ("UNKNOWN", "Unknown Error."))
    if fault.code in ("FAILED_PRECONDITION", "OUT_OF_RANGE"):
        status = fault.code
    error = {"code": fault.status, "message": fault.message or words, "status": status}
    details: list[dict[str, Any]] = []
    if fault.code and fault.code != status:
        host = "cloudcode-pa" if profile.name == "gemini-oauth" else "generativelanguage"
        domain = "googleapis.com" if fault.code == "API_KEY_INVALID" else f"{host}.googleapis.com"
        details.append(
            {"@type": f"{_RPC}.ErrorInfo", "reason": fault.code, "domain": domain}
            | {"metadata": {"service": f"{host}.googleapis.com"}}
        )
    if fault.status == 429:
        per = "Day" if fault.code == "QUOTA_EXHAUSTED" else "Minute"
        quota = f"GenerateRequestsPer{per}PerProjectPerModel"
        details.append({"@type": f"{_RPC}.QuotaFailure", "violations": [{"quotaId": quota}]})
        retry_after = retry_after or "1"
    if retry_after:
        delay = f"{retry_after}s" if retry_after[-1].isdigit() else retry_after
        details.append({"@type": f"{_RPC}.RetryInfo", "retryDelay": delay})
    return error | ({"details": details} if details else {})
