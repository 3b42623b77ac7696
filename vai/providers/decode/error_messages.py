"""What the body of an error says to a human, in whatever form a server writes it.

Invariants: forms are found by their members and not by their server, as a server of
any API may stand behind a proxy that writes errors of its own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["MAX_MESSAGE", "all_words", "decode_json", "error_object", "message_of", "plain_words"]

MAX_MESSAGE: Final = 2000
"""Characters of an upstream's message that are handed on."""
_MAX_NESTED: Final = 4
_MAX_ITEMS: Final = 20
"""Complaints of one error, and steps to the place of one."""
_MESSAGE_MEMBERS: Final = (
    "message",
    "Message",
    "detail",
    "msg",
    "error_message",
    "error_msg",
    "error_description",
    "errors",
    "reason",
    "base_resp",
    "status_msg",
    "fault",
    "faultstring",
    "error",
)
"""Members that hold what an error says, the likeliest first."""


def decode_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def plain_words(body: bytes) -> str | None:
    """What a body says that is no JSON; None for a page, which is meant for a browser."""
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        return None
    is_text = text and text != "null" and text[0] not in "<{["
    return text[: 2 * MAX_MESSAGE] if is_text else None


def error_object(body: Any) -> tuple[Any, dict[str, Any]]:
    """The upstream's own error object, and the object around it."""
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, str):
        return body, {}
    if not isinstance(body, dict):
        return None, {}
    error = body.get("error")
    if error and (isinstance(error, dict | list) or not message_of(_without_member(body, "error"))):
        return error, body
    if error:
        return body, body  # the word beside the sentence is its code
    detail = body.get("detail")
    if isinstance(detail, dict) and (detail.get("error") or detail.get("message")):
        return detail.get("error") or detail, body
    return body, body


def _without_member(value: dict[str, Any], member: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != member}


def message_of(error: Any, depth: int = 0) -> str:
    """What the error says to a human; FastAPI's `detail` may be a text, a list or an object."""
    if isinstance(error, str):
        return error[: 2 * MAX_MESSAGE]
    if depth == _MAX_NESTED:
        return ""
    if isinstance(error, list):
        return "; ".join(filter(None, (message_of(item, depth + 1) for item in error[:_MAX_ITEMS])))
    if isinstance(error, dict):
        for name in _MESSAGE_MEMBERS:
            if text := message_of(error.get(name), depth + 1):
                return f"{location}: {text}" if (location := _error_location(error)) else text
    return ""


def _error_location(error: dict[str, Any]) -> str:
    """Where in the request a complaint of FastAPI applies."""
    steps = error.get("loc")
    if not isinstance(steps, list):
        return ""
    return ".".join(str(step) for step in steps[:_MAX_ITEMS] if isinstance(step, str | int))


def all_words(error: Any) -> str:
    """The message, and what a broker (OpenRouter) quotes of the server that it asked."""
    metadata = error.get("metadata") if isinstance(error, dict) else None
    quoted = message_of(metadata.get("raw")) if isinstance(metadata, dict) else ""
    return f"{message_of(error)} {quoted[:MAX_MESSAGE]}" if quoted else message_of(error)
