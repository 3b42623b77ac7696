"""Tools, server tools and tool choice -> their Chat Completions form.

Each server has its own names for its server tools, and only some of its models have them. A tool's
setting without an equivalent there is noted as dropped; a tool that the model lacks makes VAI
refuse the request.
"""

from __future__ import annotations

from typing import Any, Final

from vai.providers.translate.diagnostics import refuse_tool
from vai.providers.translate.names import legal_tool_name
from vai.providers.translate.schema import NotStrict, object_schema, to_strict_schema
from vai.providers.translate.target import OpenaiTarget
from vai.providers.translate.texts import describe_tool
from vai.providers.translate.tools import (
    DEFERRED,
    ClientTool,
    is_tool_search,
    to_client_tool,
    tool_family,
    unloaded_tools,
    uses_tool_search,
)
from vai.types.request import MessageRequest, Tool, ToolChoice

__all__ = [
    "may_cite",
    "tool_names_by_alias",
    "translate_server_tool",
    "translate_tool_choice",
    "translate_tools",
]

Wire = dict[str, Any]

_GROQ: Final = {"web_search": "browser_search", "code_execution": "code_interpreter"}
"""Types of groq 1.7.0, https://github.com/groq/groq-python (2026-08-25)."""
_LOCATION_MEMBERS: Final = ("city", "country", "region", "timezone")


def translate_server_tool(tool: Tool, at: str, target: OpenaiTarget) -> tuple[list[Wire], Wire]:
    """Entries of `tools`, and members of the body, that stand for `tool`."""
    kind = tool_family(tool.type)
    if kind in target.capabilities.server_tools:
        if target.spec.id == "groq" and "gpt-oss" in target.model:
            _map_settings(tool, at, target, {})
            return [{"type": _GROQ[kind]}], {}
        if target.spec.id == "groq" and "compound" in target.model:
            # These systems decide themselves which tools to run; domains can be set.
            return [], _make_search_settings(tool, at, target)
        if target.spec.id == "openai" and "search" in target.model:
            return [], {"web_search_options": _make_web_search_options(tool, at, target)}
    has_some = any(word in target.model for word in ("gpt-oss", "compound", "search"))
    refuse_tool(
        at,
        target.diagnostics,
        f"{target.model} at {target.spec.name}",
        target.capabilities.server_tools if has_some else (),
    )
    return [], {}


def may_cite(body: Wire) -> bool:
    """Whether the response may name the sources of its text."""
    return (
        "web_search_options" in body
        or "citation_options" in body
        or "search" in body["model"]
        or "compound" in body["model"]
        or ("tools" in body and any(tool.get("type") == "browser_search" for tool in body["tools"]))
    )


def _map_settings(tool: Tool, at: str, target: OpenaiTarget, names: dict[str, str]) -> Wire:
    """The settings that have a name there; this notes the others as dropped."""
    settings: Wire = {}
    for member, values in (("config.", tool.config or {}), ("", tool.extra)):
        for name, value in values.items():
            if name in names:
                settings[names[name]] = value
            else:
                target.diagnostics.note_dropped(f"{at}.{member}{name}")
    return settings


def _make_search_settings(tool: Tool, at: str, target: OpenaiTarget) -> Wire:
    names = {"allowed_domains": "include_domains", "blocked_domains": "exclude_domains"}
    settings = _map_settings(
        tool, at, target, names if tool_family(tool.type) == "web_search" else {}
    )
    return {"search_settings": settings} if settings else {}


def _make_web_search_options(tool: Tool, at: str, target: OpenaiTarget) -> Wire:
    names = {"user_location": "user_location", "search_context_size": "search_context_size"}
    settings = _map_settings(tool, at, target, names)
    location = settings.pop("user_location", None)
    if isinstance(location, dict):
        approximate = {
            name: location[name]
            for name in _LOCATION_MEMBERS
            if isinstance(location.get(name), str)
        }
        settings["user_location"] = {"type": "approximate", "approximate": approximate}
    return settings


