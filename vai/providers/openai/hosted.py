"""Tools that the server runs itself: how they are asked for.

Each server names them in its own way, and only some of its models have them. What of a
tool's settings has no place there is named; a tool that the model lacks is refused.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.translate.diagnostics import refuse_tool
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.tools import tool_family
from vai.types.request import Tool

__all__ = ["cites", "hosted"]

Wire = dict[str, Any]

_GROQ: Final = {"web_search": "browser_search", "code_execution": "code_interpreter"}
"""Types of groq 1.7.0, https://github.com/groq/groq-python (2026-08-25)."""
_PLACES: Final = ("city", "country", "region", "timezone")


def hosted(tool: Tool, at: str, target: OpenaiTarget) -> tuple[list[Wire], Wire]:
    """Entries of `tools`, and members of the body, that stand for `tool`."""
    kind = tool_family(tool.type)
    if kind in target.capabilities.server_tools:
        if target.spec.id == "groq" and "gpt-oss" in target.model:
            _settings(tool, at, target, {})
            return [{"type": _GROQ[kind]}], {}
        if target.spec.id == "groq" and "compound" in target.model:
            # These systems decide themselves what to run; domains can be set.
            return [], _compound(tool, at, target)
        if target.spec.id == "openai" and "search" in target.model:
            return [], {"web_search_options": _options(tool, at, target)}
    has_some = any(word in target.model for word in ("gpt-oss", "compound", "search"))
    refuse_tool(
        at,
        target.diagnostics,
        f"{target.model} at {target.spec.name}",
        target.capabilities.server_tools if has_some else (),
    )
    return [], {}


def cites(body: Wire) -> bool:
    """Whether the answer may name the sources of its text."""
    return (
        "web_search_options" in body
        or "citation_options" in body
        or "search" in body["model"]
        or "compound" in body["model"]
        or any(tool.get("type") == "browser_search" for tool in body.get("tools", ()))
    )


def _settings(tool: Tool, at: str, target: OpenaiTarget, names: dict[str, str]) -> Wire:
    """The settings that have a name there; the others are noted."""
    found: Wire = {}
    for member, values in (("config.", tool.config or {}), ("", tool.extra)):
        for name, value in values.items():
            if name in names:
                found[names[name]] = value
            else:
                target.diagnostics.note_dropped(f"{at}.{member}{name}")
    return found


def _compound(tool: Tool, at: str, target: OpenaiTarget) -> Wire:
    names = {"allowed_domains": "include_domains", "blocked_domains": "exclude_domains"}
    found = _settings(tool, at, target, names if tool_family(tool.type) == "web_search" else {})
    return {"search_settings": found} if found else {}


def _options(tool: Tool, at: str, target: OpenaiTarget) -> Wire:
    names = {"user_location": "user_location", "search_context_size": "search_context_size"}
    found = _settings(tool, at, target, names)
    place = found.pop("user_location", None)
    if isinstance(place, dict):
        known = {name: place[name] for name in _PLACES if isinstance(place.get(name), str)}
        found["user_location"] = {"type": "approximate", "approximate": known}
    return found
