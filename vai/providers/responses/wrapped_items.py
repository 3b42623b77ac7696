"""Output items that the conversation carries because only their provider can read them.

The server keeps nothing (``store: false``), so the items that it needs again go to the client and
come back: reasoning with its encrypted content, and the items of tools that it ran. Each is one
signature (`vai.providers.translate.reasoning`) around the item as received; VAI sends an item back
unchanged, or not at all.

The phase of a message (comment or final answer) needs no signature where its position shows it:
the last text of a turn without a call behind it is the response, any other a comment. Only between
a comment and a text directly behind it VAI inserts a mark.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vai.providers.translate.reasoning import origin_of, unwrap_signature, wrap_signature
from vai.types.blocks import RedactedThinkingBlock

__all__ = ["MAX_ITEM", "WRAPPED_TYPES", "unwrap_item", "wrap_item", "wrap_phase"]

Item = dict[str, Any]

MAX_ITEM: Final = 1 << 20
"""Characters of a signature. Encrypted reasoning stays far below it."""
_KIND: Final = "item"
_MAKERS: Final = frozenset({"openai", "oai-resp"})
"""Two providers, one server: each can send the items of the other."""
WRAPPED_TYPES: Final = frozenset(
    {
        "code_interpreter_call",
        "compaction",
        "file_search_call",
        "mcp_call",
        "mcp_list_tools",
        "reasoning",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    }
)
"""The items that VAI keeps whole. Of a message it keeps only the phase."""
_UNSENT_MEMBERS: Final = ("created_by", "status")


def wrap_item(provider: str, item: Item) -> str | None:
    """The signature around `item`; None if it cannot be sent back, or is too large to travel."""
    if str(item.get("type")) not in WRAPPED_TYPES:
        return None
    unreadable = item["type"] == "reasoning" and not item.get("encrypted_content")
    if unreadable:
        return None
    left_out = _UNSENT_MEMBERS if item["type"] == "reasoning" else _UNSENT_MEMBERS[:1]
    # A null in a response means "nothing", and the server refuses it as input.
    members = {
        name: value for name, value in item.items() if value is not None and name not in left_out
    }
    text = msgspec.json.encode(members).decode()
    return wrap_signature(provider, _KIND, text) if len(text) <= MAX_ITEM else None


def wrap_phase(provider: str, phase: str) -> str:
    """The signature that names the phase of the text before it."""
    mark = msgspec.json.encode({"type": "message", "phase": phase}).decode()
    return wrap_signature(provider, _KIND, mark)


def unwrap_item(envelope: str, provider: str) -> Item | None:
    """The item in a signature, or None if it is not one of `provider`."""
    maker = origin_of(RedactedThinkingBlock(data=envelope))
    if maker != provider and not {maker, provider} <= _MAKERS:
        return None
    try:
        item = msgspec.json.decode(unwrap_signature(envelope) or "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # The client holds the signature and may have changed it: only these types are returned.
    if isinstance(item, dict) and (
        str(item.get("type")) in WRAPPED_TYPES or item.get("type") == "message"
    ):
        return item
    return None