def translate_tools(request: MessageRequest, target: OpenaiTarget) -> tuple[list[Wire], Wire]:
    """The tools, and the members of the body that stand for further ones."""
    translated: list[Wire] = []
    members: Wire = {}
    unloaded = frozenset() if uses_tool_search(request) else unloaded_tools(request)
    for index, tool in enumerate(request.tools or ()):
        at = f"tools[{index}]"
        if tool.name in unloaded:
            target.diagnostics.note_dropped(DEFERRED)
        elif is_tool_search(tool):  # the tools it would find have been sent
            target.diagnostics.note_dropped(at)
        elif tool.is_function:
            translated.append(_translate_function(tool, at, target))
        elif (described := to_client_tool(tool)) is not None:
            translated.append(_translate_client_tool(tool, described, at, target))
        else:
            if tool.cache_control:
                target.diagnostics.note_dropped("tools[*].cache_control")
            entries, options = translate_server_tool(tool, at, target)
            translated += entries
            members |= options
    if translated and not target.capabilities.tools:
        target.diagnostics.note_refused(
            "tools", f"{target.spec.name} takes no tools", "unsupported_tool_type"
        )
    return translated, members


def tool_names_by_alias(request: MessageRequest) -> dict[str, str]:
    """Alias -> the client's name, for the tools whose name had to be changed."""
    if not request.tools:
        return {}
    originals = [tool.name for tool in request.tools if tool.name]
    return {legal_tool_name(name): name for name in originals if legal_tool_name(name) != name}


def translate_tool_choice(
    choice: ToolChoice, request: MessageRequest, translated: list[Wire], target: OpenaiTarget
) -> Any:
    """The form of a choice among `translated`; None where there is nothing to send."""
    if choice.type != "tool":
        return {"auto": "auto", "any": "required", "none": "none"}[choice.type]
    name = legal_tool_name(choice.name or "")
    if any(tool and tool.get("function", {}).get("name") == name for tool in translated):
        return {"type": "function", "function": {"name": name}}
    if choice.name in [tool_family(tool.type) for tool in request.tools or ()]:
        # A tool of the server's own has no name to choose it by, but may be the only one.
        if len(translated) <= 1:
            return "required" if translated else None
        what = f"{target.spec.name} cannot be made to use one of its own tools among others"
        target.diagnostics.note_refused("tool_choice.name", what)
        return None
    target.diagnostics.note_refused("tool_choice.name", "expected the name of one of the tools")
    return None


def _translate_function(tool: Tool, at: str, target: OpenaiTarget) -> Wire:
    if not tool.name:
        target.diagnostics.note_refused(
            f"{at}.name", "this field is required; expected a value", "missing_required_field"
        )
        return {}
    function: Wire = {"name": legal_tool_name(tool.name)}
    description = describe_tool(tool)
    if description:
        function["description"] = description
    function["parameters"] = object_schema(tool.input_schema)
    if tool.strict:
        try:
            function["parameters"] = to_strict_schema(function["parameters"], target.inlining)
            function["strict"] = True
        except NotStrict:
            target.diagnostics.note_dropped(f"{at}.strict")
    for name, value in tool.extra.items():
        if value and name != "input_examples":
            target.diagnostics.note_dropped(f"tools[*].{name}")
    if tool.config:
        target.diagnostics.note_dropped("tools[*].config")
    if tool.cache_control:
        target.diagnostics.note_dropped("tools[*].cache_control")
    return {"type": "function", "function": function}


def _translate_client_tool(
    tool: Tool, described: ClientTool, at: str, target: OpenaiTarget
) -> Wire:
    for name in tool.extra:
        target.diagnostics.note_dropped(f"{at}.{name}")
    for name in tool.config or {}:
        target.diagnostics.note_dropped(f"{at}.config.{name}")
    if tool.cache_control:
        target.diagnostics.note_dropped("tools[*].cache_control")
    function = {
        "name": legal_tool_name(described.name),
        "description": described.description,
        "parameters": described.schema,
    }
    return {"type": "function", "function": function}
