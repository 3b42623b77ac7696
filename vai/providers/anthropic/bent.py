"""Repairs events and responses of servers that deviate from the Messages API.

Where the strict parser raises, these functions bring the value into the form that it expects: a
member of a wrong type counts as absent, and an absent member gets a neutral default.
"""

from __future__ import annotations

from typing import Any

from vai.errors import InvalidRequest
from vai.types import parse
from vai.types.message import Message

__all__ = ["normalize_event", "parse_lenient_message"]

Wire = dict[str, Any]

_TEXTS = {"text": "text", "thinking": "thinking"}
"""Type of a block -> the member that every such block has."""
_PIECES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
    "signature_delta": "signature",
}
_MEMBERS = ("id", "model", "stop_reason", "stop_sequence")


def parse_lenient_message(raw: Any) -> Message:
    """Parse a whole response leniently. A value without any content is no response.

    Raises:
        InvalidRequest: `raw` is no message.
    """
    try:
        return parse.parse_message(raw)
    except InvalidRequest:
        if not isinstance(raw, dict) or raw.get("type") != "message" or not _is_content(raw):
            raise
        return parse.parse_message(normalize_event(raw))


def normalize_event(raw: Any) -> Any:
    """`raw`, an event or a whole response, in the API's form."""
    if not isinstance(raw, dict):
        return raw
    kind = raw.get("type")
    if kind == "message_start":
        return {**raw, "message": _normalize_message(raw.get("message"))}
    if kind == "content_block_start":
        return {**raw, "content_block": _normalize_block(raw.get("content_block"))}
    if kind == "content_block_delta":
        return {**raw, "delta": _normalize_delta(raw.get("delta"))}
    if kind == "message_delta":
        end = raw.get("delta")
        end_members = _without_wrong_types(end, _MEMBERS) if isinstance(end, dict) else {}
        return {**raw, "delta": end_members, "usage": _normalize_usage(raw.get("usage"))}
    return _normalize_message(raw) if kind == "message" else raw


def _is_content(raw: Wire) -> bool:
    content = raw.get("content")
    if isinstance(content, list):
        return not content or any(isinstance(block, dict) for block in content)
    return isinstance(content, str)


def _normalize_message(raw: Any) -> Wire:
    members = _without_wrong_types(raw, _MEMBERS) if isinstance(raw, dict) else {}
    content = members.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return {
        "stop_reason": None,
        **members,
        "id": members.get("id") or "msg_unknown",
        "type": "message",
        "role": "assistant",
        "model": members.get("model") or "unknown",
        "content": [_normalize_block(block) for block in content if isinstance(block, dict)]
        if isinstance(content, list)
        else [],
        "usage": _normalize_usage(members.get("usage")),
    }


def _normalize_block(raw: Any) -> Any:
    name = _TEXTS.get(str(raw.get("type"))) if isinstance(raw, dict) else None
    names = (name, "signature") if name == "thinking" else (name,)
    if name is None or all(isinstance(raw.get(one), str) for one in names):
        return raw
    return {**raw, **{one: "" for one in names if not isinstance(raw.get(one), str)}}


def _normalize_delta(raw: Any) -> Any:
    name = _PIECES.get(str(raw.get("type"))) if isinstance(raw, dict) else None
    if name is None or isinstance(raw.get(name), str):
        return raw
    return {**raw, name: ""}


def _without_wrong_types(raw: Wire, names: tuple[str, ...]) -> Wire:
    """`raw` without those of the members in `names` that are not text or null."""
    wrong = [name for name in names if not isinstance(raw.get(name), str | None)]
    return {name: value for name, value in raw.items() if name not in wrong}


def _normalize_usage(raw: Any) -> Wire:
    """The usage without counters that are no numbers; digits in a string become a number."""
    if not isinstance(raw, dict):
        return {}
    counters = {}
    for name, value in raw.items():
        if not name.endswith("_tokens") or (isinstance(value, int) and not isinstance(value, bool)):
            counters[name] = value
        elif isinstance(value, str) and value.isdecimal():
            counters[name] = int(value[:20])
    return counters
