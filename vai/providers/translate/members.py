"""Request members that only the Messages API has: whether VAI drops or refuses each.

Invariants:

* VAI refuses a member that affects later requests, or who pays; it drops and names a
  member that only saves time or money. It also drops and names members that this module does not
  list: a client that must not lose one sets `strict`.
* The same holds below the request's own members: VAI names by its path what the translation of a
  block, a turn or a choice does not read. The translation of a block names the block if it drops
  it.
* `thread` is not here: `vai.types.parse` refuses it, because no use of a request may ignore it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from vai.providers.translate.diagnostics import Diagnostics
from vai.providers.translate.texts import is_server_tool_block
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

__all__ = ["check_members", "check_nested_members"]


def check_members(
    request: MessageRequest, diagnostics: Diagnostics, supported: frozenset[str] = frozenset()
) -> None:
    """Drop or refuse each member that has no field in `request`.

    Args:
        supported: the members that the target accepts.
    """
    for name, value in request.extra.items():
        if value is None or name in supported or (name == "speed" and value == "standard"):
            continue
        rule = _REFUSED_MEMBERS.get(name)
        if rule is not None and rule[0](value):
            _, what, code = rule
            diagnostics.note_refused(name, what.format(diagnostics.target), code)
        elif value or name != "mcp_servers":
            diagnostics.note_dropped(name)


def _has_skills(container: Any) -> bool:
    return isinstance(container, dict) and bool(container.get("skills"))


def _bills_another_organization(policy: Any) -> bool:
    return not (isinstance(policy, dict) and policy.get("bill_to") in (None, "self"))


_REFUSED_MEMBERS: Final[Mapping[str, tuple[Callable[[Any], bool], str, str]]] = {
    "billing_policy": (
        _bills_another_organization,
        "{} cannot bill another organization; expected bill_to: self",
        "unsupported_field",
    ),
    # The response would need a compaction block, with which later requests begin.
    "compaction": (bool, "{} makes no compaction blocks", "unsupported_field"),
    # The id alone is optional: without it, the files of an earlier response are missing.
    "container": (_has_skills, "{} has no skills", "unsupported_tool_type"),
    **dict.fromkeys(
        ("conversation", "previous_message_id", "previous_response_id"),
        (bool, "{} keeps no conversation; expected all messages", "unsupported_field"),
    ),
    "mcp_servers": (bool, "{} cannot call MCP servers", "unsupported_tool_type"),
}
"""Member -> whether VAI refuses a value, the message, and the error's code."""


_BLOCK: Final = "messages[*].content[*]"
_READ_MEMBERS: Final = frozenset(
    {"type", "source", "title", "content", "tool_name", "cache_control"}
)
"""Members of search results and tool references that become text, or are named as cache marks."""


def check_nested_members(request: MessageRequest, diagnostics: Diagnostics) -> None:
    """Note as dropped the nested members that only the Messages API has."""
    for turn in request.messages:
        if turn.extra:
            _note_members(turn, "messages[*]", diagnostics)
        if not isinstance(turn.content, str):
            for block in turn.content:
                _check_block(block, _BLOCK, diagnostics)
    if not isinstance(request.system, str):
        for block in request.system or ():
            _check_block(block, "system[*]", diagnostics)
    _note_members(request.tool_choice, "tool_choice", diagnostics)
    _note_members(request.thinking, "thinking", diagnostics)
    _note_members(request.output_config, "output_config", diagnostics)
    _note_members(request.output_format, "output_config.format", diagnostics)
    if request.voice:
        # VAI has no speech output of its own.
        diagnostics.note_dropped("voice")


def _check_block(block: Block, at: str, diagnostics: Diagnostics) -> None:
    if isinstance(block, UnknownBlock):
        if not is_server_tool_block(block):
            _check_raw(block.raw, at, diagnostics)
        return
    if isinstance(block, ThinkingBlock | RedactedThinkingBlock) or is_server_tool_block(block):
        return
    if block.extra:
        _note_members(block, at, diagnostics)
    if isinstance(block, TextBlock):
        if block.citations:
            diagnostics.note_dropped(f"{at}.citations")
    elif isinstance(block, ToolResultBlock):
        for inner in block.blocks:
            _check_block(inner, f"{at}.content[*]", diagnostics)
    elif (source := getattr(block, "source", None)) is not None and source.extra:
        _note_members(source, f"{at}.source", diagnostics)


def _check_raw(raw: dict[str, Any], at: str, diagnostics: Diagnostics) -> None:
    for name, value in raw.items():
        if value is not None and name not in _READ_MEMBERS:
            diagnostics.note_dropped(f"{at}.{name}")
    if raw.get("cache_control"):
        diagnostics.note_dropped(f"{at}.cache_control")


def _note_members(value: OpenStruct | None, at: str, diagnostics: Diagnostics) -> None:
    if value is not None:
        for name, member in value.extra.items():
            if member is not None:
                diagnostics.note_dropped(f"{at}.{name}")
