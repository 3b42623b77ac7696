"""Web pages that may call this gateway from a browser (Fetch standard, CORS protocol).

Invariants: the gateway allows an origin only when the list has it, to the letter, or the
list is ``*``. It never grants credentials mode (clients authenticate with a header, not with a
cookie). With an empty list, which is the default, it installs nothing and requests cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sanic import HTTPResponse, Request, Sanic
from sanic.response import BaseHTTPResponse, empty

__all__ = ["attach_cors"]

_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
_MAX_AGE = "86400"
_HEADERS = "authorization, content-type, x-api-key, x-vai-key"
_EXPOSED = (
    "x-request-id, request-id, x-model, x-input-tokens, x-output-tokens, x-total-tokens, "
    "x-cost-usd, x-duration-ms, x-vai-simulated, x-vai-dropped, x-vai-attempts, "
    "x-vai-fallback-from, x-vai-upstream-id, x-vai-tokens, retry-after, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)


def attach_cors(app: Sanic[Any, Any], origins: Sequence[str]) -> None:
    """Answer preflights and mark responses for `origins`."""
    if not origins:
        return
    allowed = frozenset(origins)

    async def preflight(request: Request) -> HTTPResponse | None:
        if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
            return None
        response = empty()
        if _allowed_origin(request, allowed):
            # The set of header names for provider keys is open, so the gateway grants what the
            # browser requests. Only reading the response is a danger, and that needs the origin.
            requested_headers = request.headers.get("access-control-request-headers", _HEADERS)
            response.headers["access-control-allow-methods"] = _METHODS
            response.headers["access-control-allow-headers"] = requested_headers[:1024]
            response.headers["access-control-max-age"] = _MAX_AGE
        return response

    async def mark(request: Any, response: BaseHTTPResponse) -> None:
        varies = response.headers.get("vary")
        response.headers["vary"] = f"{varies}, Origin" if varies else "Origin"
        origin = _allowed_origin(request, allowed)
        if origin is not None:
            response.headers["access-control-allow-origin"] = origin
            response.headers["access-control-expose-headers"] = _EXPOSED

    app.register_middleware(preflight, "request")
    app.register_middleware(mark, "response")


def _allowed_origin(request: Request, allowed: frozenset[str]) -> str | None:
    """The value of ``Access-Control-Allow-Origin``; None to send none."""
    origin = request.headers.get("origin")
    if origin is None:
        return None
    if "*" in allowed:
        return "*"
    return str(origin) if origin in allowed else None
