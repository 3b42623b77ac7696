"""The raw response to bytes that are not a valid request, or to a connection without room.

It bypasses Sanic's error handling, which needs a request to respond to and would turn every
refusal of a head into the same 400.
"""

from __future__ import annotations

from http import HTTPStatus

import orjson

from vai.errors import ErrorType
from vai.gateway.request.context import new_request_id

__all__ = ["error_bytes"]


def error_bytes(
    status: int, message: str, *, code: str, type: ErrorType = "invalid_request_error"
) -> bytes:
    """A whole HTTP/1.1 response with an error body and `connection: close`."""
    request_id = new_request_id()
    error = {"type": type, "message": message, "code": code, "request_id": request_id}
    body = orjson.dumps({"type": "error", "error": error, "request_id": request_id})
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Error"
    head = (
        f"HTTP/1.1 {status} {reason}\r\n"
        "content-type: application/json\r\n"
        f"x-request-id: {request_id}\r\n"
        f"request-id: {request_id}\r\n"
        f"content-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body
