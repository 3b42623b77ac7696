"""Members of a request that only the Messages API has: what becomes of each elsewhere.

Invariants:

* A member that promises something for later requests, or for who pays, refuses the request; a
  member that only saves time or money is left out and named. A member that this module does not
  list is left out and named, too: a client that must not lose one sets `strict`.
* The same holds below the request's own members: what the translation of a block, a turn or a
  choice does not read is named by its path. Blocks that are left out are named by their
  translation.
* `thread` is not here: `vai.types.parse` refuses it, because no reader of a request may miss it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

__all__ = ["check_members", "check_nested"]


def check_members(
    request: MessageRequest, findings: Diagnostics, taken: frozenset[str] = frozenset()
) -> None:
    """Note what becomes of each member that has no field in `request`.

    Args:
        taken: the members that the target takes.
    """
    for name, value in request.extra.items():
        if value is None or name in taken or (name == "speed" and value == "standard"):
            continue
        rule = _REFUSED.get(name)
        if rule is not None and rule[0](value):
            _, what, code = rule
            findings.refuse(name, what.format(findings.target), code)
        elif value or name != "mcp_servers":
            findings.drop(name)


def _has_skills(container: Any) -> bool:
    return isinstance(container, dict) and bool(container.get("skills"))


def _bills_another(policy: Any) -> bool:
    return not (isinstance(policy, dict) and policy.get("bill_to") in (None, "self"))


_REFUSED: Final[Mapping[str, tuple[Callable[[Any], bool], str, str]]] = {
    "billing_policy": (
        _bills_another,
        "{} cannot bill another organization; expected bill_to: self",
        "unsupported_field",
    ),
    # The response would have to be a compaction block, which later requests begin with.
    "compaction": (bool, "{} makes no compaction blocks", "unsupported_field"),
    # The id alone is a hint: the files of an earlier response are missed, not promised.
    "container": (_has_skills, "{} has no skills", "unsupported_tool_type"),
    **dict.fromkeys(
        ("conversation", "previous_message_id", "previous_response_id"),
        (bool, "{} keeps no conversation; expected all messages", "unsupported_field"),
    ),
    "mcp_servers": (bool, "{} cannot call MCP servers", "unsupported_tool_type"),
}
"""Member -> whether a value refuses the request, why, and the error's code."""


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
