"""Members of a request that only Anthropic's API has: what becomes of each elsewhere.

Invariants: a member that promises something for later requests, or for who pays, refuses the
request; a member that only saves time or money is left out and named. A member of which this
module knows nothing is left out and named, too: a client that must not lose one sets `strict`.

`thread` is not here: `vai.types.parse` refuses it, because no reader of a request may miss it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from vai.providers.translate.diagnostics import Diagnostics
from vai.types.request import MessageRequest

__all__ = ["check_members"]


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
