"""VAI's tools -> Anthropic's."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from vai.providers.anthropic.schema import to_enforceable_schema
from vai.providers.translate.diagnostics import Diagnostics, refuse_tool
from vai.providers.translate.tools import tool_family
from vai.types.base import to_wire
from vai.types.request import Tool

__all__ = ["beta_of", "tool_to_wire"]

_SEARCH: Final = ("max_uses", "allowed_domains", "blocked_domains", "user_location")
"""Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""
_FETCH: Final = (
    *("max_uses", "allowed_domains", "blocked_domains"),
    *("citations", "max_content_tokens", "url_sources", "use_cache"),
)
"""Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""


class _Native(NamedTuple):
    versions: tuple[str, ...]
    """The type to send, by generation of the model; the last also serves later generations."""
    name: str
    members: tuple[str, ...] = ()
    """Members of the tool's `config` that Anthropic accepts."""

    def newest_version(self, generation: int) -> str:
        """The newest version that models of `generation` accept."""
        return self.versions[min(generation, len(self.versions) - 1)]


_NATIVE: Final[dict[str, _Native]] = {
    "web_search": _Native(
        ("web_search_20250305", "web_search_20260209", "web_search_20260318"),
        "web_search",
        (*_SEARCH, "response_inclusion"),
    ),
    "web_fetch": _Native(
        ("web_fetch_20250910", "web_fetch_20260209", "web_fetch_20260318"), "web_fetch", _FETCH
    ),
    "code_execution": _Native(
        ("code_execution_20250825", "code_execution_20260120", "code_execution_20260521"),
        "code_execution",
    ),
    "text_editor": _Native(
        ("text_editor_20250728",), "str_replace_based_edit_tool", ("max_characters",)
    ),
    "bash": _Native(("bash_20250124",), "bash"),
    "memory": _Native(("memory_20250818",), "memory"),
    "computer": _Native(
        (
            *("computer_20250124", "computer_20251124", "computer_20251124"),
            "computer_toolset_20260801",
        ),
        "computer",
        ("configs", "display_number", "enable_zoom"),
    ),
}
"""Anthropic's form of the tools that VAI names without a version.
Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""

_UNSUPPORTED: Final = ("file_search", "image_generation")

_BETAS: Final = {
    "code_execution_20250522": "code-execution-2025-05-22",
    "code_execution_20250825": "code-execution-2025-08-25",
    "computer_20241022": "computer-use-2024-10-22",
    "computer_20250124": "computer-use-2025-01-24",
    "computer_20251124": "computer-use-2025-11-24",
    "web_fetch_20250910": "web-fetch-2025-09-10",
}
"""Types of anthropic 2.12.0, https://github.com/anthropics/anthropic-sdk-python (2026-11-20)."""


def tool_to_wire(tool: Tool, at: str, generation: int, diagnostics: Diagnostics) -> dict[str, Any]:
    """The tool in Anthropic's form. A versioned type of Anthropic's own keeps its version."""
    if tool.is_function:
        return _function_to_wire(tool, at, diagnostics)
    kind = tool_family(tool.type)
    native = _NATIVE.get(kind)
    if native is None:
        if kind in _UNSUPPORTED:
            refuse_tool(at, diagnostics, "Anthropic", _NATIVE)
        wire = to_wire(tool)
        if wire.pop("config", None):
            diagnostics.note_dropped(f"{at}.config")
        return dict(wire)
    dated = (tool.type or "")[-8:].isdecimal()
    version = tool.type if dated and tool.type else native.newest_version(generation)
    wire = {"type": version, "name": tool.name or native.name, **tool.extra}
    config = dict(tool.config or {})
    if "toolset" in version:
        # A toolset names its members itself and has no display size.
        del wire["name"]
    elif kind == "computer":
        wire.setdefault("display_width_px", config.pop("display_width", 1024))
        wire.setdefault("display_height_px", config.pop("display_height", 768))
    for name, value in config.items():
        if name in native.members:
            wire[name] = _approximate_location(value) if name == "user_location" else value
        else:
            diagnostics.note_dropped(f"{at}.config.{name}")
    if tool.cache_control:
        wire["cache_control"] = tool.cache_control
    return wire


def beta_of(wire: dict[str, Any]) -> str | None:
    """The beta that a tool needs, if any."""
    return _BETAS.get(str(wire.get("type")))


def _function_to_wire(tool: Tool, at: str, diagnostics: Diagnostics) -> dict[str, Any]:
    wire: dict[str, Any] = to_wire(tool)
    if wire.pop("config", None):
        diagnostics.note_dropped(f"{at}.config")
    if wire.get("type") == "function":
        wire["type"] = "custom"
    wire.setdefault("input_schema", {"type": "object", "properties": {}})
    if tool.strict:
        wire["input_schema"] = to_enforceable_schema(
            wire["input_schema"], f"{at}.input_schema", diagnostics
        )
    if not tool.name:
        diagnostics.note_refused(
            f"{at}.name", "this field is required; expected a value", "missing_required_field"
        )
    return wire


def _approximate_location(value: Any) -> Any:
    return {"type": "approximate", **value} if isinstance(value, dict) else value
