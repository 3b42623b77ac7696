"""Finds other providers' blocks, as VAI wrote them, in a history; Anthropic refuses them.

Invariants: only the structure decides. VAI writes such values only into certain members of
certain blocks of assistant turns, so the content of a text, a tool's name or a tool's input
has no effect.
"""

from __future__ import annotations

import re
from typing import Any, Final

from vai.providers.translate.reasoning import unwrap_signature

__all__ = ["has_foreign_blocks", "is_foreign_run", "is_unsealed"]

_ANTHROPICS_RUN: Final = re.compile(
    r"srvtoolu_(?!gemini_|[A-Za-z0-9_]+_[0-9a-f]{20}_\d+\Z)[A-Za-z0-9_]+"
)
"""The ids of Anthropic's own server tool calls, such as ``srvtoolu_search_call_1`` (recorded
responses, 2026-11-27). VAI makes such ids only for Google's server tools, from the ids of provider
and exchange and a number; the calls of other providers keep their provider's ids."""


def has_foreign_blocks(request: dict[str, Any]) -> bool:
    """Whether a history holds a block of another provider that Anthropic refuses.

    Args:
        request: the parsed body; may be any JSON object.
    """
    # A look at each block costs less than one search through the text of a large body.
    turns = request.get("messages")
    for turn in turns if isinstance(turns, list) else ():
        content = turn.get("content") if isinstance(turn, dict) else None
        if isinstance(content, list) and turn.get("role") == "assistant":
            for block in content:
                if isinstance(block, dict) and _is_foreign(block):
                    return True
    return False


def is_foreign_run(block: dict[str, Any]) -> bool:
    """Whether a block is a server tool's call or result of another provider, by its id."""
    kind = block.get("type")
    if kind == "server_tool_use":
        name = "id"
    elif isinstance(kind, str) and kind.endswith("_tool_result") and kind != "mcp_tool_result":
        name = "tool_use_id"
    else:
        return False
    return not _ANTHROPICS_RUN.fullmatch(str(block.get(name)))


def is_unsealed(citation: Any) -> bool:
    """Whether a citation names a search result without Anthropic's `encrypted_index`."""
    return (
        isinstance(citation, dict)
        and citation.get("type") == "web_search_result_location"
        and not citation.get("encrypted_index")
    )


def _is_foreign(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    if kind == "text":
        citations = block.get("citations")
        return isinstance(citations, list) and any(map(is_unsealed, citations))
    if kind == "thinking":
        return _is_envelope(block.get("signature"))
    if kind == "redacted_thinking":
        return _is_envelope(block.get("data"))
    return is_foreign_run(block)


def _is_envelope(value: Any) -> bool:
    return isinstance(value, str) and unwrap_signature(value) is not None
