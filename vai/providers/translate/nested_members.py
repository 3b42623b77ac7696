"""Members deep in a request that only the Messages API has.

Invariants: what the translation of a block, a turn or a choice does not read is named by its path,
as the members of the request itself are. Blocks that are left out whole are named by their
translation.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.texts import is_foreign_tool
from vai.types.base import OpenStruct
from vai.types.blocks import (
    Block,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    UnknownBlock,
)
from vai.types.request import MessageRequest

__all__ = ["check_nested"]

_BLOCK: Final = "messages[*].content[*]"
_READ: Final = frozenset({"type", "source", "title", "content", "tool_name", "cache_control"})
"""Members of search results and tool references that become words, or are named as cache marks."""


def check_nested(request: MessageRequest, findings: Diagnostics) -> None:
    """Note the members below the request's own that no other format has a place for."""
    for turn in request.messages:
        if turn.extra:
            _name(turn, "messages[*]", findings)
        if not isinstance(turn.content, str):
            for block in turn.content:
                _check_block(block, _BLOCK, findings)
    if not isinstance(request.system, str):
        for block in request.system or ():
            _check_block(block, "system[*]", findings)
    _name(request.tool_choice, "tool_choice", findings)
    _name(request.thinking, "thinking", findings)
    _name(request.output_config, "output_config", findings)
    _name(request.output_format, "output_config.format", findings)
    if request.voice:
        # This version speaks nothing itself.
        findings.drop("voice")


def _check_block(block: Block, at: str, findings: Diagnostics) -> None:
    if isinstance(block, UnknownBlock):
        if not is_foreign_tool(block):
            _check_raw(block.raw, at, findings)
        return
    if isinstance(block, ThinkingBlock | RedactedThinkingBlock) or is_foreign_tool(block):
        return
    if block.extra:
        _name(block, at, findings)
    if isinstance(block, TextBlock):
        if block.citations:
            findings.drop(f"{at}.citations")
    elif isinstance(block, ToolResultBlock):
        for inner in block.blocks:
            _check_block(inner, f"{at}.content[*]", findings)
    elif (source := getattr(block, "source", None)) is not None and source.extra:
        _name(source, f"{at}.source", findings)


def _check_raw(raw: dict[str, Any], at: str, findings: Diagnostics) -> None:
    for name, value in raw.items():
        if value is not None and name not in _READ:
            findings.drop(f"{at}.{name}")
    if raw.get("cache_control"):
        findings.drop(f"{at}.cache_control")


def _name(value: OpenStruct | None, at: str, findings: Diagnostics) -> None:
    if value is not None:
        for name, member in value.extra.items():
            if member is not None:
                findings.drop(f"{at}.{name}")
