"""VAI's tools -> Anthropic's."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from vai.providers.findings import Findings
from vai.types.base import to_wire
from vai.types.request import Tool

__all__ = ["beta_of", "tool_to_wire"]


class _Native(NamedTuple):
    type: str
    name: str
    members: tuple[str, ...] = ()
    """Members of the tool's `config` that exist there."""


_NATIVE: Final[dict[str, _Native]] = {
    "web_search": _Native(
        "web_search_20250305",
        "web_search",
        ("max_uses", "allowed_domains", "blocked_domains", "user_location"),
    ),
    "web_fetch": _Native(
        "web_fetch_20250910",
        "web_fetch",
        ("max_uses", "allowed_domains", "blocked_domains", "citations", "max_content_tokens"),
    ),
    "code_execution": _Native("code_execution_20250825", "code_execution"),
    "text_editor": _Native(
        "text_editor_20250728", "str_replace_based_edit_tool", ("max_characters",)
    ),
    "bash": _Native("bash_20250124", "bash"),
    "memory": _Native("memory_20250818", "memory"),
    "computer_use": _Native("computer_20250124", "computer"),
}
"""VAI's names for tools that Anthropic has. The oldest version that every model still
takes: which newer ones a model takes is not told by its name."""

_ELSEWHERE: Final = ("file_search", "image_generation")

_BETAS: Final = {
    "code_execution_20250522": "code-execution-2025-05-22",
    "code_execution_20250825": "code-execution-2025-08-25",
    "computer_20241022": "computer-use-2024-10-22",
    "computer_20250124": "computer-use-2025-01-24",
    "computer_20251124": "computer-use-2025-11-24",
    "web_fetch_20250910": "web-fetch-2025-09-10",
}


def tool_to_wire(tool: Tool, at: str, findings: Findings) -> dict[str, Any]:
    """The tool as Anthropic takes it. A type of Anthropic's own passes as it is."""
    if tool.is_function:
        wire: dict[str, Any] = to_wire(tool)
        wire.pop("config", None)
        if wire.get("type") == "function":
            wire["type"] = "custom"
        wire.setdefault("input_schema", {"type": "object", "properties": {}})
        if not tool.name:
            findings.refuse(f"{at}.name", "this field is required", "missing_required_field")
        return wire
    native = _NATIVE.get(tool.type or "")
    if native is None:
        if tool.type in _ELSEWHERE:
            findings.refuse(
                at, f"Anthropic has no tool of type {tool.type}", "unsupported_tool_type"
            )
        wire = to_wire(tool)
        wire.pop("config", None)
        return wire
    wire = {"type": native.type, "name": native.name, **tool.extra}
    config = tool.config or {}
    if tool.type == "computer_use":
        wire["display_width_px"] = config.get("display_width", 1024)
        wire["display_height_px"] = config.get("display_height", 768)
        config = {}
    for name, value in config.items():
        if name in native.members:
            wire[name] = _located(value) if name == "user_location" else value
        else:
            findings.drop(f"{at}.config.{name}")
    if tool.cache_control:
        wire["cache_control"] = tool.cache_control
    return wire


def beta_of(wire: dict[str, Any]) -> str | None:
    """The beta that a tool needs, if any."""
    return _BETAS.get(str(wire.get("type")))


def _located(value: Any) -> Any:
    return {"type": "approximate", **value} if isinstance(value, dict) else value
